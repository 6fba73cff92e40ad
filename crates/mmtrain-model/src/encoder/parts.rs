//! How features lie between encoder and connector: tile by tile, or all media in one sequence.
//!
//! Dims: `tiles`, `features` of a tile, `width`.

use burn::prelude::*;
use mmtrain_media::MediaLayout;

use super::input::MediumView;
use crate::config::EncoderConfig;
use crate::connector::Runs;

/// Which features belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureParts {
    /// Each tile stands alone. `[tiles, features, width]`
    Tiles,
    /// One sequence, with so many features of each medium. `[1, features, width]`
    Sequence(Vec<usize>),
    /// As tiles, which the connector gets as a sequence.
    Pooled {
        /// Tiles of each medium, and whether they are frames of a clip, which are pooled.
        media: Vec<(usize, bool)>,
        /// Tokens for the frames of a clip.
        frames: usize,
    },
}

impl FeatureParts {
    /// The parts that an encoder makes of media.
    pub fn of(config: &EncoderConfig, media: &[MediumView<'_>]) -> Self {
        let layouts = media.iter().map(|medium| medium.layout);
        match (config, config.pooled_frames()) {
            (EncoderConfig::QwenVl(_), _) => Self::Sequence(layouts.map(|layout| layout.shape()[0]).collect()),
            (_, Some(frames)) => {
                let is_clip = |layout: &MediaLayout| matches!(layout, MediaLayout::Frames { .. });
                let media = layouts.map(|layout| (layout.tiles(), is_clip(layout))).collect();
                Self::Pooled { media, frames }
            }
            _ => Self::Tiles,
        }
    }

    /// Takes the features of a batch apart: those of each medium, in a tensor of its own.
    pub fn split(&self, features: &Tensor<3>, media: &[MediumView<'_>]) -> Vec<Tensor<3>> {
        if let Self::Sequence(_) = self {
            return self.each(features).collect();
        }
        let mut start = 0;
        let tiles = media.iter().map(|medium| medium.layout.tiles());
        let own = tiles.map(|tiles| {
            let own = features.clone().slice_dim(0, start..start + tiles);
            start += tiles;
            own
        });
        own.collect()
    }

    /// Puts together what [`split`](Self::split) took apart.
    pub fn join(&self, each: Vec<Tensor<3>>) -> Tensor<3> {
        Tensor::cat(each, if let Self::Sequence(_) = self { 1 } else { 0 })
    }

    /// The features of each medium of a sequence. `[1, features, width]` to as many `[1, own, width]`
    ///
    /// # Panics
    ///
    /// Panics for tiles, which are media or parts of them already.
    pub(crate) fn each(&self, features: &Tensor<3>) -> impl Iterator<Item = Tensor<3>> {
        let Self::Sequence(counts) = self else { panic!("tiles are no sequence of media") };
        let mut start = 0;
        counts.iter().map(move |count| {
            let own = features.clone().slice_dim(1, start..start + count);
            start += count;
            own
        })
    }

    /// The runs of keys that a medium has in a memory. `features` are those of a tile.
    pub(crate) fn runs(&self, medium: usize, layout: &MediaLayout, features: usize, latents: bool) -> Runs {
        let all = |count: usize| Runs { count, of_a_canvas: count, seen: count };
        match self {
            Self::Tiles => match layout {
                // What a canvas lacks to all tiles is padding.
                MediaLayout::Canvas(canvas) => Runs { seen: canvas.tiles(), ..all(layout.tiles()) },
                MediaLayout::CanvasFrames { max_tiles, .. } => {
                    Runs { count: layout.tiles(), of_a_canvas: *max_tiles as usize, seen: 1 }
                }
                _ => all(layout.tiles()),
            },
            _ if latents => all(1),
            Self::Sequence(counts) => all(counts[medium]),
            Self::Pooled { media, frames } => match media[medium] {
                (_, true) => all(frames + features),
                (tiles, false) => all(tiles * features),
            },
        }
    }

    /// Pools what is to be pooled; returns the features and how they lie now.
    pub(crate) fn pooled(&self, features: Tensor<3>) -> (Tensor<3>, Self) {
        let Self::Pooled { media, frames } = self else { return (features, self.clone()) };
        let (mut first, mut pooled) = (0, Vec::with_capacity(media.len()));
        for &(tiles, is_clip) in media {
            let own = features.clone().slice_dim(0, first..first + tiles);
            pooled.push(if is_clip { pool(own, *frames) } else { as_sequence(own) });
            first += tiles;
        }
        let counts = pooled.iter().map(|features| features.dims()[1]).collect();
        (Tensor::cat(pooled, 1), Self::Sequence(counts))
    }
}

/// Tiles one after the other. `[tiles, features, width]` to `[1, tiles * features, width]`
fn as_sequence(features: Tensor<3>) -> Tensor<3> {
    let [tiles, count, width] = features.dims();
    features.reshape([1, tiles * count, width])
}

/// The mean of each frame, filled up with zeros to `count`, then the mean over time of each patch
/// (`get_spatio_temporal_features_torch` of Video-ChatGPT's `video_chatgpt/inference.py`, which also rounds to f16).
/// `[frames, patches, width]` to `[1, count + patches, width]`
fn pool(frames: Tensor<3>, count: usize) -> Tensor<3> {
    let [found, _, width] = frames.dims();
    let mut parts = vec![frames.clone().mean_dim(1).swap_dims(0, 1)];
    if found < count {
        parts.push(Tensor::zeros([1, count - found, width], (&frames.device().inner(), frames.dtype())));
    }
    parts.push(frames.mean_dim(0));
    Tensor::cat(parts, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_becomes_the_means_of_its_frames_and_of_its_patches() {
        let frames = Tensor::<3>::from_data([[[1.0_f32], [3.0]], [[5.0], [7.0]], [[0.0], [2.0]]], &Device::flex());
        let input = frames.autodiff().require_grad();
        let parts = FeatureParts::Pooled { media: vec![(2, true), (1, false)], frames: 3 };
        let (pooled, parts) = parts.pooled(input.clone());
        let values = pooled.clone().inner().into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(values, [2.0, 6.0, 0.0, 3.0, 5.0, 0.0, 2.0]);
        assert_eq!(parts, FeatureParts::Sequence(vec![5, 2]));
        let weights = Tensor::<3>::from_data([[[2.0_f32], [4.0], [9.0], [6.0], [8.0], [1.0], [3.0]]], &Device::flex());
        let mut tape = (pooled * weights.autodiff()).sum().backward();
        let gradient = input.grad_remove(&mut tape).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(gradient, [4.0, 5.0, 5.0, 6.0, 1.0, 3.0]);
    }
}
