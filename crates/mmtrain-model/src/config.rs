//! Sizes and switches of the three parts, and of the whole.
//!
//! These are what the modules are built from. They come from a run's `[model]` table
//! ([`VisionConfig::from_arch`], [`TextConfig::from_arch`]) or from a checkpoint's `config.json`
//! ([`hf`]); a run's checkpoints carry them as a `config.json` again.

mod activation;
mod arch;
mod audio;
mod connector;
mod hf;
mod limits;
mod qwen_vl;
mod text;
mod vision;

use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use audio::{AudioConfig, AudioFamily};
pub use connector::{ConnectorConfig, MlpConfig, PerceiverConfig, QFormerConfig};
pub use hf::{read_audio, read_qwen_vl_vision, read_text, read_vision, read_vlm};
pub use qwen_vl::QwenVlVisionConfig;
pub use text::{RopeScaling, SlidingWindow, TextConfig, TextFamily, YarnScaling};
pub use vision::{FeatureSelect, VisionConfig, VisionFamily};

/// Encoder, connector and decoder together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VlmConfig {
    /// The image tower.
    pub vision: VisionConfig,
    /// The connector.
    pub connector: ConnectorConfig,
    /// The language model.
    pub text: TextConfig,
    /// Token id whose embeddings are replaced by image features.
    pub image_token_id: usize,
    /// Which of the tower's hidden states is used: -1 the last block's output, -2 the one before.
    pub feature_layer: i32,
    /// Class token dropped or kept.
    pub feature_select: FeatureSelect,
}

impl VlmConfig {
    /// Features that the connector gets of one image.
    pub fn features_per_image(&self) -> usize {
        let prefix = if self.feature_select == FeatureSelect::Full { self.vision.prefix_tokens() } else { 0 };
        self.vision.num_patches() + prefix
    }

    /// Tokens that one image takes in the decoder's sequence.
    pub fn tokens_per_image(&self) -> usize {
        self.connector.num_tokens(self.features_per_image())
    }

    /// Blocks of the tower that have to run for [`feature_layer`](Self::feature_layer).
    pub fn vision_layers(&self) -> usize {
        layers_for(self.feature_layer, self.vision.num_hidden_layers)
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
