//! What the tower's steps have to know of the pictures: tiles, padding, and who sees whom.

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::attention::Mask;
use crate::config::MllamaVisionConfig;
use crate::error::ModelError;

/// Pictures in tiles. Dims as in [the tower](super).
#[derive(Debug, Clone)]
pub struct MllamaContext {
    images: usize,
    tiles: usize,
    tokens: usize,
    padded: usize,
    real_tiles: Vec<usize>,
    /// `[images]`
    ratio_ids: Tensor<1, Int>,
    mask: Mask,
}

impl MllamaContext {
    /// For pictures of these aspect ratio ids; 0 stands where there is no picture.
    pub fn new(aspect_ratio_ids: &[usize], config: &MllamaVisionConfig, device: &Device) -> Result<Self, ModelError> {
        let real_tiles = aspect_ratio_ids.iter().map(|&id| real_tiles(id, config)).collect::<Result<Vec<_>, _>>()?;
        let ids = aspect_ratio_ids.iter().map(|&id| id as i64).collect::<Vec<_>>();
        let images = ids.len();
        Ok(Self {
            images,
            tiles: config.max_num_tiles,
            tokens: config.num_tokens(),
            padded: config.padded_tokens(),
            ratio_ids: Tensor::from_data(TensorData::new(ids, [images]), device),
            mask: Mask::strangers(&padding(&real_tiles, config), images, device),
            real_tiles,
        })
    }

    /// Tiles of each picture that hold something.
    pub fn real_tiles(&self) -> &[usize] {
        &self.real_tiles
    }

    /// `[images]`
    pub(super) fn ratio_ids(&self) -> Tensor<1, Int> {
        self.ratio_ids.clone()
    }

    /// Padding does not see padding. Real tokens see all tokens of the picture, padding included: the
    /// reference hides a key only where query and key both are padding, and the checkpoints are trained so.
    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// `[images * tiles, any, hidden]` or `[images, tiles * any, hidden]` to `[images, tiles, any, hidden]`
    pub(super) fn by_tile(&self, x: Tensor<3>) -> Tensor<4> {
        let [rows, cols, hidden] = x.dims();
        let any = rows * cols / (self.images * self.tiles);
        x.reshape([self.images, self.tiles, any, hidden])
    }

    /// Fills each tile up with zeros.
    ///
    /// # Shapes
    ///
    /// - `x`: `[images, tiles, tokens, hidden]`; returns `[images, tiles * padded, hidden]`
    pub(super) fn padded(&self, x: Tensor<4>) -> Tensor<3> {
        let [images, tiles, tokens, hidden] = x.dims();
        let zeros = Tensor::zeros([images, tiles, self.padded - tokens, hidden], (&x.device(), x.dtype()));
        Tensor::cat(vec![x, zeros], 2).reshape([images, tiles * self.padded, hidden])
    }

    /// # Shapes
    ///
    /// - `x`: `[images, tiles * padded, channels]`; returns `[images * tiles, tokens, channels]`
    pub(super) fn without_padding(&self, x: Tensor<3>) -> Tensor<3> {
        let channels = x.dims()[2];
        x.reshape([self.images * self.tiles, self.padded, channels]).slice_dim(1, 0..self.tokens)
    }
}

fn real_tiles(id: usize, config: &MllamaVisionConfig) -> Result<usize, ModelError> {
    config.real_tiles(id).ok_or_else(|| ModelError::Input {
        message: format!("there is no aspect ratio {id}, this tower has {}", config.aspect_ratios.len()),
        hint: "ids count `supported_aspect_ratios` from one; zero is no picture".to_owned(),
    })
}

/// Tokens behind those of a tile, and all tokens of tiles that hold nothing. `[images, tiles * padded]`
fn padding(real_tiles: &[usize], config: &MllamaVisionConfig) -> Vec<bool> {
    let is_padding = |real: usize, tile: usize, token: usize| tile >= real || token >= config.num_tokens();
    let of_tile = |real, tile| (0..config.padded_tokens()).map(move |token| is_padding(real, tile, token));
    real_tiles.iter().flat_map(|&real| (0..config.max_num_tiles).flat_map(move |tile| of_tile(real, tile))).collect()
}
