//! Scaled dot-product attention, the one place where scores are formed.
//!
//! Dims: `batch`, `heads`, `kv_heads`, `queries`, `keys`, `head_dim`. With grouped-query attention
//! (`heads = kv_heads * group`) the queries of a group are laid along the query axis, so keys and
//! values are never repeated in memory. Many queries are taken a chunk at a time, against the keys
//! that a chunk may see, so that the scores in memory do not grow with the square of the length. On a
//! tape they still do, halved by causality: the backward pass needs the weights of every chunk.

mod mask;
mod runs;

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::activation::softmax;

pub use mask::Mask;
pub use runs::KeyRuns;

/// Scores per head that are formed at once: 512 queries against as many keys.
const SCORES: usize = 512 * 512;

/// Queries in a chunk at least, however many keys there are: smaller products waste the device.
const MIN_ROWS: usize = 64;

/// `softmax(query · keyᵀ / sqrt(head_dim) + mask) · value`, the softmax in f32.
///
/// # Shapes
///
/// - `query`: `[batch, heads, queries, head_dim]`
/// - `key`, `value`: `[batch, kv_heads, keys, head_dim]`, `heads` a multiple of `kv_heads`
/// - returns: `[batch, heads, queries, head_dim]`
pub fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>) -> Tensor<4> {
    let rows = rows_per_chunk(query.dims()[2], key.dims()[2]);
    in_chunks(query, key, value, mask, rows)
}

/// Queries per chunk, all chunks about the same.
fn rows_per_chunk(queries: usize, keys: usize) -> usize {
    let most = (SCORES / keys.max(1)).max(MIN_ROWS);
    queries.div_ceil(queries.div_ceil(most).max(1)).max(1)
}

/// As [`attention`], `rows` queries at a time.
fn in_chunks(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>, rows: usize) -> Tensor<4> {
    let (queries, keys) = (query.dims()[2], key.dims()[2]);
    if queries <= rows {
        let bias = mask.map(Mask::whole);
        return attend(query, key, value, bias);
    }
    let chunk = |start: usize| {
        let rows = start..(start + rows).min(queries);
        let seen = mask.map_or(0..keys, |mask| mask.seen_by(rows.clone()));
        let bias = mask.map(|mask| mask.bias(rows.clone(), seen.clone()));
        attend(slice(&query, rows), slice(&key, seen.clone()), slice(&value, seen), bias)
    };
    Tensor::cat((0..queries).step_by(rows).map(chunk).collect(), 2)
}

fn slice(x: &Tensor<4>, positions: Range<usize>) -> Tensor<4> {
    x.clone().slice_dim(2, positions)
}

/// One chunk. `bias` is `[batch or 1, 1, queries, keys]`, added to the scores of every head.
fn attend(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let [batch, heads, queries, head_dim] = query.dims();
    let kv_heads = key.dims()[1];
    let group = heads / kv_heads;
    let scale = (head_dim as f64).powf(-0.5);

    let query = (query * scale).reshape([batch, kv_heads, group * queries, head_dim]);
    let scores = query.matmul(key.swap_dims(2, 3));
    let dtype = scores.dtype();
    let mut scores = scores.cast(DType::F32);
    if let Some(bias) = bias {
        scores = scores + if group == 1 { bias } else { bias.repeat_dim(2, group) };
    }
    let weights = softmax(scores, 3).cast(dtype);
    weights.matmul(value).reshape([batch, heads, queries, head_dim])
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
