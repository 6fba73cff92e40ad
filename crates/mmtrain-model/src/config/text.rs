//! The language model.

use serde::{Deserialize, Serialize};

use super::Activation;

/// Decoder family; differs in defaults, biases, norms and the attention window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFamily {
    /// Llama 1-3, Vicuna, SmolLM2.
    Llama,
    /// Mistral: a sliding window in all blocks.
    Mistral,
    /// Qwen2 and Qwen2.5: biased q, k, v.
    Qwen2,
    /// Qwen3: queries and keys are normalised.
    Qwen3,
}

impl TextFamily {
    /// All families.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// The `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The class of `transformers` with an output projection, as it stands in `architectures`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    /// The family of a `model_type`.
    pub fn from_model_type(model_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.model_type() == model_type)
    }

    /// Whether each head of query and key is normalised before it is rotated.
    pub fn has_qk_norm(self) -> bool {
        self == Self::Qwen3
    }
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
    /// Longer waves as soon as a sequence is longer than `max_position_embeddings`.
    Dynamic {
        /// How fast they grow.
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
    /// Qwen2.5 and Qwen3 for long contexts: as Llama 3 with a ramp over the pairs, and scores scaled.
    Yarn(YarnScaling),
}

/// `YaRN` (Peng et al., 2023, arXiv:2309.00071).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct YarnScaling {
    /// Divisor of the low frequencies.
    pub factor: f64,
    /// Context length before the stretch.
    pub original_max_position: usize,
    /// Pairs that turn more often in the original context are kept.
    pub beta_fast: f64,
    /// Pairs that turn less often are divided.
    pub beta_slow: f64,
    /// Factor on cosines and sines, so on scores its square.
    pub attention_factor: f64,
    /// Whether the ramp begins and ends at whole pairs.
    pub truncate: bool,
}

impl YarnScaling {
    /// With the paper's constants.
    pub fn new(factor: f64, original_max_position: usize) -> Self {
        let attention_factor = Self::mscale(factor, 1.0);
        Self { factor, original_max_position, beta_fast: 32.0, beta_slow: 1.0, attention_factor, truncate: true }
    }

    /// `0.1 * weight * ln(factor) + 1`, and 1 where nothing is stretched.
    pub fn mscale(factor: f64, weight: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
    }
}

/// Blocks whose queries see the nearest keys only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingWindow {
    /// Keys that a query sees, its own among them.
    pub size: usize,
    /// Which blocks have the window, in their order; what is missing has none.
    pub blocks: Vec<bool>,
}

/// A decoder-only language model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// Which of the families.
    pub family: TextFamily,
    /// Tokens that can be said: rows of the head, and of the embedding table but for those below.
    pub vocab_size: usize,
    /// Rows of the embedding table behind them, for tokens that are only read (Mllama has 8).
    #[serde(default)]
    pub extra_embeddings: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated MLP.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Bias on all four projections of attention; Qwen2 has one on q, k and v in any case.
    pub attention_bias: bool,
    /// Bias on the three matrices of the MLP.
    pub mlp_bias: bool,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretch of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Frequencies that turn by time, height and width (M-RoPE); they sum up to `head_dim / 2`.
    pub mrope_section: Option<[usize; 3]>,
    /// Window of attention, if some block has one.
    pub sliding_window: Option<SlidingWindow>,
    /// Added to the mean square in each RMSNorm.
    pub rms_norm_eps: f64,
    /// Whether the head reuses the embedding table.
    pub tie_word_embeddings: bool,
    /// Longest sequence it was made for, before linear and dynamic stretching.
    pub max_position_embeddings: usize,
}

impl TextConfig {
    /// What `configuration_{llama,mistral,qwen2,qwen3}.py` say where a `config.json` is silent, but for the
    /// window, which depends on other keys.
    pub fn class_defaults(family: TextFamily) -> Self {
        let (vocab_size, intermediate_size, kv_heads, positions) = match family {
            TextFamily::Llama => (32_000, 11_008, 32, 2048),
            TextFamily::Mistral => (32_000, 14_336, 8, 131_072),
            TextFamily::Qwen2 | TextFamily::Qwen3 => (151_936, 22_016, 32, 32_768),
        };
        Self {
            family,
            vocab_size,
            extra_embeddings: 0,
            hidden_size: 4096,
            intermediate_size,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: kv_heads,
            head_dim: 128,
            attention_bias: false,
            mlp_bias: false,
            hidden_act: Activation::Silu,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            mrope_section: None,
            sliding_window: None,
            rms_norm_eps: 1e-6,
            tie_word_embeddings: false,
            max_position_embeddings: positions,
        }
    }

    /// Rows of the embedding table.
    pub fn num_embeddings(&self) -> usize {
        self.vocab_size + self.extra_embeddings
    }

    /// Whether the query, key and value projections have a bias.
    pub fn has_qkv_bias(&self) -> bool {
        self.attention_bias || self.family == TextFamily::Qwen2
    }

    /// Whether the queries of a block see the nearest keys only.
    pub fn has_window(&self, block: usize) -> bool {
        let window = self.sliding_window.as_ref();
        window.is_some_and(|window| window.blocks.get(block).copied().unwrap_or(false))
    }

    /// Longest sequence that it can take, stretched as it is.
    pub fn context_length(&self) -> usize {
        let positions = self.max_position_embeddings;
        match self.rope_scaling {
            RopeScaling::None | RopeScaling::Llama3 { .. } => positions,
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => (positions as f64 * factor) as usize,
            RopeScaling::Yarn(yarn) => positions.max((yarn.original_max_position as f64 * yarn.factor) as usize),
        }
    }
}
