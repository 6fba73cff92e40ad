//! How features lie between encoder and connector: tile by tile, or all media in one sequence.
//!
//! Dims: `tiles`, `features` of a tile, `width`.

use burn::prelude::*;
use mmtrain_media::MediaLayout;

use super::input::MediumView;
use crate::config::{EncoderConfig, VideoFeatures, VitConfig};

/// Which features belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureParts {
    /// Each tile stands alone. `[tiles, features, width]`
    Tiles,
    /// One sequence, with so many features of each medium. `[1, features, width]`
    Sequence(Vec<usize>),
    /// As tiles, which the connector gets as a sequence: of each medium so many tiles, pooled if it is a clip.
    Pooled(Vec<(usize, bool)>),
}

impl FeatureParts {
    /// The parts that an encoder makes of media.
    pub fn of(config: &EncoderConfig, media: &[MediumView<'_>]) -> Self {
        let layouts = media.iter().map(|medium| medium.layout);
        match config {
            EncoderConfig::QwenVl(_) => Self::Sequence(layouts.map(|layout| layout.shape()[0]).collect()),
            EncoderConfig::Vit(VitConfig { video: VideoFeatures::Pooled, .. }) => {
                let is_clip = |layout: &MediaLayout| matches!(layout, MediaLayout::Frames { .. });
                Self::Pooled(layouts.map(|layout| (layout.tiles(), is_clip(layout))).collect())
            }
            _ => Self::Tiles,
        }
    }

    /// Pools what is to be pooled; returns the features and how they lie now.
    pub(crate) fn pooled(&self, features: Tensor<3>) -> (Tensor<3>, Self) {
        let Self::Pooled(media) = self else { return (features, self.clone()) };
        let (mut first, mut pooled) = (0, Vec::with_capacity(media.len()));
        for &(tiles, is_clip) in media {
            let own = features.clone().slice_dim(0, first..first + tiles);
            pooled.push(if is_clip { pool(own) } else { as_sequence(own) });
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

/// The mean of each frame, then the mean over time of each patch (Video-ChatGPT, `get_spatio_temporal_features_torch`
/// of `inference.py`). `[frames, patches, width]` to `[1, frames + patches, width]`
fn pool(frames: Tensor<3>) -> Tensor<3> {
    let of_frames = frames.clone().mean_dim(1).swap_dims(0, 1);
    Tensor::cat(vec![of_frames, frames.mean_dim(0)], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_becomes_the_means_of_its_frames_and_of_its_patches() {
        let frames = Tensor::<3>::from_data([[[1.0_f32], [3.0]], [[5.0], [7.0]], [[0.0], [2.0]]], &Device::flex());
        let parts = FeatureParts::Pooled(vec![(2, true), (1, false)]);
        let (pooled, parts) = parts.pooled(frames);
        assert_eq!(pooled.into_data().try_to_vec::<f32>().expect("f32"), [2.0, 6.0, 3.0, 5.0, 0.0, 2.0]);
        assert_eq!(parts, FeatureParts::Sequence(vec![4, 2]));
    }
}
