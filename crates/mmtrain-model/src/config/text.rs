//! The language model.

use serde::{Deserialize, Serialize};

/// Decoder family; differs in defaults and biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFamily {
    /// Llama 1-3, Vicuna, SmolLM2.
    Llama,
    /// Qwen2 and Qwen2.5: biased q, k, v.
    Qwen2,
}

/// How rotary frequencies are stretched for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "snake_case")]
pub enum RopeScaling {
    /// As trained.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, smooth between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length before the stretch.
        original_max_position: usize,
    },
}

/// A decoder-only language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// Llama or Qwen2.
    pub family: TextFamily,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the SwiGLU.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Bias on q, k and v.
    pub qkv_bias: bool,
    /// Bias on the attention's output projection.
    pub o_bias: bool,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretch of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Added to the mean square in each RMSNorm.
    pub rms_norm_eps: f64,
    /// Whether the head reuses the embedding table.
    pub tie_word_embeddings: bool,
    /// Longest sequence it was made for.
    pub max_position_embeddings: usize,
}
