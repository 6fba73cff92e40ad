//! Learned positions of tiles and patches: one row of a table for each aspect ratio, with a gate.
//!
//! `MllamaPrecomputedAspectRatioEmbedding` and `MllamaPrecomputedPositionEmbedding` of
//! `modeling_mllama.py`. Dims as in [the tower](super), and `ratios`: aspect ratio ids, of which 0 is
//! no picture.

use burn::module::Param;
use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::prelude::*;

use super::tiles::MllamaContext;
use crate::config::MllamaVisionConfig;

/// `x + tanh(gate) * embedding[ratio, tile]`
#[derive(Module, Debug)]
pub struct TilePositions {
    /// `[ratios, tiles * hidden]`
    pub embedding: Embedding,
    /// `[1]`
    pub gate: Param<Tensor<1>>,
}

/// `x + (1 - tanh(gate)) * embedding[token] + tanh(gate) * tile_embedding[ratio, tile, token]`
#[derive(Module, Debug)]
pub struct PatchPositions {
    /// `[tokens, hidden]`
    pub embedding: Param<Tensor<2>>,
    /// `[ratios, tiles * tokens * hidden]`
    pub tile_embedding: Embedding,
    /// `[1]`
    pub gate: Param<Tensor<1>>,
}

impl TilePositions {
    pub(super) fn new(config: &MllamaVisionConfig, device: &Device) -> Self {
        let row = config.max_num_tiles * config.hidden_size;
        Self { embedding: table(config, row, device), gate: Initializer::Zeros.init([1], device) }
    }

    /// # Shapes
    ///
    /// - `x`: `[images, tiles, any, hidden]`; returns the same
    pub(super) fn forward(&self, x: Tensor<4>, context: &MllamaContext) -> Tensor<4> {
        let [images, tiles, _, hidden] = x.dims();
        x + rows(&self.embedding, context).reshape([images, tiles, 1, hidden]) * open(&self.gate)
    }
}

impl PatchPositions {
    pub(super) fn new(config: &MllamaVisionConfig, device: &Device) -> Self {
        let shape = [config.num_tokens(), config.hidden_size];
        Self {
            embedding: Initializer::Zeros.init(shape, device),
            tile_embedding: table(config, config.max_num_tiles * shape[0] * shape[1], device),
            gate: Initializer::Zeros.init([1], device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[images, tiles, tokens, hidden]`; returns the same
    pub(super) fn forward(&self, x: Tensor<4>, context: &MllamaContext) -> Tensor<4> {
        let shape = x.dims();
        let open = open(&self.gate);
        let closed = open.clone().neg() + 1.0;
        let own = rows(&self.tile_embedding, context).reshape(shape);
        x + self.embedding.val().unsqueeze::<4>() * closed + own * open
    }
}

fn table(config: &MllamaVisionConfig, row: usize, device: &Device) -> Embedding {
    EmbeddingConfig::new(config.num_ratio_ids(), row).with_initializer(Initializer::Zeros).init(device)
}

/// Each picture's row. `[images, row]`
fn rows(table: &Embedding, context: &MllamaContext) -> Tensor<2> {
    table.weight.val().select(0, context.ratio_ids())
}

/// `[1, 1, 1, 1]`
fn open(gate: &Param<Tensor<1>>) -> Tensor<4> {
    gate.val().tanh().unsqueeze()
}
