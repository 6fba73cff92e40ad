//! The audio encoder.

use serde::{Deserialize, Serialize};

use super::Activation;

/// Which audio encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioFamily {
    /// Whisper's: every token of a clip of fixed length, padding included.
    Whisper,
    /// Qwen2-Audio's: padding is masked, pairs of tokens are averaged.
    Qwen2Audio,
}

/// An audio encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioConfig {
    /// Whisper or its variant.
    pub family: AudioFamily,
    /// Bins of the spectrogram.
    pub num_mel_bins: usize,
    /// Width of the encoder (`d_model`).
    pub hidden_size: usize,
    /// Width inside the MLP (`encoder_ffn_dim`).
    pub intermediate_size: usize,
    /// Blocks (`encoder_layers`).
    pub num_hidden_layers: usize,
    /// Attention heads (`encoder_attention_heads`).
    pub num_attention_heads: usize,
    /// Tokens of a clip in the blocks.
    pub max_source_positions: usize,
    /// MLP activation (`activation_function`).
    pub hidden_act: Activation,
}

impl AudioConfig {
    /// Frames of a spectrogram: all clips are padded or cut to so many.
    pub fn frames(&self) -> usize {
        2 * self.max_source_positions
    }

    /// Tokens in the blocks that hold sound, of a clip of `frames` frames without its padding.
    pub fn tokens_of(&self, frames: usize) -> usize {
        frames.div_ceil(2).min(self.max_source_positions)
    }

    /// Tokens behind the last step that hold sound, of a clip of `frames` frames without its padding.
    pub fn output_tokens_of(&self, frames: usize) -> usize {
        match self.family {
            AudioFamily::Whisper => self.tokens_of(frames),
            AudioFamily::Qwen2Audio => self.tokens_of(frames) / 2,
        }
    }
}
