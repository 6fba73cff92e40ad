//! `[model.decoder]` and `[model.tokenizer]`: the language model and its vocabulary.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SourceConfig, TemplateKind};

/// `[model.decoder]`: from a checkpoint (`weights`) or from random numbers (`arch`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-exactly-one" = ["weights", "arch"]))]
pub struct DecoderConfig {
    /// Hugging Face directory, or `hf:ORG/NAME` after `mmtrain fetch`, of a Llama-, Mistral-, Qwen2- or Qwen3-shaped model, or of a larger model with one inside: `LLaVA`, `Qwen2-VL`, `Mllama`. Relative to the directory the command is started in.
    #[schemars(extend("x-also" = ["pretrained", "name_or_path", "model_name_or_path", "path"]))]
    pub weights: Option<PathBuf>,
    /// Sizes of a model that starts from random numbers.
    pub arch: Option<DecoderArch>,
}

/// Sizes of a decoder, named as in a `transformers` config; the size of the vocabulary follows from the tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecoderArch {
    /// Which layout of the transformer.
    pub family: DecoderFamily,
    /// Width of the residual stream.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub hidden_size: usize,
    /// Width inside the gated MLP.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub intermediate_size: usize,
    /// Transformer blocks.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_layers", "layers", "depth"]))]
    pub num_hidden_layers: usize,
    /// Query heads; they divide `hidden_size`.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_heads", "heads"]))]
    pub num_attention_heads: usize,
    /// Key and value heads; they divide `num_attention_heads`.
    #[schemars(range(min = 1, max = 4096), extend("x-also" = ["num_kv_heads", "kv_heads"]))]
    pub num_key_value_heads: usize,
    /// Width of a head, an even number; default: `hidden_size / num_attention_heads`.
    #[serde(default)]
    #[schemars(range(min = 2, max = 65_536))]
    pub head_dim: Option<usize>,
    /// Keys that a query sees, its own among them; default: all. Not for llama.
    #[serde(default)]
    #[schemars(range(min = 1, max = 16_777_216), extend("x-also" = ["window", "attention_window"]))]
    pub sliding_window: Option<usize>,
    /// Base of the rotary angles.
    #[serde(default = "default_rope_theta")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub rope_theta: f64,
    /// Added to the mean square inside `RMSNorm`.
    #[serde(default = "default_rms_norm_eps")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub rms_norm_eps: f64,
    /// Input embedding and output head share one matrix.
    #[serde(default = "default_tie_word_embeddings")]
    pub tie_word_embeddings: bool,
    /// Longest sequence the model is meant for, in tokens; at least `data.max_seq`.
    #[serde(default = "default_max_position_embeddings")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max_position_embeddings: usize,
}

fn default_rope_theta() -> f64 {
    10_000.0
}

fn default_rms_norm_eps() -> f64 {
    1e-6
}

fn default_tie_word_embeddings() -> bool {
    true
}

fn default_max_position_embeddings() -> usize {
    2048
}

/// Layout of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecoderFamily {
    /// No biases (Llama 1 to 3, Vicuna, `SmolLM2`).
    Llama,
    /// As llama, made for a sliding window (Mistral).
    Mistral,
    /// Biases on query, key and value (Qwen2, Qwen2.5).
    Qwen2,
    /// Queries and keys are normalised (Qwen3).
    Qwen3,
}

impl DecoderArch {
    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }
}

/// `[model.tokenizer]`: where the vocabulary comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-at-most-one" = ["path", "train_bpe"]))]
pub struct TokenizerConfig {
    /// A `tokenizer.json` or its directory; default: the directory of `model.decoder.weights`.
    pub path: Option<PathBuf>,
    /// Learn a vocabulary from the captions, once, and store it with the run.
    pub train_bpe: Option<TrainBpe>,
}

/// A byte-level BPE learned from the texts of the run's data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainBpe {
    /// Tokens of the vocabulary, the 256 bytes and the special tokens included.
    #[schemars(range(min = 260, max = 16_777_216))]
    pub vocab_size: usize,
    /// Conversations to learn from besides those of `data.sources`: what later stages will read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceConfig>,
    /// How later stages write them; its words and special tokens are learned, too. Default: `data.template`.
    #[serde(default)]
    pub template: Option<TemplateKind>,
}
