//! Layers between the decoder's blocks that read the media (Flamingo, Alayrac et al., 2022, arXiv:2204.14198).
//!
//! The layer is Mllama's (`modeling_mllama.py`, `MllamaCrossAttentionDecoderLayer`): text tokens attend to the
//! media, without rotary positions, with a norm on each query and key head; then an MLP. Both are added through
//! a gate `tanh(g)`, and `g` starts at zero, so that a fresh layer leaves the language model as it was.
//! Which media a token sees is said by a [`MemoryMask`].
//!
//! Dims: `media`, `features` and `vision_hidden` of the encoder, `keys` of a memory, `batch`, `seq`, `hidden`.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;

use super::{MemoryMask, PerceiverConnector};
use crate::attention::{attention, merge_heads, split_heads};
use crate::config::CrossAttentionConfig;
use crate::decoder::DecoderMlp;
use crate::encoder::FeatureParts;
use crate::norm::RmsNorm;
use crate::projection::Projection;

/// Makes the memory from features, and reads it.
#[derive(Module, Debug)]
pub struct CrossAttentionConnector {
    /// From features to keys of the memory.
    pub projection: MemoryProjection,
    /// Layers in the order in which they run.
    pub layers: Vec<CrossAttentionLayer>,
}

/// From features to keys of the memory.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a model has one")]
pub enum MemoryProjection {
    /// One key per feature (Mllama's `multi_modal_projector`).
    Linear(Projection),
    /// As many keys as latents (Flamingo).
    Resampler(PerceiverConnector),
}

/// Cross-attention, then an MLP, each added through its gate.
#[derive(Module, Debug)]
pub struct CrossAttentionLayer {
    /// Before attention.
    pub input_layernorm: RmsNorm,
    /// From the tokens to the memory.
    pub cross_attn: CrossAttention,
    /// Of the attention, before `tanh`. `[1]`
    pub cross_attn_attn_gate: Param<Tensor<1>>,
    /// Before the MLP.
    pub post_attention_layernorm: RmsNorm,
    /// As in the decoder's blocks.
    pub mlp: DecoderMlp,
    /// Of the MLP, before `tanh`. `[1]`
    pub cross_attn_mlp_gate: Param<Tensor<1>>,
}

/// Grouped-query attention to another sequence.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// `[hidden, heads * head_dim]`
    pub q_proj: Projection,
    /// `[hidden, kv_heads * head_dim]`
    pub k_proj: Projection,
    /// `[hidden, kv_heads * head_dim]`
    pub v_proj: Projection,
    /// `[heads * head_dim, hidden]`
    pub o_proj: Projection,
    /// Of each query head.
    pub q_norm: RmsNorm,
    /// Of each key head.
    pub k_norm: RmsNorm,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
}

impl CrossAttentionConnector {
    /// A connector of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &CrossAttentionConfig, vision_hidden: usize, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let projection = match &config.resampler {
            None => MemoryProjection::Linear(Projection::new(vision_hidden, hidden, true, device)),
            Some(resampler) => {
                MemoryProjection::Resampler(PerceiverConnector::new(resampler, vision_hidden, hidden, device))
            }
        };
        let layers = (0..config.num_layers()).map(|_| CrossAttentionLayer::new(config, device)).collect();
        Self { projection, layers }
    }

    /// What the layers read of the media, as runs of keys: a run for each tile, or for each medium where latents read a
    /// whole one, or for each feature of a sequence.
    ///
    /// # Shapes
    ///
    /// - `features`: `[tiles, features, vision_hidden]`, or `[1, features, vision_hidden]` of a sequence
    /// - returns: `[runs, keys, hidden]`, which [`MediaPlaces::memories`](super::MediaPlaces::memories) lays into rows
    pub fn runs(&self, features: Tensor<3>, parts: &FeatureParts) -> Tensor<3> {
        match (&self.projection, parts) {
            (MemoryProjection::Resampler(perceiver), FeatureParts::Sequence(_)) => {
                Tensor::cat(parts.each(&features).map(|own| perceiver.forward(own)).collect(), 0)
            }
            (MemoryProjection::Linear(linear), FeatureParts::Sequence(_)) => linear.forward(features).swap_dims(0, 1),
            _ => self.memory(features),
        }
    }

    /// What the layers read of each tile.
    ///
    /// # Shapes
    ///
    /// - `features`: `[tiles, features, vision_hidden]`
    /// - returns: `[tiles, features or latents, hidden]`
    pub fn memory(&self, features: Tensor<3>) -> Tensor<3> {
        match &self.projection {
            MemoryProjection::Linear(linear) => linear.forward(features),
            MemoryProjection::Resampler(perceiver) => perceiver.forward(features),
        }
    }
}

impl CrossAttentionLayer {
    /// A layer of zeros, which is the identity.
    pub fn new(config: &CrossAttentionConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let gate = || Initializer::Zeros.init([1], device);
        Self {
            input_layernorm: norm(hidden, config, device),
            cross_attn: CrossAttention::new(config, device),
            cross_attn_attn_gate: gate(),
            post_attention_layernorm: norm(hidden, config, device),
            mlp: DecoderMlp::of([hidden, inner], false, config.hidden_act, device),
            cross_attn_mlp_gate: gate(),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, seq, hidden]`; returns the same
    /// - `memory`: `[batch, keys, hidden]`
    pub fn forward(&self, x: Tensor<3>, memory: Tensor<3>, mask: &MemoryMask) -> Tensor<3> {
        self.forward_cached(x, &self.keys_values(memory), mask)
    }

    /// Keys and values of a memory, `[batch, kv_heads, keys, head_dim]`, for as many tokens as will read it.
    pub fn keys_values(&self, memory: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        self.cross_attn.keys_values(memory)
    }

    /// As [`forward`](Self::forward), from [`keys_values`](Self::keys_values).
    pub fn forward_cached(&self, x: Tensor<3>, memory: &(Tensor<4>, Tensor<4>), mask: &MemoryMask) -> Tensor<3> {
        let read = self.cross_attn.forward(self.input_layernorm.forward(x.clone()), memory, mask);
        let x = x + mask.of_attention(read) * opening(&self.cross_attn_attn_gate);
        let inner = self.mlp.forward(self.post_attention_layernorm.forward(x.clone()));
        x + mask.of_mlp(inner) * opening(&self.cross_attn_mlp_gate)
    }
}

impl CrossAttention {
    fn new(config: &CrossAttentionConfig, device: &Device) -> Self {
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let (query, kv) = (config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim);
        Self {
            q_proj: Projection::new(hidden, query, false, device),
            k_proj: Projection::new(hidden, kv, false, device),
            v_proj: Projection::new(hidden, kv, false, device),
            o_proj: Projection::new(query, hidden, false, device),
            q_norm: norm(head_dim, config, device),
            k_norm: norm(head_dim, config, device),
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
        }
    }

    fn keys_values(&self, memory: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        let key = self.k_norm.forward(split_heads(self.k_proj.forward(memory.clone()), self.kv_heads));
        (key, split_heads(self.v_proj.forward(memory), self.kv_heads))
    }

    fn forward(&self, x: Tensor<3>, (key, value): &(Tensor<4>, Tensor<4>), mask: &MemoryMask) -> Tensor<3> {
        let query = self.q_norm.forward(split_heads(self.q_proj.forward(x), self.heads));
        let output = attention(query, key.clone(), value.clone(), Some(mask.attention()));
        self.o_proj.forward(merge_heads(output))
    }
}

/// `tanh(g)`, `[1, 1, 1]`
fn opening(gate: &Param<Tensor<1>>) -> Tensor<3> {
    gate.val().tanh().reshape([1, 1, 1])
}

fn norm(width: usize, config: &CrossAttentionConfig, device: &Device) -> RmsNorm {
    RmsNorm::new(width, config.rms_norm_eps, device)
}
