//! Sizes and switches of the three parts, and of the whole.
//!
//! These are what the modules are built from. They come from a run's `[model]` table
//! ([`VisionConfig::from_arch`], [`TextConfig::from_arch`]) or from a checkpoint's `config.json`
//! ([`hf`]); a run's checkpoints carry them as a `config.json` again.

mod activation;
mod arch;
mod audio;
mod connector;
mod encoder;
mod hf;
mod limits;
mod mllama;
mod qwen_vl;
mod text;
mod vision;

use mmtrain_media::{MediaLayout, MediaTokens};
use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use audio::{AudioConfig, AudioFamily};
pub use connector::{
    ConnectorConfig, CrossAttentionConfig, InstructionConfig, MlpConfig, PerceiverConfig, QFormerConfig, Unseen,
};
pub use encoder::{EncoderConfig, FusedConfig, VideoFeatures, VitConfig};
pub(crate) use hf::read_published;
pub use hf::{
    ENCODER_TYPES, HubClass, MODEL_TYPES, ModelKind, read_audio, read_encoder, read_kind, read_mllama_vision,
    read_qwen_vl_vision, read_text, read_vision, read_vlm, read_vlm_sizes,
};
pub use mllama::MllamaVisionConfig;
pub use qwen_vl::{QwenVlFamily, QwenVlVisionConfig, WindowConfig};
pub use text::{RopeScaling, SlidingWindow, TextConfig, TextFamily, YarnScaling};
pub use vision::{FeatureSelect, VisionConfig, VisionFamily};

/// Encoder, connector and decoder together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VlmConfig {
    /// The encoder.
    pub encoder: EncoderConfig,
    /// The connector.
    pub connector: ConnectorConfig,
    /// The language model.
    pub text: TextConfig,
    /// Token id that stands for a picture or sound, or for each of its features.
    pub image_token_id: usize,
    /// Token id that stands for a clip, where it is another one.
    #[serde(default)]
    pub video_token_id: Option<usize>,
    /// Canvases of LLaVA-NeXT, (height, width) in pixels; with them the connector has a newline between rows of features.
    #[serde(default)]
    pub image_grid_pinpoints: Option<Vec<[usize; 2]>>,
    /// Token ids that stand before and behind a medium in the text, where `transformers` looks for them (Qwen2-VL).
    #[serde(default)]
    pub vision_bounds: Option<[usize; 2]>,
}

impl VlmConfig {
    /// Which tokens a medium takes in the decoder's sequence.
    pub fn media_tokens(&self) -> MediaTokens {
        match &self.connector {
            ConnectorConfig::Mlp(mlp) => self.encoder.tokens(mlp.pixel_shuffle),
            ConnectorConfig::QFormer(q_former) => self.encoder.query_tokens(q_former.num_queries),
            ConnectorConfig::Perceiver(perceiver) => self.encoder.query_tokens(perceiver.num_latents),
            ConnectorConfig::CrossAttention(_) => MediaTokens::Marker,
            ConnectorConfig::Merger => match &self.encoder {
                EncoderConfig::QwenVl(qwen) => self.encoder.tokens(qwen.spatial_merge_size),
                _ => self.encoder.tokens(1),
            },
        }
    }

    /// The layers between the decoder's blocks, if there are any.
    pub fn cross_attention(&self) -> Option<&CrossAttentionConfig> {
        match &self.connector {
            ConnectorConfig::CrossAttention(cross) => Some(cross),
            _ => None,
        }
    }

    /// Tokens of a picture that is one square of the tower's size; none where there is no such picture.
    pub fn tokens_per_image(&self) -> Option<usize> {
        let side = self.encoder.vit()?.vision.image_size as u32;
        Some(MediaLayout::Square { side }.tokens(self.media_tokens()))
    }

    /// Whether tokens have positions in time, height and width: those of a grid of Qwen2-VL's tower have, each made of
    /// one of its squares of patches. Learned queries and markers stand in the text as words do.
    pub fn is_multimodal_rope(&self) -> bool {
        let EncoderConfig::QwenVl(qwen) = &self.encoder else { return false };
        let is_grid = match &self.connector {
            ConnectorConfig::Merger => true,
            ConnectorConfig::Mlp(mlp) => mlp.pixel_shuffle == qwen.spatial_merge_size,
            ConnectorConfig::QFormer(_) | ConnectorConfig::Perceiver(_) | ConnectorConfig::CrossAttention(_) => false,
        };
        is_grid && self.text.mrope_section.is_some()
    }
}
