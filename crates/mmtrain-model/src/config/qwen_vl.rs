//! The tower and merger of Qwen2-VL and Qwen2.5-VL.

use serde::{Deserialize, Serialize};

use super::Activation;

/// What differs between the two generations; the rest follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QwenVlFamily {
    /// Qwen2-VL: LayerNorm, a two-layer MLP, every patch sees its frame.
    Qwen2,
    /// Qwen2.5-VL: RMSNorm, a gated MLP, most blocks see only a window of the frame.
    Qwen2_5(WindowConfig),
}

/// Qwen2.5-VL's windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowConfig {
    /// Side of a window, pixels (`window_size`).
    pub size: usize,
    /// Blocks that see the whole frame nevertheless (`fullatt_block_indexes`).
    pub whole_frame_blocks: Vec<usize>,
    /// Positions in time that a second of video takes in the decoder.
    pub tokens_per_second: f64,
}

/// The tower and merger of Qwen2-VL and Qwen2.5-VL. `transformers` calls Qwen2-VL's widths `embed_dim`
/// (tower) and `hidden_size` (decoder); here each has the name that it has elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QwenVlVisionConfig {
    /// Which generation.
    pub family: QwenVlFamily,
    /// Width of the tower (`embed_dim`; Qwen2.5-VL: `hidden_size`).
    pub hidden_size: usize,
    /// Width of the decoder, into which the merger maps (`hidden_size`; Qwen2.5-VL: `out_hidden_size`).
    pub out_hidden_size: usize,
    /// Width inside the MLP (`embed_dim * mlp_ratio`; Qwen2.5-VL: `intermediate_size`).
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
    /// Positions in time from one group of a clip's frames to the next, so many seconds later; Qwen2-VL counts groups.
    pub fn positions_of(&self, seconds: f64) -> f64 {
        match &self.family {
            QwenVlFamily::Qwen2 => 1.0,
            QwenVlFamily::Qwen2_5(windows) => windows.tokens_per_second * seconds,
        }
    }

    /// Values of one patch: channels, pictures, rows, columns.
    pub fn patch_values(&self) -> usize {
        3 * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Width of an attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Qwen2.5-VL's windows.
    pub fn windows(&self) -> Option<&WindowConfig> {
        match &self.family {
            QwenVlFamily::Qwen2 => None,
            QwenVlFamily::Qwen2_5(windows) => Some(windows),
        }
    }

    /// Side of a window in blocks of patches that the merger joins.
    pub fn window_side(&self) -> Option<usize> {
        self.windows().map(|windows| windows.size / self.spatial_merge_size / self.patch_size)
    }

    /// Whether a block sees windows rather than frames.
    pub fn sees_windows(&self, block: usize) -> bool {
        self.windows().is_some_and(|windows| !windows.whole_frame_blocks.contains(&block))
    }
}
