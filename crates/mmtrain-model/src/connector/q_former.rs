//! BLIP-2's Q-Former (Li et al., 2023, arXiv:2301.12597): learned queries read the image.
//!
//! Follows `modeling_blip_2.py`: BERT's post-norm layers, cross-attention in every so many of them, and a
//! linear projection into the decoder. InstructBLIP's (Dai et al., 2023, arXiv:2305.06500,
//! `modeling_instructblip.py`) reads the instruction too: its tokens stand behind the queries in the
//! self-attention, have an MLP of their own, and are dropped at the end. Field names are the checkpoints', but
//! for `layer_norm` (`LayerNorm`).
//!
//! Dims: `queries`, `width` of the queries, `features` and `vision_hidden` of the encoder, `batch` of media,
//! `len` of the instruction, `seq` of both (`queries + len`).

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;

use super::Instruction;
use super::instruction::InstructionEmbeddings;
use crate::attention::{Mask, attention, merge_heads, split_heads};
use crate::config::{Activation, QFormerConfig};
use crate::norm::LayerNorm;
use crate::projection::Projection;

/// Queries, layers and projection.
#[derive(Module, Debug)]
pub struct QFormerConnector {
    /// `[1, queries, width]`
    pub query_tokens: Param<Tensor<3>>,
    /// The layers.
    pub qformer: QFormer,
    /// `[width, hidden]`
    pub language_projection: Projection,
}

/// Norm of the queries, then the layers.
#[derive(Module, Debug)]
pub struct QFormer {
    /// Applied to the queries first, where there are no embeddings.
    pub layernorm: Option<LayerNorm>,
    /// Of an instruction, with a norm of it and the queries.
    pub embeddings: Option<InstructionEmbeddings>,
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
    /// Among the queries, and the instruction's tokens.
    pub attention: QFormerAttention,
    /// From the queries to the features.
    pub crossattention: Option<QFormerAttention>,
    /// Widens an instruction's tokens.
    pub intermediate: Option<Dense>,
    /// Narrows, adds and norms them.
    pub output: Option<DenseNorm>,
    /// Widens the queries.
    pub intermediate_query: Dense,
    /// Narrows, adds and norms them.
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
    pub query: Projection,
    /// `[width or vision_hidden, width]`
    pub key: Projection,
    /// `[width or vision_hidden, width]`
    pub value: Projection,
}

/// A linear layer one level down.
#[derive(Module, Debug)]
pub struct Dense {
    /// The layer.
    pub dense: Projection,
}

/// `norm(dense(x) + residual)`
#[derive(Module, Debug)]
pub struct DenseNorm {
    /// The layer.
    pub dense: Projection,
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
                layernorm: config.instruction.is_none().then(|| norm(config, device)),
                embeddings: config.instruction.map(|sizes| InstructionEmbeddings::new(sizes, config, device)),
                encoder: QFormerEncoder { layer: (0..config.num_hidden_layers).map(layer).collect() },
            },
            language_projection: Projection::new(config.hidden_size, hidden, true, device),
        }
    }

    /// # Shapes
    ///
    /// - `features`: `[batch, features, vision_hidden]`
    /// - returns: `[batch, queries, hidden]`
    pub fn forward(&self, features: &Tensor<3>) -> Tensor<3> {
        self.forward_instructed(features, None)
    }

    /// As [`forward`](Self::forward), with an instruction for each of the batch.
    ///
    /// # Panics
    ///
    /// Panics if the instructions are not as many as the media, or the Q-Former was made to read none
    /// ([`QFormerConfig::instruction`]).
    pub fn forward_instructed(&self, features: &Tensor<3>, instruction: Option<&Instruction>) -> Tensor<3> {
        let queries = self.query_tokens.val().repeat_dim(0, features.dims()[0]);
        self.language_projection.forward(self.qformer.forward(queries, features, instruction))
    }
}

impl QFormer {
    /// `queries` is `[batch, queries, width]`, as is what is returned.
    fn forward(&self, queries: Tensor<3>, features: &Tensor<3>, instruction: Option<&Instruction>) -> Tensor<3> {
        let count = queries.dims()[1];
        let mask = instruction.map(|instruction| instruction.mask(count, &queries.device().inner()));
        let x = self.embed(queries, instruction);
        let layers = self.encoder.layer.iter();
        layers.fold(x, |x, layer| layer.forward(x, count, features, mask.as_ref())).slice_dim(1, 0..count)
    }

    /// Queries and instruction behind one another, after their norm. `[batch, seq, width]`
    fn embed(&self, queries: Tensor<3>, instruction: Option<&Instruction>) -> Tensor<3> {
        match (&self.embeddings, instruction) {
            (Some(embeddings), instruction) => embeddings.forward(queries, instruction),
            (None, None) => self.layernorm.iter().fold(queries, |x, norm| norm.forward(x)),
            (None, Some(_)) => panic!("an instruction for a Q-Former that reads none"),
        }
    }
}

impl QFormerLayer {
    fn new(config: &QFormerConfig, cross: Option<usize>, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let widens = || Dense { dense: Projection::new(width, inner, true, device) };
        let narrows =
            || DenseNorm { dense: Projection::new(inner, width, true, device), layer_norm: norm(config, device) };
        let is_instructed = config.instruction.is_some();
        Self {
            attention: QFormerAttention::new(config, width, device),
            crossattention: cross.map(|features| QFormerAttention::new(config, features, device)),
            intermediate: is_instructed.then(widens),
            output: is_instructed.then(narrows),
            intermediate_query: widens(),
            output_query: narrows(),
            act: config.hidden_act,
        }
    }

    /// The first `queries` of `x` `[batch, seq, width]` read the features; what is behind them does not.
    fn forward(&self, x: Tensor<3>, queries: usize, features: &Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        let x = self.attention.forward(x.clone(), x, mask);
        let seq = x.dims()[1];
        let read = self.read(x.clone().slice_dim(1, 0..queries), features);
        match (&self.intermediate, &self.output) {
            (Some(intermediate), Some(output)) if seq > queries => {
                let text = self.mlp(intermediate, output, x.slice_dim(1, queries..seq));
                Tensor::cat(vec![read, text], 1)
            }
            _ => read,
        }
    }

    /// The queries' part.
    fn read(&self, queries: Tensor<3>, features: &Tensor<3>) -> Tensor<3> {
        let queries = match &self.crossattention {
            Some(cross) => cross.forward(queries, features.clone(), None),
            None => queries,
        };
        self.mlp(&self.intermediate_query, &self.output_query, queries)
    }

    fn mlp(&self, intermediate: &Dense, output: &DenseNorm, x: Tensor<3>) -> Tensor<3> {
        output.forward(self.act.apply(intermediate.dense.forward(x.clone())), x)
    }
}

impl QFormerAttention {
    fn new(config: &QFormerConfig, source: usize, device: &Device) -> Self {
        let width = config.hidden_size;
        Self {
            attention: QueryKeyValue {
                query: Projection::new(width, width, true, device),
                key: Projection::new(source, width, true, device),
                value: Projection::new(source, width, true, device),
            },
            output: DenseNorm { dense: Projection::new(width, width, true, device), layer_norm: norm(config, device) },
            heads: config.num_attention_heads,
        }
    }

    fn forward(&self, x: Tensor<3>, source: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
        let heads = |projection: &Projection, x: Tensor<3>| split_heads(projection.forward(x), self.heads);
        let query = heads(&self.attention.query, x.clone());
        let key = heads(&self.attention.key, source.clone());
        let value = heads(&self.attention.value, source);
        self.output.forward(merge_heads(attention(query, key, value, mask)), x)
    }
}

impl DenseNorm {
    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.layer_norm.forward(self.dense.forward(x) + residual)
    }
}

pub(super) fn norm(config: &QFormerConfig, device: &Device) -> LayerNorm {
    LayerNorm::new(config.hidden_size, config.layer_norm_eps, device)
}
