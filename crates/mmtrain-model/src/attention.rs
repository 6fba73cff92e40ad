//! Scaled dot-product attention.
//!
//! On a CPU it is a kernel ([`mmtrain_kernels::attention`]), which is told what each query sees; on a GPU it is Burn's, where that
//! takes it (`flash`). What neither takes (a tape on a GPU, a single query) is done here, in plain operations.
//!
//! Dims: `batch`, `heads`, `kv_heads`, `queries`, `keys`, `head_dim`. With grouped-query attention
//! (`heads = kv_heads * group`) the queries of a group are laid along the query axis, so keys and
//! values are never repeated in memory. Many queries are taken a chunk at a time, against the keys
//! that a chunk may see, so that the scores in memory do not grow with the square of the length. Nor do
//! they on a tape: where there are several chunks it keeps inputs and output, and the backward pass
//! forms the scores of one chunk after the other again.

mod chunk;
mod flash;
mod gradients;
mod mask;
mod recorded;
mod runs;

use burn::prelude::*;
use mmtrain_kernels::{attention_weights, takes_attention};

pub use mask::Mask;
pub use runs::KeyRuns;

use chunk::chunks;
use recorded::recorded;

/// Scores per head that a CPU forms at once, and that a tape keeps at most: 512 queries against as many keys.
const SCORES: usize = 512 * 512;

/// Scores of all heads that a GPU forms at once, a gibibyte in f32: what is cut further keeps it waiting for the host.
const SCORES_OF_GPU: usize = 1 << 28;

/// Queries in a chunk at least, however many keys there are: smaller products waste the device.
const MIN_ROWS: usize = 64;

/// Queries in a chunk at most where later keys are hidden and no tape records: the fewer, the fewer scores are formed in vain.
const CAUSAL_ROWS: usize = 128;

/// `softmax(query · keyᵀ / sqrt(head_dim) + mask) · value`, the softmax in f32.
///
/// # Shapes
///
/// - `query`: `[batch, heads, queries, head_dim]`
/// - `key`, `value`: `[batch, kv_heads, keys, head_dim]`, `heads` a multiple of `kv_heads`
/// - returns: `[batch, heads, queries, head_dim]`
pub fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>) -> Tensor<4> {
    if takes_attention(&query, &key, &value) {
        let scale = scale(query.dims()[3]);
        return mmtrain_kernels::attention(query, key, value, mask.map(Mask::seen), scale);
    }
    let ([batch, heads, queries, _], keys) = (query.dims(), key.dims()[2]);
    let is_cpu = is_cpu(&query);
    let rows = if is_cpu { rows_per_chunk(queries, keys) } else { rows_on_gpu(batch * heads, queries, keys) };
    if ![&query, &key, &value].into_iter().any(Tensor::is_autodiff) {
        let rows = if is_cpu && mask.is_some_and(Mask::is_causal) { rows.min(CAUSAL_ROWS) } else { rows };
        untaped(query, key, value, mask, rows)
    } else if tape_keeps_scores(queries, keys) {
        in_chunks(query, key, value, mask, rows)
    } else {
        recorded(query, key, value, mask, rows)
    }
}

/// Where Burn's attention is no kernel of its own, and 16 bits are computed in 32 anyway.
fn is_cpu(tensor: &Tensor<4>) -> bool {
    let device = tensor.device();
    device == Device::flex() || device == Device::flex().autodiff()
}

/// Scores that exist at the same time on a tape of a GPU, of `heads` heads of all rows together.
pub fn scores_at_once(heads: usize, queries: usize, keys: usize) -> usize {
    rows_on_gpu(heads, queries, keys).saturating_mul(keys).saturating_mul(heads)
}

/// Whether a tape keeps scores until the backward pass: those of short sequences, which are faster kept than formed again.
pub fn tape_keeps_scores(queries: usize, keys: usize) -> bool {
    queries <= rows_per_chunk(queries, keys)
}

/// Queries per chunk on a CPU.
fn rows_per_chunk(queries: usize, keys: usize) -> usize {
    in_equal_parts(queries, SCORES / keys.max(1))
}

/// Queries per chunk on a GPU, of `heads` heads of all rows together.
fn rows_on_gpu(heads: usize, queries: usize, keys: usize) -> usize {
    in_equal_parts(queries, SCORES_OF_GPU / heads.saturating_mul(keys).max(1))
}

/// Queries per chunk, at most so many unless that is too few, all chunks about the same.
fn in_equal_parts(queries: usize, most: usize) -> usize {
    queries.div_ceil(queries.div_ceil(most.max(MIN_ROWS)).max(1)).max(1)
}

/// As [`attention`] where no tape records: the device's own kernel where it has one, else `rows` queries at a time.
fn untaped(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>, rows: usize) -> Tensor<4> {
    if !is_cpu(&query) && flash::takes(&query, &key, &value, mask) {
        return flash::flash(query, key, value, mask);
    }
    in_chunks(query, key, value, mask, rows)
}

/// As [`attention`], `rows` queries at a time. A tape would keep the weights of every chunk.
fn in_chunks(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>, rows: usize) -> Tensor<4> {
    let (queries, keys) = (query.dims()[2], key.dims()[2]);
    if queries <= rows {
        let bias = mask.map(Mask::whole);
        return attend(query, key, value, bias);
    }
    let outputs = chunks(queries, keys, mask, rows)
        .map(|chunk| attend(chunk.of_queries(&query), chunk.of_keys(&key), chunk.of_keys(&value), chunk.bias(mask)));
    Tensor::cat(outputs.collect(), 2)
}

/// One chunk. `bias` is `[batch or 1, 1, queries, keys]`, added to the scores of every head.
fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let shape = query.dims();
    let weights = weights(by_group(query, &key), key, bias).cast(value.dtype());
    weights.matmul(value).reshape(shape)
}

/// The weights in f32. `[batch, kv_heads, group * queries, keys]`
///
/// `query` lies by groups, `bias` is `[batch or 1, 1, queries, keys]`.
fn weights(query: Tensor<4>, key: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let [.., head_dim] = query.dims();
    attention_weights(query.matmul(key.swap_dims(2, 3)), bias, scale(head_dim))
}

/// What every score is multiplied with.
fn scale(head_dim: usize) -> f64 {
    (head_dim as f64).powf(-0.5)
}

/// `[batch, heads, queries, _]` to `[batch, kv_heads, group * queries, _]`, with the heads of `key`.
fn by_group(x: Tensor<4>, key: &Tensor<4>) -> Tensor<4> {
    let [batch, heads, queries, width] = x.dims();
    let kv_heads = key.dims()[1];
    x.reshape([batch, kv_heads, heads / kv_heads * queries, width])
}

/// `[batch, seq, heads * head_dim]` to `[batch, heads, seq, head_dim]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, seq, width] = x.dims();
    x.reshape([batch, seq, heads, width / heads]).swap_dims(1, 2)
}

/// `[batch, heads, seq, head_dim]` to `[batch, seq, heads * head_dim]`.
pub fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, seq, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, seq, heads * head_dim])
}

#[cfg(test)]
mod tests;
