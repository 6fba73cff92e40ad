//! Between tower and language model.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Activation;

/// The connector; `kind` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ConnectorConfig {
    /// Per patch, or per square of patches.
    Mlp(MlpConfig),
    /// Learned queries, BLIP-2's layers.
    QFormer(QFormerConfig),
    /// Learned queries, Flamingo's layers.
    Perceiver(PerceiverConfig),
    /// Qwen2-VL's, whose sizes are its tower's.
    Merger,
}

impl ConnectorConfig {
    /// Whether both have the same layers; activations and biases of an MLP may differ, as between checkpoints.
    pub fn has_layers_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mlp(ours), Self::Mlp(theirs)) => {
                (ours.depth, ours.pixel_shuffle) == (theirs.depth, theirs.pixel_shuffle)
            }
            _ => self == other,
        }
    }

    /// Layers with a residual stream, whose outputs start small.
    pub fn num_layers(&self) -> usize {
        match self {
            Self::Mlp(_) | Self::Merger => 0,
            Self::QFormer(q_former) => q_former.num_hidden_layers,
            Self::Perceiver(perceiver) => perceiver.depth,
        }
    }
}

impl fmt::Display for ConnectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mlp(mlp) => write!(f, "an MLP of depth {}, pixel_shuffle {}", mlp.depth, mlp.pixel_shuffle),
            Self::QFormer(q) => {
                write!(f, "a Q-Former of {} layers with {} queries", q.num_hidden_layers, q.num_queries)
            }
            Self::Merger => write!(f, "Qwen2-VL's merger"),
            Self::Perceiver(p) => write!(f, "a perceiver of {} layers with {} latents", p.depth, p.num_latents),
        }
    }
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

impl MlpConfig {
    /// Whether LLaVA's class has this projector.
    pub fn is_llava(&self) -> bool {
        self.depth == 2 && self.pixel_shuffle == 1
    }
}

/// BLIP-2's Q-Former (`configuration_blip_2.py`, `Blip2QFormerConfig`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QFormerConfig {
    /// Learned queries, and so tokens.
    pub num_queries: usize,
    /// Width of the queries.
    pub hidden_size: usize,
    /// Width inside the MLPs.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of self- and cross-attention.
    pub num_attention_heads: usize,
    /// Layers whose number is a multiple of it attend to the features.
    pub cross_attention_frequency: usize,
    /// MLP activation.
    pub hidden_act: Activation,
    /// Added to the variance in each LayerNorm.
    pub layer_norm_eps: f64,
}

impl QFormerConfig {
    /// Whether layer `index` has cross-attention.
    pub fn attends_to_features(&self, index: usize) -> bool {
        index.is_multiple_of(self.cross_attention_frequency)
    }
}

/// A perceiver resampler as in Idefics (`perceiver.py`), after Flamingo (arXiv:2204.14198).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerceiverConfig {
    /// Learned latents, and so tokens.
    pub num_latents: usize,
    /// Width of the latents; features of another width are projected first.
    pub hidden_size: usize,
    /// Width inside the MLPs.
    pub intermediate_size: usize,
    /// Layers.
    pub depth: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}
