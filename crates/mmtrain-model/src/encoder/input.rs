//! Media in host memory to the inputs of an encoder's chains.

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_media::{MediaLayout, SoundLayout};

use super::chain::{ChainContext, ChainInput};
use super::mllama::MllamaContext;
use super::packed::{Grid, Packed};
use super::{Encoder, Vit, patches_from_pixels};
use crate::attention::Mask;
use crate::config::{
    AudioConfig, AudioFamily, EncoderConfig, FusedConfig, MllamaVisionConfig, QwenVlVisionConfig, VideoFeatures,
    VitConfig,
};
use crate::error::ModelError;

/// A medium in host memory.
#[derive(Debug, Clone, Copy)]
pub struct MediumView<'a> {
    /// What it is.
    pub layout: &'a MediaLayout,
    /// As many as the layout's shape says, row-major.
    pub values: &'a [f32],
}

impl Encoder {
    /// The inputs of the chains, for media in their order.
    ///
    /// # Errors
    ///
    /// [`ModelError::Input`] for media that this encoder does not take.
    pub fn inputs(
        &self,
        config: &EncoderConfig,
        media: &[MediumView<'_>],
        device: &Device,
    ) -> Result<Vec<ChainInput>, ModelError> {
        media.iter().try_for_each(check_values)?;
        match (self, config) {
            (Self::Vit(vit), EncoderConfig::Vit(config)) => Ok(vec![tiles(vit, pixels(config, media, device)?)]),
            (Self::Fused(fused), EncoderConfig::Fused(config)) => {
                let pixels = pixels(&config.first, media, device)?;
                let second = rescaled(pixels.clone(), config);
                Ok(vec![tiles(&fused.first, pixels), tiles(&fused.second, second)])
            }
            (Self::QwenVl(_), EncoderConfig::QwenVl(config)) => Ok(vec![patches(config, media, device)?]),
            (Self::Mllama(_), EncoderConfig::Mllama(config)) => Ok(vec![canvases(config, media, device)?]),
            (Self::Audio(_), EncoderConfig::Audio(config)) => Ok(vec![sound(config, media, device)?]),
            _ => Err(refused("the encoder is not the one that its configuration describes".into())),
        }
    }
}

fn check_values(medium: &MediumView<'_>) -> Result<(), ModelError> {
    let (shape, found) = (medium.layout.shape(), medium.values.len());
    if shape.iter().product::<usize>() == found {
        return Ok(());
    }
    Err(refused(format!("a medium of shape {shape:?} with {found} values")))
}

fn refused(message: String) -> ModelError {
    let hint = "the media were prepared for another model: see its preprocessor_config.json".into();
    ModelError::Input { message, hint }
}

fn joined(media: &[MediumView<'_>]) -> Vec<f32> {
    let mut values = Vec::with_capacity(media.iter().map(|medium| medium.values.len()).sum());
    for medium in media {
        values.extend_from_slice(medium.values);
    }
    values
}

/// `[tiles, 3, side, side]`
fn pixels(config: &VitConfig, media: &[MediumView<'_>], device: &Device) -> Result<Tensor<4>, ModelError> {
    let mut tiles = 0;
    let mut sides = [config.vision.image_size; 2];
    for (index, medium) in media.iter().enumerate() {
        let &[count, 3, height, width] = medium.layout.shape().as_slice() else {
            return Err(refused(format!("an image tower cannot take {:?}", medium.layout)));
        };
        if index == 0 && config.vision.takes_any_size() {
            sides = [height, width];
        }
        if [height, width] != sides {
            let [rows, cols] = sides;
            return Err(refused(format!("tiles of {height} x {width} pixels where the others have {rows} x {cols}")));
        }
        check_frames(config, medium.layout)?;
        tiles += count;
    }
    let [height, width] = sides;
    Ok(uploaded(joined(media), [tiles, 3, height, width], device))
}

/// Means of frames have their number of places.
fn check_frames(config: &VitConfig, layout: &MediaLayout) -> Result<(), ModelError> {
    match (config.video, layout) {
        (VideoFeatures::Pooled { frames: most }, MediaLayout::Frames { frames, .. }) if *frames as usize > most => {
            Err(refused(format!("a clip of {frames} frames, of which {most} are pooled at most")))
        }
        _ => Ok(()),
    }
}

/// Values of media on the device, by way of pinned memory where it has that.
fn uploaded<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut data = TensorData::new(values, shape);
    device.staging(std::iter::once(&mut data));
    Tensor::from_data(data, device)
}

fn tiles(vit: &Vit, pixels: Tensor<4>) -> ChainInput {
    let (values, grid) = vit.patches(pixels);
    ChainInput { values, context: ChainContext { grid, ..ChainContext::default() } }
}

/// The first tower's pixels as the second one wants them.
fn rescaled(pixels: Tensor<4>, config: &FusedConfig) -> Tensor<4> {
    let device = pixels.device();
    let channels = |part: usize| {
        let values = config.rescale.map(|channel| channel[part]).to_vec();
        Tensor::<4>::from_data(TensorData::new(values, [1, 3, 1, 1]), &device)
    };
    pixels * channels(0) + channels(1)
}

fn patches(config: &QwenVlVisionConfig, media: &[MediumView<'_>], device: &Device) -> Result<ChainInput, ModelError> {
    let mut grids = Vec::with_capacity(media.len());
    for medium in media {
        let MediaLayout::Grid(grid) = medium.layout else {
            return Err(refused(format!("Qwen2-VL's tower cannot take {:?}", medium.layout)));
        };
        if grid.patch_values() != config.patch_values() {
            let (found, expected) = (grid.patch_values(), config.patch_values());
            return Err(refused(format!("patches of {found} values, this tower's have {expected}")));
        }
        let [frames, rows, cols] = grid.thw().map(|size| size as usize);
        grids.push(Grid { frames, rows, cols });
    }
    let packed = Packed::new(&grids, config, device)?;
    let shape = [1, packed.tokens(), config.patch_values()];
    let values = uploaded(joined(media), shape, device);
    Ok(ChainInput { values, context: ChainContext { packed: Some(packed), ..ChainContext::default() } })
}

/// Canvases, filled up with zeros to as many tiles as a picture has at most.
fn canvases(config: &MllamaVisionConfig, media: &[MediumView<'_>], device: &Device) -> Result<ChainInput, ModelError> {
    let (side, tiles) = (config.image_size, config.max_num_tiles);
    let of_a_canvas = tiles * 3 * side * side;
    let mut values = Vec::new();
    let mut ids = Vec::with_capacity(media.len());
    for medium in media {
        let (count, grid) = canvases_of(config, medium.layout)?;
        let id = aspect_ratio_id(config, grid)?;
        let own = medium.values.len() / count.max(1);
        for canvas in (0..count).map(|number| &medium.values[number * own..(number + 1) * own]) {
            values.extend_from_slice(canvas);
            ids.push(id);
            values.resize(ids.len() * of_a_canvas, 0.0);
        }
    }
    let pixels = uploaded(values, [ids.len() * tiles, 3, side, side], device);
    let mllama = MllamaContext::new(&ids, config, device)?;
    let context = ChainContext { mllama: Some(mllama), ..ChainContext::default() };
    Ok(ChainInput { values: patches_from_pixels(pixels, config.patch_size), context })
}

/// Canvases of a medium, and how the tiles of each are arranged: one of a picture, one of a single tile for each frame.
fn canvases_of(config: &MllamaVisionConfig, layout: &MediaLayout) -> Result<(usize, [usize; 2]), ModelError> {
    let (count, grid, side, most) = match *layout {
        MediaLayout::Canvas(ref canvas) => {
            (1, [canvas.rows as usize, canvas.cols as usize], canvas.side, canvas.max_tiles)
        }
        MediaLayout::CanvasFrames { side, frames, max_tiles } => (frames as usize, [1, 1], side, max_tiles),
        ref other => return Err(refused(format!("Mllama's tower cannot take {other:?}"))),
    };
    let (own_side, own_most) = (config.image_size, config.max_num_tiles);
    if (side as usize, most as usize) == (own_side, own_most) {
        return Ok((count, grid));
    }
    Err(refused(format!("canvases of {most} tiles of {side} pixels, this tower's have {own_most} of {own_side}")))
}

/// Where an arrangement of tiles stands among the tower's, from 1; 0 for no picture.
fn aspect_ratio_id(config: &MllamaVisionConfig, grid: [usize; 2]) -> Result<usize, ModelError> {
    match config.aspect_ratios.iter().position(|ratio| *ratio == grid) {
        Some(index) => Ok(index + 1),
        None if grid == [0, 0] => Ok(0),
        None => Err(refused(format!("{} x {} tiles are none of this tower's arrangements", grid[0], grid[1]))),
    }
}

fn sound(config: &AudioConfig, media: &[MediumView<'_>], device: &Device) -> Result<ChainInput, ModelError> {
    let (mels, frames) = (config.num_mel_bins, config.frames());
    let mut keep = Vec::with_capacity(media.len() * config.max_source_positions);
    for medium in media {
        match medium.layout {
            MediaLayout::Sound(sound) if medium.layout.shape() == [mels, frames] => keep.extend(heard(config, *sound)),
            other => {
                let message = format!("an audio encoder of {mels} mel bands and {frames} frames cannot take {other:?}");
                return Err(refused(message));
            }
        }
    }
    let hidden = config.family == AudioFamily::Qwen2Audio && keep.contains(&false);
    let attention = hidden.then(|| Mask::keys_kept(&keep, media.len(), device));
    let values = uploaded(joined(media), [media.len(), mels, frames], device);
    Ok(ChainInput { values, context: ChainContext { attention, ..ChainContext::default() } })
}

/// Which tokens of the blocks hold sound.
fn heard(config: &AudioConfig, sound: SoundLayout) -> impl Iterator<Item = bool> {
    let tokens = config.tokens_of(sound.valid_frames as usize);
    (0..config.max_source_positions).map(move |token| token < tokens)
}
