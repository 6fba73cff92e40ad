//! `[model.connector]`: how encoder features reach the language model.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[model.connector]`: `kind` switches the connector, nothing else needs to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConnectorConfig {
    /// A per-patch MLP: as many tokens as patches, fewer with `pixel_shuffle` (`LLaVA-1.5`).
    Mlp {
        /// Linear layers, with GELU between them: 1 is linear, 2 is `LLaVA`'s `mlp2x_gelu`.
        #[serde(default = "nonzero::<2>")]
        #[schemars(range(max = 64), extend("x-also" = ["num_layers", "mm_projector_type"]))]
        depth: NonZeroUsize,
        /// Puts each square of `pixel_shuffle` x `pixel_shuffle` neighbouring patches into one token; divides the patch grid.
        #[serde(default = "nonzero::<1>")]
        #[schemars(range(max = 64), extend("x-also" = ["downsample", "scale_factor"]))]
        pixel_shuffle: NonZeroUsize,
        /// Whether the layers have biases. Where it is not given, those of `weights` decide; without weights they have (`Idefics3` and `SmolVLM` have none).
        #[serde(default)]
        #[schemars(extend("x-also" = ["multimodal_projector_bias"]))]
        bias: Option<bool>,
        /// A trained connector to start from: a Hugging Face directory of `LLaVA`, `Idefics3` or `SmolVLM`, `hf:ORG/NAME` after `mmtrain fetch`, or a checkpoint of this program.
        #[serde(default)]
        #[schemars(extend("x-also" = ["pretrain_mm_mlp_adapter"]))]
        weights: Option<PathBuf>,
    },
    /// Learned queries attend to the encoder's features: always `num_queries` tokens (BLIP-2).
    QFormer {
        /// Queries, and so tokens that the decoder sees of an image.
        #[serde(default = "nonzero::<32>")]
        #[schemars(range(max = 4096), extend("x-also" = ["num_query_tokens", "num_latents", "resampler_n_latents"]))]
        num_queries: NonZeroUsize,
        /// What the layers are: BLIP-2's Q-Former, or Flamingo's perceiver resampler.
        #[serde(default)]
        variant: QueryVariant,
        /// Width of the queries.
        #[serde(default = "nonzero::<768>")]
        #[schemars(range(max = 65536))]
        hidden_size: NonZeroUsize,
        /// Width inside the MLPs; four times `hidden_size` where it is not given.
        #[serde(default)]
        intermediate_size: Option<NonZeroUsize>,
        /// Layers.
        #[serde(default = "nonzero::<12>")]
        #[schemars(range(max = 512), extend("x-also" = ["num_layers", "depth", "resampler_depth"]))]
        num_hidden_layers: NonZeroUsize,
        /// Attention heads; divides `hidden_size`.
        #[serde(default = "nonzero::<12>")]
        #[schemars(range(max = 1024))]
        num_attention_heads: NonZeroUsize,
        /// A layer out of so many attends to the features (Q-Former; the perceiver's always do).
        #[serde(default = "nonzero::<2>")]
        #[schemars(range(max = 512))]
        cross_attention_frequency: NonZeroUsize,
        /// A trained connector to start from: a `BLIP-2` directory, `hf:ORG/NAME` after `mmtrain fetch`, or a checkpoint of this program.
        #[serde(default)]
        weights: Option<PathBuf>,
    },
    /// Layers between the decoder's blocks read the features: one token per image (Flamingo, Llama 3.2 Vision).
    CrossAttention {
        /// A layer stands before every so many blocks of the decoder, in its own sizes; at most the number of blocks.
        #[serde(default = "nonzero::<4>")]
        #[schemars(range(max = 4096), extend("x-also" = ["cross_attn_every_n_layers", "cross_layer_interval"]))]
        interval: NonZeroUsize,
        /// Latents of a perceiver resampler that reads the features first, so that the layers read as many keys of an image, or of each tile; without it they read all features.
        #[serde(default)]
        #[schemars(range(max = 4096), extend("x-also" = ["num_queries", "resampler_n_latents"]))]
        num_latents: Option<NonZeroUsize>,
        /// Layers of the resampler, as wide as the features; nothing without `num_latents`.
        #[serde(default = "nonzero::<6>")]
        #[schemars(range(max = 512))]
        resampler_depth: NonZeroUsize,
        /// A trained connector to start from: a directory of Llama 3.2 Vision, `hf:ORG/NAME` after `mmtrain fetch`, or a checkpoint of this program.
        #[serde(default)]
        weights: Option<PathBuf>,
    },
}

/// How the queries read the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryVariant {
    /// Self-attention among queries, cross-attention to the features, post-norm (BLIP-2).
    #[default]
    Blip2,
    /// Queries attend to features and queries together, pre-norm (Flamingo, Idefics).
    Perceiver,
}

/// `N`, as the default of a key.
fn nonzero<const N: usize>() -> NonZeroUsize {
    const { NonZeroUsize::new(N).expect("not 0") }
}

impl Default for ConnectorConfig {
    fn default() -> Self {
        Self::Mlp { depth: nonzero::<2>(), pixel_shuffle: nonzero::<1>(), bias: None, weights: None }
    }
}

impl ConnectorConfig {
    /// Tokens the decoder sees for an image of `patches` encoder features.
    pub fn num_tokens(&self, patches: usize) -> usize {
        match self {
            Self::Mlp { pixel_shuffle, .. } => patches / pixel_shuffle.get().pow(2),
            Self::QFormer { num_queries, .. } => num_queries.get(),
            Self::CrossAttention { .. } => 1,
        }
    }

    /// Trained weights to start from, if any.
    pub fn weights(&self) -> Option<&PathBuf> {
        match self {
            Self::Mlp { weights, .. } | Self::QFormer { weights, .. } | Self::CrossAttention { weights, .. } => {
                weights.as_ref()
            }
        }
    }

    /// The same, to be replaced.
    pub fn weights_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Mlp { weights, .. } | Self::QFormer { weights, .. } | Self::CrossAttention { weights, .. } => {
                weights.as_mut()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mlp_gives_a_token_per_patch_or_per_square_of_patches() {
        assert_eq!(ConnectorConfig::default().num_tokens(576), 576);
        let shuffled = ConnectorConfig::Mlp {
            depth: NonZeroUsize::MIN,
            pixel_shuffle: NonZeroUsize::MIN.saturating_add(1),
            bias: None,
            weights: None,
        };
        assert_eq!(shuffled.num_tokens(576), 144);
    }

    #[test]
    fn cross_attention_takes_one_token_whatever_it_reads() {
        let one = |num_latents| ConnectorConfig::CrossAttention {
            interval: nonzero::<4>(),
            num_latents,
            resampler_depth: nonzero::<6>(),
            weights: None,
        };
        assert_eq!([one(None), one(Some(nonzero::<64>()))].map(|connector| connector.num_tokens(576)), [1, 1]);
    }
}
