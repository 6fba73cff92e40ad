//! Sizes and switches of the three parts, and of the whole.
//!
//! These are what the modules are built from. They come from a run's `[model]` table
//! ([`VisionConfig::from_arch`], [`TextConfig::from_arch`]) or from a checkpoint's `config.json`
//! ([`hf`]); a run's checkpoints carry them as a `config.json` again.

mod arch;
mod hf;

use serde::{Deserialize, Serialize};

pub use hf::{read_text, read_vision, read_vlm};

/// Which image tower; the switches that follow from it are methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisionFamily {
    /// CLIP: class token, bias-free patch embedding, norm before the blocks.
    Clip,
    /// SigLIP: patch tokens only, biased patch embedding.
    Siglip,
}

/// Activation between the two layers of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`
    QuickGelu,
    /// The tanh approximation.
    GeluTanh,
    /// The exact form with erf.
    Gelu,
    /// `x * sigmoid(x)`
    Silu,
}

impl Activation {
    /// Reads the names that `transformers` uses.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "quick_gelu" => Self::QuickGelu,
            "gelu_pytorch_tanh" | "gelu_new" => Self::GeluTanh,
            "gelu" => Self::Gelu,
            "silu" | "swish" => Self::Silu,
            _ => return None,
        })
    }

    /// The name that `transformers` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
        }
    }
}

/// An image tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisionConfig {
    /// CLIP or SigLIP.
    pub family: VisionFamily,
    /// Width of the tower.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Side of the square input, pixels.
    pub image_size: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Added to the variance in each LayerNorm.
    pub layer_norm_eps: f64,
    /// MLP activation.
    pub hidden_act: Activation,
}

impl VisionConfig {
    /// Patches along one side; a remainder is dropped as a strided convolution does.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Patches of one image.
    pub fn num_patches(&self) -> usize {
        self.grid() * self.grid()
    }

    /// Whether a learned class token stands before the patches.
    pub fn has_class_token(&self) -> bool {
        self.family == VisionFamily::Clip
    }
}

impl VisionFamily {
    /// LayerNorm epsilon of the family's configuration class.
    pub fn default_eps(self) -> f64 {
        match self {
            Self::Clip => 1e-5,
            Self::Siglip => 1e-6,
        }
    }

    /// Activation of the family's configuration class.
    pub fn default_act(self) -> Activation {
        match self {
            Self::Clip => Activation::QuickGelu,
            Self::Siglip => Activation::GeluTanh,
        }
    }
}

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

/// Which of the tower's tokens the connector sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSelect {
    /// Patches only: a class token is dropped (`"default"` in `transformers`).
    Default,
    /// All tokens.
    Full,
}

/// The MLP between tower and decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MlpConfig {
    /// Linear layers: 1 = LLaVA's `linear`, 2 = LLaVA-1.5's `mlp2x_gelu`.
    pub depth: usize,
    /// Space-to-depth factor before the first layer: tokens shrink by its square.
    pub pixel_shuffle: usize,
    /// Between the layers.
    pub act: Activation,
    /// Whether the layers have biases.
    pub bias: bool,
}

/// Encoder, connector and decoder together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VlmConfig {
    /// The image tower.
    pub vision: VisionConfig,
    /// The connector.
    pub connector: MlpConfig,
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
    /// Tokens that one image takes in the decoder's sequence.
    pub fn tokens_per_image(&self) -> usize {
        let class = usize::from(self.vision.has_class_token() && self.feature_select == FeatureSelect::Full);
        self.vision.num_patches() / (self.connector.pixel_shuffle * self.connector.pixel_shuffle) + class
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
