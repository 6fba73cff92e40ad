//! Scaled dot-product attention, the one place where scores are formed.
//!
//! Dims: `batch`, `heads`, `kv_heads`, `queries`, `keys`, `head_dim`. With grouped-query attention
//! (`heads = kv_heads * group`) the queries of a group are laid along the query axis, so keys and
//! values are never repeated in memory.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, TensorData};

/// Masked scores get this instead of minus infinity: a fully masked row stays finite.
const MASKED: f32 = -1e9;

/// Which keys a query may see, as an additive bias.
#[derive(Debug, Clone)]
pub struct Mask {
    /// `[batch or 1, 1, queries, keys]`
    bias: Tensor<4>,
}

impl Mask {
    /// Query `i` of `queries` stands at position `keys - queries + i` and sees the keys up to itself.
    pub fn causal(queries: usize, keys: usize, device: &Device) -> Self {
        let offset = keys - queries;
        let bias = (0..queries)
            .flat_map(|row| (0..keys).map(move |col| if col <= row + offset { 0.0 } else { MASKED }))
            .collect::<Vec<f32>>();
        Self { bias: Tensor::from_data(TensorData::new(bias, [1, 1, queries, keys]), device) }
    }

    /// Causal, and keys where `attention_mask` is 0 are hidden (left padding, as `transformers` batches prompts).
    ///
    /// `attention_mask` is row-major `[batch, keys]`.
    pub fn causal_with_padding(attention_mask: &[i64], batch: usize, keys: usize, device: &Device) -> Self {
        let mut bias = Vec::with_capacity(batch * keys * keys);
        for row in attention_mask.chunks_exact(keys) {
            for query in 0..keys {
                bias.extend((0..keys).map(|key| if key <= query && row[key] != 0 { 0.0 } else { MASKED }));
            }
        }
        Self { bias: Tensor::from_data(TensorData::new(bias, [batch, 1, keys, keys]), device) }
    }

    /// The bias for `group` query heads laid along the query axis: `[batch or 1, 1, group * queries, keys]`.
    fn grouped(&self, group: usize) -> Tensor<4> {
        if group == 1 {
            return self.bias.clone();
        }
        self.bias.clone().repeat_dim(2, group)
    }
}

/// `softmax(query · keyᵀ / sqrt(head_dim) + mask) · value`, the softmax in f32.
///
/// # Shapes
///
/// - `query`: `[batch, heads, queries, head_dim]`
/// - `key`, `value`: `[batch, kv_heads, keys, head_dim]`, `heads` a multiple of `kv_heads`
/// - returns: `[batch, heads, queries, head_dim]`
pub fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>) -> Tensor<4> {
    let [batch, heads, queries, head_dim] = query.dims();
    let kv_heads = key.dims()[1];
    let group = heads / kv_heads;
    let scale = (head_dim as f64).powf(-0.5);

    let query = (query * scale).reshape([batch, kv_heads, group * queries, head_dim]);
    let mut scores = query.matmul(key.swap_dims(2, 3));
    if let Some(mask) = mask {
        scores = scores + mask.grouped(group).cast(value.dtype());
    }
    let dtype = scores.dtype();
    let weights = softmax(scores.cast(DType::F32), 3).cast(dtype);
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
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    fn ramp(shape: [usize; 4]) -> Tensor<4> {
        let n: usize = shape.iter().product();
        let values = (0..n).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    #[test]
    fn grouped_queries_equal_repeated_keys_and_values() {
        let (q, k, v) = (ramp([2, 4, 3, 8]), ramp([2, 2, 3, 8]), ramp([2, 2, 3, 8]));
        let mask = Mask::causal(3, 3, &Device::flex());
        let grouped = attention(q.clone(), k.clone(), v.clone(), Some(&mask));

        let repeat = |x: Tensor<4>| x.reshape([2, 2, 1, 24]).repeat_dim(2, 2).reshape([2, 4, 3, 8]);
        let repeated = attention(q, repeat(k), repeat(v), Some(&mask));
        grouped.into_data().assert_approx_eq::<f32>(&repeated.into_data(), Tolerance::absolute(1e-6));
    }

    #[test]
    fn a_causal_query_does_not_see_later_keys() {
        let (q, k, v) = (ramp([1, 1, 4, 8]), ramp([1, 1, 4, 8]), ramp([1, 1, 4, 8]));
        let full = attention(q.clone(), k.clone(), v.clone(), Some(&Mask::causal(4, 4, &Device::flex())));
        let short = attention(
            q.slice_dim(2, 0..2),
            k.slice_dim(2, 0..2),
            v.slice_dim(2, 0..2),
            Some(&Mask::causal(2, 2, &Device::flex())),
        );
        full.slice_dim(2, 0..2).into_data().assert_approx_eq::<f32>(&short.into_data(), Tolerance::absolute(1e-6));
    }
}
