//! Between tower and language model.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Activation, TextConfig};

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
    /// Layers between the decoder's blocks.
    CrossAttention(CrossAttentionConfig),
}

impl ConnectorConfig {
    /// Whether both have the same layers; activations and biases of an MLP may differ, as between checkpoints, and what
    /// cross-attention does to tokens that see nothing.
    pub fn has_layers_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mlp(ours), Self::Mlp(theirs)) => {
                (ours.depth, ours.pixel_shuffle) == (theirs.depth, theirs.pixel_shuffle)
            }
            // An instructed one reads no instruction where there is none.
            (Self::QFormer(ours), Self::QFormer(theirs)) => {
                *ours == QFormerConfig { instruction: ours.instruction, ..theirs.clone() }
            }
            // What layers do to tokens that see nothing is a habit of checkpoints, not a size.
            (Self::CrossAttention(ours), Self::CrossAttention(theirs)) => {
                *ours == CrossAttentionConfig { unseen: ours.unseen, ..theirs.clone() }
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
            Self::CrossAttention(cross) => cross.num_layers(),
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
            Self::CrossAttention(cross) => cross.fmt(f),
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
    /// Reads an instruction beside its queries (InstructBLIP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<InstructionConfig>,
}

/// Tables for an instruction (`configuration_instructblip.py`, `InstructBlipQFormerConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionConfig {
    /// Words of BERT's tokenizer.
    pub vocab_size: usize,
    /// The longest instruction.
    pub max_position_embeddings: usize,
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

/// Layers inside the decoder that read the media: Mllama's block (`configuration_mllama.py`, `MllamaTextConfig`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrossAttentionConfig {
    /// Layer `k` stands before the decoder's block `before_blocks[k]`; ascending, a block at most once.
    pub before_blocks: Vec<usize>,
    /// Width of the decoder.
    pub hidden_size: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width inside the MLPs.
    pub intermediate_size: usize,
    /// MLP activation.
    pub hidden_act: Activation,
    /// Added to the mean square in each norm.
    pub rms_norm_eps: f64,
    /// Reads the features first, so that a medium has as many keys as there are latents.
    pub resampler: Option<PerceiverConfig>,
    /// What the layers do to tokens that see no medium.
    pub unseen: Unseen,
}

/// What a cross-attention layer does to a token that sees no medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// Nothing, so that a text without media passes as through the decoder alone.
    ///
    /// Flamingo and Idefics (`modeling_idefics.py`) leave out the attention of such a token and keep its MLP.
    Zeroed,
    /// It reads all keys of its row and leaves out the MLP only, as Mllama's checkpoints have learned.
    MllamaAll,
}

impl fmt::Display for CrossAttentionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cross-attention before blocks {:?}", self.before_blocks)?;
        match &self.resampler {
            Some(perceiver) => write!(f, ", to {} latents of {} layers", perceiver.num_latents, perceiver.depth),
            None => write!(f, ", to all features"),
        }
    }
}

impl CrossAttentionConfig {
    /// Layers before these blocks of a decoder, with the sizes of its blocks.
    pub fn beside(text: &TextConfig, before_blocks: Vec<usize>) -> Self {
        Self {
            before_blocks,
            hidden_size: text.hidden_size,
            num_attention_heads: text.num_attention_heads,
            num_key_value_heads: text.num_key_value_heads,
            head_dim: text.head_dim,
            intermediate_size: text.intermediate_size,
            hidden_act: text.hidden_act,
            rms_norm_eps: text.rms_norm_eps,
            resampler: None,
            unseen: Unseen::Zeroed,
        }
    }

    /// Layers.
    pub fn num_layers(&self) -> usize {
        self.before_blocks.len()
    }

    /// The layer that runs before the decoder's block `block`.
    pub fn layer_before(&self, block: usize) -> Option<usize> {
        self.before_blocks.binary_search(&block).ok()
    }

    /// Blocks of `num_blocks` before which layers stand when every `interval`-th has one (`flamingo_lm.py`).
    pub fn every(interval: usize, num_blocks: usize) -> Vec<usize> {
        (0..num_blocks).filter(|block| (block + 1).is_multiple_of(interval)).collect()
    }

    /// Mllama's `cross_attention_layers`: places in a list of both kinds of layers.
    pub fn mllama_layers(&self) -> Vec<usize> {
        self.before_blocks.iter().enumerate().map(|(earlier, block)| block + earlier).collect()
    }

    /// The same from Mllama's `cross_attention_layers`, which counts both kinds of layers, `num_layers` together. A layer
    /// behind the last block is said to stand before a block that there is not.
    pub fn from_mllama(cross_attention_layers: &[usize], num_layers: usize) -> Result<Vec<usize>, String> {
        let are_apart = cross_attention_layers.windows(2).all(|pair| pair[0] + 1 < pair[1]);
        let is_outside = |&layer: &usize| layer >= num_layers;
        if !are_apart || cross_attention_layers.last().is_some_and(is_outside) {
            return Err(format!(
                "`cross_attention_layers` {cross_attention_layers:?} of {num_layers} layers: they have to be ascending, \
                 with another layer of the language model between each two"
            ));
        }
        Ok(cross_attention_layers.iter().enumerate().map(|(earlier, layer)| layer - earlier).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(before_blocks: Vec<usize>) -> CrossAttentionConfig {
        CrossAttentionConfig {
            before_blocks,
            hidden_size: 8,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 4,
            intermediate_size: 12,
            hidden_act: Activation::Silu,
            rms_norm_eps: 1e-5,
            resampler: None,
            unseen: Unseen::Zeroed,
        }
    }

    /// Llama 3.2 Vision: 8 layers among 32, in a list of 40.
    #[test]
    fn every_fourth_block_is_the_list_of_llama_3_2_vision() {
        let blocks = CrossAttentionConfig::every(4, 32);
        assert_eq!(blocks, [3, 7, 11, 15, 19, 23, 27, 31]);
        assert_eq!(CrossAttentionConfig::from_mllama(&[3, 8, 13, 18, 23, 28, 33, 38], 40), Ok(blocks.clone()));
        let config = config(blocks);
        assert_eq!((config.layer_before(3), config.layer_before(31)), (Some(0), Some(7)));
        assert_eq!((config.layer_before(0), config.layer_before(4), config.layer_before(32)), (None, None, None));
    }

    #[test]
    fn layers_that_follow_each_other_or_lie_outside_are_refused() {
        assert_eq!(CrossAttentionConfig::from_mllama(&[1, 3], 4), Ok(vec![1, 2]), "the last may be one");
        assert_eq!(config(vec![1, 2]).mllama_layers(), [1, 3]);
        for layers in [vec![2, 3], vec![1, 6], vec![4, 2]] {
            let error = CrossAttentionConfig::from_mllama(&layers, 6).expect_err("refused");
            assert!(error.contains("of 6 layers"), "{error}");
        }
    }
}
