//! The encoder of a whole model: which tower, and what of its states the connector gets.

use mmtrain_media::{MediaTokens, TokenGrid};
use serde::{Deserialize, Serialize};

use super::{
    AudioConfig, AudioFamily, FeatureSelect, MllamaVisionConfig, QwenVlVisionConfig, VisionConfig, VisionFamily,
};

/// The encoder; `kind` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EncoderConfig {
    /// One vision transformer.
    Vit(VitConfig),
    /// Two vision transformers over the same patches, their features side by side (Prismatic, arXiv:2402.07865).
    Fused(FusedConfig),
    /// Qwen2-VL's tower; its merger is the connector.
    QwenVl(QwenVlVisionConfig),
    /// Mllama's tower, pictures in tiles.
    Mllama(MllamaVisionConfig),
    /// Whisper's encoder or Qwen2-Audio's.
    Audio(AudioConfig),
}

/// A vision transformer and what is taken of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VitConfig {
    /// The tower.
    pub vision: VisionConfig,
    /// Which hidden state is used: -1 the last block's output, -2 the one before.
    pub feature_layer: i32,
    /// Class token dropped or kept.
    pub feature_select: FeatureSelect,
    /// Whether the tower's last norm is applied: BLIP-2's and Idefics3's features are normed, LLaVA's are not.
    #[serde(default)]
    pub normed: bool,
    /// What a clip's frames become.
    #[serde(default)]
    pub video: VideoFeatures,
}

/// What an image tower makes of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoFeatures {
    /// Each frame is a picture of its own.
    #[default]
    Frames,
    /// The mean of each frame, then the mean over time of each patch (Video-ChatGPT, arXiv:2306.05424).
    Pooled {
        /// Means of frames, and so frames at most (100 in the paper); those of a shorter clip are filled up with zeros.
        frames: usize,
    },
}

/// Two towers whose grids of patches are the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FusedConfig {
    /// The tower whose normalisation the pixels have.
    pub first: VitConfig,
    /// The other.
    pub second: VitConfig,
    /// Factor and summand per channel that turn the first one's pixels into the second one's.
    pub rescale: [[f32; 2]; 3],
}

impl VitConfig {
    /// What is usual for a tower: normed features of BLIP-2's and Idefics3's, class tokens dropped where a connector
    /// would not know them.
    pub fn new(vision: VisionConfig, feature_layer: i32) -> Self {
        let normed = vision.family == VisionFamily::Blip2 || vision.family.has_buckets();
        // BLIP-2's queries see the class token; transformers' "default" drops the first token, class token or not.
        let drops = vision.has_class_token() && vision.family != VisionFamily::Blip2;
        let feature_select = if drops { FeatureSelect::Default } else { FeatureSelect::Full };
        Self { vision, feature_layer, feature_select, normed, video: VideoFeatures::Frames }
    }

    /// Blocks that have to run for the feature layer.
    pub fn num_layers(&self) -> usize {
        layers_for(self.feature_layer, self.vision.num_hidden_layers)
    }

    /// Tokens of a tile that are no patches and that the connector sees.
    pub fn kept_prefix(&self) -> usize {
        if self.feature_select == FeatureSelect::Full { self.vision.prefix_tokens() } else { 0 }
    }

    /// Features that the connector gets of one tile.
    pub fn num_features(&self) -> usize {
        self.vision.num_patches() + self.kept_prefix()
    }

    /// As many of a tile of another size, in pixels a side.
    pub fn features_at(&self, side: usize) -> usize {
        (side / self.vision.patch_size).pow(2) + self.kept_prefix()
    }
}

impl EncoderConfig {
    /// For messages.
    pub fn description(&self) -> String {
        match self {
            Self::Vit(vit) => format!("a {:?} tower", vit.vision.family),
            Self::Fused(_) => "two fused towers".to_owned(),
            Self::QwenVl(_) => "Qwen2-VL's tower".to_owned(),
            Self::Mllama(_) => "Mllama's tower".to_owned(),
            Self::Audio(audio) => format!("a {:?} encoder", audio.family),
        }
    }

    /// Width of the features.
    pub fn feature_size(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.vision.hidden_size,
            Self::Fused(fused) => fused.first.vision.hidden_size + fused.second.vision.hidden_size,
            Self::QwenVl(qwen) => qwen.hidden_size,
            Self::Mllama(mllama) => mllama.output_size(),
            Self::Audio(audio) => audio.hidden_size,
        }
    }

    /// Features of a tile or chunk; 1 where media have as many as their size gives them.
    pub fn features_per_tile(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.num_features(),
            Self::Fused(fused) => fused.first.num_features(),
            Self::QwenVl(_) => 1,
            Self::Mllama(mllama) => mllama.num_tokens(),
            Self::Audio(audio) => audio.output_tokens_of(audio.frames()),
        }
    }

    /// Blocks that run.
    pub fn num_layers(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.num_layers(),
            Self::Fused(fused) => fused.first.num_layers() + fused.second.num_layers(),
            Self::QwenVl(qwen) => qwen.num_hidden_layers,
            // One more stands between the two transformers.
            Self::Mllama(mllama) => mllama.num_hidden_layers + 1 + mllama.num_global_layers,
            Self::Audio(audio) => audio.num_hidden_layers,
        }
    }

    /// The image tower; the first of two.
    pub fn vit(&self) -> Option<&VitConfig> {
        match self {
            Self::Vit(vit) => Some(vit),
            Self::Fused(fused) => Some(&fused.first),
            Self::QwenVl(_) | Self::Mllama(_) | Self::Audio(_) => None,
        }
    }

    /// Means of frames that a clip's features begin with, where frames are pooled.
    pub fn pooled_frames(&self) -> Option<usize> {
        match self.vit()?.video {
            VideoFeatures::Pooled { frames } => Some(frames),
            VideoFeatures::Frames => None,
        }
    }

    /// Tokens where each feature, or each square of `merge` x `merge` of them, becomes one.
    pub(super) fn tokens(&self, merge: usize) -> MediaTokens {
        if let Some(frames) = self.pooled_frames() {
            return MediaTokens::PooledFrames { frames, tile: self.grid(merge) };
        }
        match self {
            Self::Vit(_) | Self::Fused(_) | Self::QwenVl(_) | Self::Mllama(_) => MediaTokens::Grid(self.grid(merge)),
            Self::Audio(audio) => MediaTokens::Sound {
                halvings: match audio.family {
                    AudioFamily::Whisper => 1,
                    AudioFamily::Qwen2Audio => 2,
                },
            },
        }
    }

    /// Where each medium, or each tile of it, has `queries` tokens.
    pub(super) fn query_tokens(&self, queries: usize) -> MediaTokens {
        match self.pooled_frames() {
            Some(_) => MediaTokens::PerMedium(queries),
            None => MediaTokens::PerTile(queries),
        }
    }

    fn grid(&self, merge: usize) -> TokenGrid {
        let (patch_size, extra) = match self {
            Self::Mllama(mllama) => (mllama.patch_size, 1),
            _ => self.vit().map_or((1, 0), |vit| (vit.vision.patch_size, vit.kept_prefix())),
        };
        TokenGrid { patch_size: patch_size as u32, merge: merge as u32, extra: extra as u32 }
    }

    /// Tokens, patches or frames of a typical medium, for estimates of memory: the tower's full square, a picture of
    /// 1024 patches, a whole clip of sound.
    pub fn typical_tokens(&self) -> usize {
        match self {
            Self::Vit(vit) => vit.vision.num_patches(),
            Self::Fused(fused) => fused.first.vision.num_patches(),
            Self::QwenVl(_) => 1024,
            Self::Mllama(mllama) => mllama.max_num_tiles * mllama.padded_tokens(),
            Self::Audio(audio) => audio.max_source_positions,
        }
    }

    /// Width, MLP width and heads of its blocks, for estimates of memory.
    pub fn block_sizes(&self) -> [usize; 3] {
        match self {
            Self::Vit(VitConfig { vision, .. }) | Self::Fused(FusedConfig { first: VitConfig { vision, .. }, .. }) => {
                [vision.hidden_size, vision.intermediate_size, vision.num_attention_heads]
            }
            Self::QwenVl(qwen) => [qwen.hidden_size, qwen.intermediate_size, qwen.num_attention_heads],
            Self::Mllama(mllama) => [mllama.hidden_size, mllama.intermediate_size, mllama.num_attention_heads],
            Self::Audio(audio) => [audio.hidden_size, audio.intermediate_size, audio.num_attention_heads],
        }
    }
}

/// Blocks to run so that hidden state `feature_layer` is the last one computed.
///
/// Hidden states are counted as in `transformers`: 0 is the input of the first block, `n` the
/// output of the last of `n` blocks, negative numbers count from the end.
fn layers_for(feature_layer: i32, num_layers: usize) -> usize {
    let states = num_layers as i32 + 1;
    let index = if feature_layer < 0 { states + feature_layer } else { feature_layer };
    index.clamp(0, states - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_layer_counts_hidden_states_from_the_end() {
        assert_eq!(layers_for(-1, 24), 24);
        assert_eq!(layers_for(-2, 24), 23);
        assert_eq!(layers_for(0, 24), 0);
        assert_eq!(layers_for(5, 24), 5);
    }
}
