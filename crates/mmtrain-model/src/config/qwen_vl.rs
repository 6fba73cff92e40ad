//! Qwen2-VL's tower and merger.

use serde::{Deserialize, Serialize};

use super::Activation;

/// Qwen2-VL's tower and merger. `transformers` calls the tower's width `embed_dim` and the decoder's
/// `hidden_size`; here each has the name that it has elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QwenVlVisionConfig {
    /// Width of the tower (`embed_dim`).
    pub hidden_size: usize,
    /// Width of the decoder, into which the merger maps (`hidden_size`).
    pub out_hidden_size: usize,
    /// Width inside the MLP (`embed_dim * mlp_ratio`).
    pub intermediate_size: usize,
    /// Blocks (`depth`).
    pub num_hidden_layers: usize,
    /// Attention heads (`num_heads`).
    pub num_attention_heads: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Pictures that a patch is deep; a still picture is taken that often.
    pub temporal_patch_size: usize,
    /// Side of the block of patches that becomes one token.
    pub spatial_merge_size: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// MLP activation.
    pub hidden_act: Activation,
}

impl QwenVlVisionConfig {
    /// Values of one patch: channels, pictures, rows, columns.
    pub fn patch_values(&self) -> usize {
        3 * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Width of an attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}
