//! BLIP-2's Q-Former (Li et al., 2023, arXiv:2301.12597): learned queries read the image.
//!
//! Follows `modeling_blip_2.py`: BERT's post-norm layers, cross-attention in every so many of them, and a
//! linear projection into the decoder. Field names are the checkpoints', but for `layer_norm` (`LayerNorm`).
//!
//! Dims: `queries`, `width` of the queries, `features` and `vision_hidden` of the encoder.

use burn::module::Param;
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear};
use burn::prelude::*;

use crate::attention::{attention, merge_heads, split_heads};
use crate::config::{Activation, QFormerConfig};
use crate::encoder::linear;

/// Queries, layers and projection.
#[derive(Module, Debug)]
pub struct QFormerConnector {
    /// `[1, queries, width]`
    pub query_tokens: Param<Tensor<3>>,
    /// The layers.
    pub qformer: QFormer,
    /// `[width, hidden]`
    pub language_projection: Linear,
}

/// Norm of the queries, then the layers.
#[derive(Module, Debug)]
pub struct QFormer {
    /// Applied to the queries first.
    pub layernorm: LayerNorm,
    /// The layers, one level down as in the checkpoints.
    pub encoder: QFormerEncoder,
}

/// The list of layers.
#[derive(Module, Debug)]
pub struct QFormerEncoder {
    /// Layers in the order in which they run.
    pub layer: Vec<QFormerLayer>,
}

/// Self-attention, cross-attention in some layers, MLP; a norm after each.
#[derive(Module, Debug)]
pub struct QFormerLayer {
    /// Among the queries.
    pub attention: QFormerAttention,
    /// From the queries to the features.
    pub crossattention: Option<QFormerAttention>,
    /// Widens.
    pub intermediate_query: Dense,
    /// Narrows, adds and norms.
    pub output_query: DenseNorm,
    #[module(skip)]
    act: Activation,
}

/// Multi-head attention with its output projection, residual and norm.
#[derive(Module, Debug)]
pub struct QFormerAttention {
    /// The three projections.
    pub attention: QueryKeyValue,
    /// Output projection, residual and norm.
    pub output: DenseNorm,
    #[module(skip)]
    heads: usize,
}

/// Query, key and value projections.
#[derive(Module, Debug)]
pub struct QueryKeyValue {
    /// `[width, width]`
    pub query: Linear,
    /// `[width or vision_hidden, width]`
    pub key: Linear,
    /// `[width or vision_hidden, width]`
    pub value: Linear,
}

/// A linear layer one level down.
#[derive(Module, Debug)]
pub struct Dense {
    /// The layer.
    pub dense: Linear,
}

/// `norm(dense(x) + residual)`
#[derive(Module, Debug)]
pub struct DenseNorm {
    /// The layer.
    pub dense: Linear,
    /// `LayerNorm` in the checkpoints.
    pub layer_norm: LayerNorm,
}

impl QFormerConnector {
    pub(super) fn new(config: &QFormerConfig, vision_hidden: usize, hidden: usize, device: &Device) -> Self {
        let layer =
            |index| QFormerLayer::new(config, config.attends_to_features(index).then_some(vision_hidden), device);
        Self {
            query_tokens: Initializer::Zeros.init([1, config.num_queries, config.hidden_size], device),
            qformer: QFormer {
                layernorm: norm(config, device),
                encoder: QFormerEncoder { layer: (0..config.num_hidden_layers).map(layer).collect() },
            },
            language_projection: linear(config.hidden_size, hidden, true, device),
        }
    }

    /// # Shapes
    ///
    /// - `features`: `[batch, features, vision_hidden]`
    /// - returns: `[batch, queries, hidden]`
    pub fn forward(&self, features: &Tensor<3>) -> Tensor<3> {
        let batch = features.dims()[0];
        let queries = self.qformer.layernorm.forward(self.query_tokens.val()).repeat_dim(0, batch);
        let layers = self.qformer.encoder.layer.iter();
        self.language_projection.forward(layers.fold(queries, |x, layer| layer.forward(x, features)))
    }
}

impl QFormerLayer {
    fn new(config: &QFormerConfig, cross: Option<usize>, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            attention: QFormerAttention::new(config, width, device),
            crossattention: cross.map(|features| QFormerAttention::new(config, features, device)),
            intermediate_query: Dense { dense: linear(width, inner, true, device) },
            output_query: DenseNorm { dense: linear(inner, width, true, device), layer_norm: norm(config, device) },
            act: config.hidden_act,
        }
    }

    fn forward(&self, x: Tensor<3>, features: &Tensor<3>) -> Tensor<3> {
        let mut x = self.attention.forward(x.clone(), x);
        if let Some(cross) = &self.crossattention {
            x = cross.forward(x, features.clone());
        }
        let inner = self.act.apply(self.intermediate_query.dense.forward(x.clone()));
        self.output_query.forward(inner, x)
    }
}

impl QFormerAttention {
    fn new(config: &QFormerConfig, source: usize, device: &Device) -> Self {
        let width = config.hidden_size;
        Self {
            attention: QueryKeyValue {
                query: linear(width, width, true, device),
                key: linear(source, width, true, device),
                value: linear(source, width, true, device),
            },
            output: DenseNorm { dense: linear(width, width, true, device), layer_norm: norm(config, device) },
            heads: config.num_attention_heads,
        }
    }

    fn forward(&self, x: Tensor<3>, source: Tensor<3>) -> Tensor<3> {
        let heads = |linear: &Linear, x: Tensor<3>| split_heads(linear.forward(x), self.heads);
        let query = heads(&self.attention.query, x.clone());
        let key = heads(&self.attention.key, source.clone());
        let value = heads(&self.attention.value, source);
        self.output.forward(merge_heads(attention(query, key, value, None)), x)
    }
}

impl DenseNorm {
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.layer_norm.forward(self.dense.forward(x) + residual)
    }
}

fn norm(config: &QFormerConfig, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps).init(device)
}
