//! Attention weights: scale, bias and softmax in one pass over the scores.
//!
//! With the weights `P = softmax(s S + B)`: `dS = s P ∘ (dP - rowsum(dP ∘ P))`.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::activation::softmax;

use crate::host::{Values, is_host};
use crate::lanes::{exp, max, sum, sum2};
use crate::rows::{Work, each_task, rows_per_task};
use crate::tape::{Operation, Pullback, apply1};

/// `softmax(scale scores + bias)` over the keys, in f32.
///
/// # Shapes
///
/// - `scores`: `[batch, kv_heads, group * queries, keys]`; returns the same
/// - `bias`: `[batch or 1, 1, queries, keys]`, the same for every head
pub fn attention_weights(scores: Tensor<4>, bias: Option<Tensor<4>>, scale: f64) -> Tensor<4> {
    if !is_host(&scores) {
        return plain(scores, bias, scale);
    }
    let bias = bias.map(|bias| Bias { rows: bias.dims()[0], queries: bias.dims()[2], values: Values::of(bias) });
    apply1(Weights { bias, scale: scale as f32 }, scores)
}

/// From the weights and their gradient that of the scores.
///
/// # Shapes
///
/// - both: `[batch, kv_heads, group * queries, keys]`, the weights in f32; returns the same, in f32
pub fn scores_gradient(weights: Tensor<4>, of_weights: Tensor<4>, scale: f64) -> Tensor<4> {
    let of_weights = of_weights.cast(DType::F32);
    if !is_host(&weights) {
        let means = (weights.clone() * of_weights.clone()).sum_dim(3);
        return weights * (of_weights - means) * scale;
    }
    Saved { weights: Values::of(weights), scale: scale as f32 }.of_scores(of_weights)
}

/// The same in plain operations.
fn plain(scores: Tensor<4>, bias: Option<Tensor<4>>, scale: f64) -> Tensor<4> {
    let scores = scores.cast(DType::F32) * scale;
    let Some(bias) = bias else { return softmax(scores, 3) };
    let group = scores.dims()[2] / bias.dims()[2];
    softmax(scores + if group == 1 { bias } else { bias.repeat_dim(2, group) }, 3)
}

#[derive(Debug)]
struct Weights {
    bias: Option<Bias>,
    scale: f32,
}

#[derive(Debug)]
struct Bias {
    values: Values,
    /// Rows of the batch that have one of their own.
    rows: usize,
    queries: usize,
}

impl Operation<1> for Weights {
    fn forward(
        &self,
        [scores]: [Tensor<4>; 1],
        wanted: Option<[bool; 1]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<1>>>) {
        let shape = scores.dims();
        let [_, heads, queries, keys] = shape;
        let per_task = rows_per_task(keys);
        let bias = self.bias.as_ref().map(|bias| (bias, bias.values.get()));
        let work = Softmax { bias, scale: self.scale, in_batch: heads * queries, keys };
        let mut values = Values::of(scores);
        each_task([values.get_mut()], [per_task * keys], per_task, &work);
        let saved = || Arc::new(Saved { weights: values.clone(), scale: self.scale }) as Arc<dyn Pullback<1>>;
        let saved = wanted.map(|_| saved());
        (values.shaped(shape), saved)
    }
}

struct Softmax<'a> {
    bias: Option<(&'a Bias, &'a [f32])>,
    scale: f32,
    /// Rows of scores of a row of the batch.
    in_batch: usize,
    keys: usize,
}

impl Softmax<'_> {
    /// What is added to a row of scores.
    fn bias(&self, row: usize) -> Option<&[f32]> {
        let (bias, values) = self.bias?;
        let of_batch = if bias.rows == 1 { 0 } else { row / self.in_batch * bias.queries };
        Some(&values[(of_batch + row % bias.queries) * self.keys..][..self.keys])
    }
}

impl Work<1> for Softmax<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [scores]: [&mut [f32]; 1]) {
        for (number, row) in scores.chunks_exact_mut(self.keys).enumerate() {
            match self.bias(first + number) {
                Some(bias) => row.iter_mut().zip(bias).for_each(|(x, bias)| *x = *x * self.scale + bias),
                None => row.iter_mut().for_each(|x| *x *= self.scale),
            }
            let most = max(row);
            for x in row.iter_mut() {
                *x = exp(*x - most);
            }
            let share = sum(row, |x| x).recip();
            for x in row {
                *x *= share;
            }
        }
    }
}

#[derive(Debug)]
struct Saved {
    weights: Values,
    scale: f32,
}

impl Saved {
    fn of_scores(&self, of_weights: Tensor<4>) -> Tensor<4> {
        let shape = of_weights.dims();
        let (keys, per_task) = (shape[3], rows_per_task(shape[3]));
        let work = Backward { weights: self.weights.get(), scale: self.scale, keys };
        let mut values = Values::of(of_weights);
        each_task([values.get_mut()], [per_task * keys], per_task, &work);
        values.shaped(shape)
    }
}

impl Pullback<1> for Saved {
    fn gradients(&self, of_output: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        [Some(self.of_scores(of_output))]
    }
}

struct Backward<'a> {
    weights: &'a [f32],
    scale: f32,
    keys: usize,
}

impl Work<1> for Backward<'_> {
    #[inline(always)]
    fn run(&self, first: usize, [gradient]: [&mut [f32]; 1]) {
        let weights = self.weights[first * self.keys..].chunks_exact(self.keys);
        for (gradient, weights) in gradient.chunks_exact_mut(self.keys).zip(weights) {
            let mean = sum2(gradient, weights, |gradient, weight| gradient * weight);
            for (gradient, weight) in gradient.iter_mut().zip(weights) {
                *gradient = self.scale * weight * (*gradient - mean);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, made_up, same};

    /// Some keys of each query hidden, of the first query all but one.
    fn bias(rows: usize, queries: usize, keys: usize) -> Tensor<4> {
        let hidden = made_up([rows, 1, queries, keys], 5).greater_elem(1.0);
        made_up([rows, 1, queries, keys], 4).mask_fill(hidden, -1e9)
    }

    #[test]
    fn output_and_gradients_are_those_of_plain_operations() {
        for (batch, heads, group, queries, keys) in [(1, 1, 1, 1, 3), (2, 3, 2, 5, 17), (2, 2, 4, 64, 300)] {
            let biases = [None, Some(bias(1, queries, keys)), Some(bias(batch, queries, keys))];
            for bias in biases {
                let rows = group * queries;
                let case = Case::new(&[&[batch * heads * rows, keys]]);
                let split = |x: &Tensor<2>| x.clone().reshape([batch, heads, rows, keys]);
                let flat = |x: Tensor<4>| x.reshape([batch * heads * rows, keys]);
                let scale = 0.37;
                same(
                    &case,
                    |x| flat(attention_weights(split(&x[0]), bias.clone(), scale)),
                    |x| flat(plain(split(&x[0]), bias.clone(), scale)),
                );
            }
        }
    }

    #[test]
    fn a_row_that_sees_nothing_stays_finite() {
        let hidden = Tensor::full([1, 1, 1, 3], -1e9, &Device::flex());
        let weights = attention_weights(made_up([1, 1, 1, 3], 0), Some(hidden), 1.0);
        let sum: f32 = weights.sum().into_scalar();
        assert!((sum - 1.0).abs() < 1e-6);
    }
}
