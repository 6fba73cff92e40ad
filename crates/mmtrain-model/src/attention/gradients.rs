//! Gradients of an attention in chunks, from its inputs.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_kernels::scores_gradient;

use super::chunk::{Chunk, chunks};
use super::{Mask, by_group, scale, weights};

/// What is kept of an attention until its backward pass; shapes are those of [`attention`](super::attention).
#[derive(Debug, Clone)]
pub(super) struct Saved {
    pub(super) query: Tensor<4>,
    pub(super) key: Tensor<4>,
    pub(super) value: Tensor<4>,
    pub(super) mask: Option<Mask>,
    /// Queries of a chunk.
    pub(super) rows: usize,
}

impl Saved {
    /// Gradients of query, key and value, of each that is `wanted`.
    ///
    /// With the weights `P`: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS` by [`scores_gradient`], `dQ = dS K`, `dK = dSᵀ Q`. Chunks add
    /// up in their order.
    pub(super) fn of_inputs(&self, of_output: &Tensor<4>, wanted: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let mut sums = Sums {
            query: wanted[0].then(Vec::new),
            key: wanted[1].then(|| Sum::new(&self.key)),
            value: wanted[2].then(|| Sum::new(&self.value)),
        };
        for chunk in chunks(self.query.dims()[2], self.key.dims()[2], self.mask.as_ref(), self.rows) {
            self.add(&chunk, of_output, &mut sums);
        }
        [sums.query.map(|parts| Tensor::cat(parts, 2)), sums.key.map(Sum::finish), sums.value.map(Sum::finish)]
    }

    fn add(&self, chunk: &Chunk, of_output: &Tensor<4>, sums: &mut Sums) {
        let part = self.part(chunk, of_output);
        if let Some(sum) = &mut sums.value {
            sum.add(&chunk.keys, part.of_value());
        }
        if sums.query.is_none() && sums.key.is_none() {
            return;
        }
        let (query, key) = (part.query.clone(), part.key.clone());
        let of_scores = part.of_scores();
        if let Some(sum) = &mut sums.key {
            sum.add(&chunk.keys, of_scores.clone().swap_dims(2, 3).matmul(query));
        }
        if let Some(parts) = &mut sums.query {
            let of_query = of_scores.matmul(key);
            parts.push(of_query.reshape(chunk.of_queries(of_output).dims()));
        }
    }

    fn part(&self, chunk: &Chunk, of_output: &Tensor<4>) -> Part {
        let [key, value] = [&self.key, &self.value].map(|x| chunk.of_keys(x));
        let [query, of_output] = [&self.query, of_output].map(|x| by_group(chunk.of_queries(x), &key));
        let weights = weights(query.clone(), key.clone(), chunk.bias(self.mask.as_ref()));
        Part { query, key, value, of_output, weights }
    }
}

/// One chunk, its queries by group; weights in f32.
struct Part {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    of_output: Tensor<4>,
    /// `P`
    weights: Tensor<4>,
}

impl Part {
    /// `[batch, kv_heads, keys, head_dim]`
    fn of_value(&self) -> Tensor<4> {
        let weights = self.weights.clone().cast(self.value.dtype());
        weights.swap_dims(2, 3).matmul(self.of_output.clone())
    }

    /// `dS`. `[batch, kv_heads, group * queries, keys]`
    fn of_scores(self) -> Tensor<4> {
        let dtype = self.key.dtype();
        let [.., head_dim] = self.key.dims();
        let of_weights = self.of_output.matmul(self.value.swap_dims(2, 3));
        scores_gradient(self.weights, of_weights, scale(head_dim)).cast(dtype)
    }
}

/// What the chunks have given so far, of what is wanted.
struct Sums {
    query: Option<Vec<Tensor<4>>>,
    key: Option<Sum>,
    value: Option<Sum>,
}

/// Gradients of keys or values, to which each chunk adds; in f32, whatever they are in the end.
struct Sum {
    total: Tensor<4>,
    dtype: DType,
}

impl Sum {
    fn new(of: &Tensor<4>) -> Self {
        Self { total: Tensor::zeros(of.dims(), (&of.device(), DType::F32)), dtype: of.dtype() }
    }

    /// `part` belongs to the keys `at`.
    fn add(&mut self, at: &Range<usize>, part: Tensor<4>) {
        let part = part.cast(DType::F32);
        self.total.inplace(|total| {
            let [batch, kv_heads, _, head_dim] = total.dims();
            let sum = total.clone().slice_dim(2, at.clone()) + part;
            total.slice_assign([0..batch, 0..kv_heads, at.clone(), 0..head_dim], sum)
        });
    }

    fn finish(self) -> Tensor<4> {
        self.total.cast(self.dtype)
    }
}
