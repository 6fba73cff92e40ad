//! The language model: one decoder with the switches of Llama, Mistral, Qwen2 and Qwen3.
//!
//! Dims: `batch`, `seq`, `hidden`, `heads`, `kv_heads`, `head_dim`, `vocab`.
//! Follows `modeling_{llama,mistral,qwen2,qwen3}.py`; field names are theirs, so that a parameter's
//! path is its key in a checkpoint.
//!
//! - [`context`]: positions and masks, which all blocks of a forward pass share
//! - [`cache`]: keys and values of earlier positions
//! - [`heads`]: queries, keys and values of the new positions, and what they attend to
//! - [`together`]: new tokens of several sequences, each with a cache of its own
//! - [`positions`]: where tokens stand in time, height and width (M-RoPE)

mod cache;
mod context;
mod heads;
pub mod positions;
mod together;

use std::borrow::Cow;
use std::ops::Range;

use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_kernels::{by_table, linear};

use crate::attention::{merge_heads, split_heads};
use crate::config::{Activation, TextConfig};
use crate::few_rows::{Rows, shaped, takes, takes_all, with_table};
use crate::norm::RmsNorm;
use crate::precision::{computing, computing_but_packed, matmul_by_columns};
use crate::projection::Projection;
use crate::shares::in_shares;

pub use cache::{KvCache, LayerCache};
pub use context::DecoderContext;
pub use together::Cached;

use heads::Heads;

/// Values of a table from which on a few rows are multiplied with it in place.
const MIN_TABLE: usize = 1 << 20;

/// Tokens from which on it pays to take them in shares.
const MIN_SHARE: usize = 64;

/// A causal language model.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Embedding, blocks and final norm.
    pub model: DecoderModel,
    /// Output projection; absent when it reuses the embedding table.
    pub lm_head: Option<Projection>,
}

/// Everything below the output projection.
#[derive(Module, Debug)]
pub struct DecoderModel {
    /// `[vocab, hidden]`
    pub embed_tokens: Embedding,
    /// Blocks in the order in which they run.
    pub layers: Vec<DecoderBlock>,
    /// Before the output projection.
    pub norm: RmsNorm,
}

/// One pre-norm transformer block.
#[derive(Module, Debug)]
pub struct DecoderBlock {
    /// Before attention.
    pub input_layernorm: RmsNorm,
    /// Causal self-attention.
    pub self_attn: DecoderAttention,
    /// Before the MLP.
    pub post_attention_layernorm: RmsNorm,
    /// Gated.
    pub mlp: DecoderMlp,
}

/// Grouped-query attention with rotary positions.
#[derive(Module, Debug)]
pub struct DecoderAttention {
    /// Query projection.
    pub q_proj: Projection,
    /// Key projection.
    pub k_proj: Projection,
    /// Value projection.
    pub v_proj: Projection,
    /// Output projection.
    pub o_proj: Projection,
    /// Qwen3's norm of each query head, before it is rotated.
    pub q_norm: Option<RmsNorm>,
    /// Qwen3's norm of each key head.
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    /// Whether queries see the nearest keys only.
    #[module(skip)]
    has_window: bool,
}

/// `down(act(gate(x)) * up(x))`
#[derive(Module, Debug)]
pub struct DecoderMlp {
    /// Gate projection.
    pub gate_proj: Projection,
    /// Value projection.
    pub up_proj: Projection,
    /// Output projection.
    pub down_proj: Projection,
    #[module(skip)]
    act: Activation,
}

impl Decoder {
    /// A decoder of zeros; weights are assigned afterwards, by name.
    pub fn new(config: &TextConfig, device: &Device) -> Self {
        let head = || Projection::new(config.hidden_size, config.vocab_size, false, device);
        Self { model: DecoderModel::new(config, device), lm_head: (!config.tie_word_embeddings).then(head) }
    }

    /// Token embeddings. `[tokens]` to `[tokens, hidden]`
    ///
    /// A placeholder's row is overwritten by a feature, so its id may lie behind the table, as where
    /// `<image>` was added to the tokenizer of a text-only checkpoint. The rows are f32, whatever the table is.
    pub fn embed(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        let table = self.model.embed_tokens.weight.val();
        let last = table.dims()[0] as i64 - 1;
        table.select(0, ids.clamp(0, last)).cast(DType::F32)
    }

    /// With the weights of its blocks, norms and biases too, in this type; what is packed stays so, and the tables of tokens are as they were.
    #[must_use]
    pub fn with_blocks_in(self, dtype: DType) -> Self {
        computing_but_packed(&self, dtype).into_owned()
    }

    /// Runs all blocks, without the final norm.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, seq, hidden]`; returns the same
    pub fn blocks(&self, x: Tensor<3>, context: &DecoderContext) -> Tensor<3> {
        self.blocks_between(x, context, None, |_, x| x)
    }

    /// Runs all blocks, without the final norm, and `between` with the number of the block that comes next: before each,
    /// and behind the last. With a cache for new tokens only, which it reads and extends. What was loaded as stored is
    /// widened to the type of `x` block by block; what is packed stays so where `x` has few rows.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, seq, hidden]`; returns the same
    pub fn blocks_between(
        &self,
        mut x: Tensor<3>,
        context: &DecoderContext,
        mut cache: Option<&mut KvCache>,
        between: impl Fn(usize, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        let seq = x.dims()[1];
        for (index, block) in self.model.layers.iter().enumerate() {
            x = between(index, x);
            let block = block.computing(&x);
            x = match cache.as_deref_mut() {
                Some(cache) => block.forward_cached(x, context, cache.layer_mut(index)),
                None => block.forward(x, context),
            };
        }
        if let Some(cache) = cache {
            cache.advance(seq);
        }
        between(self.model.layers.len(), x)
    }

    /// The output projection: its own weights, or the embedding table. `[hidden, vocab]`
    pub fn head_weight(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.base(),
            None => self.model.embed_tokens.weight.val().transpose(),
        }
    }

    /// Columns of the output projection, laid out as all of it. `[hidden, tokens]`
    fn head_columns(&self, tokens: Range<usize>, dtype: DType) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.base().slice_dim(1, tokens).cast(dtype),
            None => self.model.embed_tokens.weight.val().slice_dim(0, tokens).cast(dtype).transpose(),
        }
    }

    /// Final norm and output projection. `[rows, hidden]` to `[rows, vocab]`
    pub fn logits(&self, rows: Tensor<2>) -> Tensor<2> {
        let rows = computing(&self.model.norm, rows.dtype()).forward(rows);
        if let Some(logits) = self.few_logits(&rows) {
            return logits;
        }
        let weight = self.head_weight();
        let dtype = rows.dtype();
        if weight.dtype().size() < dtype.size() {
            let count = weight.dims()[1];
            return matmul_by_columns(&rows, count, |tokens| self.head_columns(tokens, dtype));
        }
        match &self.lm_head {
            Some(_) => linear(rows, weight.cast(dtype), None),
            None => by_table(rows, self.model.embed_tokens.weight.val().cast(dtype)),
        }
    }
}

impl Decoder {
    /// The output projection of a few rows, from weights that are read where they lie.
    fn few_logits(&self, rows: &Tensor<2>) -> Option<Tensor<2>> {
        if let Some(head) = &self.lm_head {
            return head.of_few_rows(rows);
        }
        let table = self.model.embed_tokens.weight.val();
        // A small table is left to the usual way, which caches make as fast.
        let is_large = table.dims()[0] * table.dims()[1] >= MIN_TABLE;
        let values = (is_large && takes(rows)).then(|| with_table(&Rows::of(rows), &table)).flatten()?;
        Some(shaped(values, rows.dims(), table.dims()[0]))
    }
}

impl DecoderModel {
    fn new(config: &TextConfig, device: &Device) -> Self {
        Self {
            embed_tokens: EmbeddingConfig::new(config.num_embeddings(), config.hidden_size)
                .with_initializer(Initializer::Zeros)
                .init(device),
            layers: (0..config.num_hidden_layers).map(|index| DecoderBlock::new(config, index, device)).collect(),
            norm: rms_norm(config.hidden_size, config, device),
        }
    }
}

fn rms_norm(width: usize, config: &TextConfig, device: &Device) -> RmsNorm {
    RmsNorm::new(width, config.rms_norm_eps, device)
}

impl DecoderBlock {
    fn new(config: &TextConfig, index: usize, device: &Device) -> Self {
        Self {
            input_layernorm: rms_norm(config.hidden_size, config, device),
            self_attn: DecoderAttention::new(config, index, device),
            post_attention_layernorm: rms_norm(config.hidden_size, config, device),
            mlp: DecoderMlp::new(config, device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[batch, seq, hidden]`; returns the same
    pub fn forward(&self, x: Tensor<3>, context: &DecoderContext) -> Tensor<3> {
        self.run(x, |heads| heads.attend(context, None))
    }

    /// As [`forward`](Self::forward) for new tokens only; earlier keys and values come from the cache.
    pub fn forward_cached(&self, x: Tensor<3>, context: &DecoderContext, cache: &mut LayerCache) -> Tensor<3> {
        self.run(x, |heads| heads.attend(context, Some(cache)))
    }

    /// The block as it computes with `x`: widened to its type, and what is packed made dense where codes cannot be multiplied.
    fn computing(&self, x: &Tensor<3>) -> Cow<'_, Self> {
        if takes_all(x) { computing_but_packed(self, x.dtype()) } else { computing(self, x.dtype()) }
    }

    /// `attend` makes the output of each head. `[batch, heads, seq, head_dim]`
    fn run(&self, x: Tensor<3>, attend: impl FnOnce(Heads) -> Tensor<4>) -> Tensor<3> {
        let x = x.clone() + self.self_attn.forward(self.input_layernorm.forward(x), attend);
        let [batch, seq, _] = x.dims();
        let (axis, least) = if batch > 1 { (0, MIN_SHARE.div_ceil(seq.max(1))) } else { (1, MIN_SHARE) };
        in_shares(x, axis, least, |x| x.clone() + self.mlp.forward(self.post_attention_layernorm.forward(x)))
    }
}

impl DecoderAttention {
    fn new(config: &TextConfig, index: usize, device: &Device) -> Self {
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let (query, kv) = (config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim);
        let head_norm = || config.family.has_qk_norm().then(|| rms_norm(head_dim, config, device));
        Self {
            q_proj: Projection::new(hidden, query, config.has_qkv_bias(), device),
            k_proj: Projection::new(hidden, kv, config.has_qkv_bias(), device),
            v_proj: Projection::new(hidden, kv, config.has_qkv_bias(), device),
            o_proj: Projection::new(query, hidden, config.attention_bias, device),
            q_norm: head_norm(),
            k_norm: head_norm(),
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            has_window: config.has_window(index),
        }
    }

    fn forward(&self, x: Tensor<3>, attend: impl FnOnce(Heads) -> Tensor<4>) -> Tensor<3> {
        let query = head_norm(self.q_norm.as_ref(), split_heads(self.q_proj.forward(x.clone()), self.heads));
        let key = head_norm(self.k_norm.as_ref(), split_heads(self.k_proj.forward(x.clone()), self.kv_heads));
        let value = split_heads(self.v_proj.forward(x), self.kv_heads);
        let output = attend(Heads { query, key, value, has_window: self.has_window });
        self.o_proj.forward(merge_heads(output))
    }
}

fn head_norm(norm: Option<&RmsNorm>, heads: Tensor<4>) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(heads),
        None => heads,
    }
}

impl DecoderMlp {
    fn new(config: &TextConfig, device: &Device) -> Self {
        Self::of([config.hidden_size, config.intermediate_size], config.mlp_bias, config.hidden_act, device)
    }

    /// Of these widths, outside and inside. Qwen2.5-VL's tower has it too.
    pub(crate) fn of([hidden, inner]: [usize; 2], bias: bool, act: Activation, device: &Device) -> Self {
        Self {
            gate_proj: Projection::new(hidden, inner, bias, device),
            up_proj: Projection::new(hidden, inner, bias, device),
            down_proj: Projection::new(inner, hidden, bias, device),
            act,
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        self.down_proj.forward_gated(self.act.kernel(), [gate, self.up_proj.forward(x)])
    }
}

#[cfg(test)]
mod tests;
