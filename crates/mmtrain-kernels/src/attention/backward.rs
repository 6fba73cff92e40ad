//! Gradients of an attention, from its inputs and the logarithms of its sums.
//!
//! With the weights `P` of a query's visible keys: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P (dP - Σ P dP)`, `dQ = dS K`, `dK = dSᵀ Q`. Heads
//! that share keys and values add up in their order, and so do parts of the queries.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::ops::Range;

use burn::prelude::*;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::heads::{Heads, matrix};
use super::{Attention, Place, ROWS};
use crate::host::Values;
use crate::lanes::{exp, sum2};
use crate::tape::Pullback;

/// What is kept until the backward pass.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) attention: Attention,
    /// Query, key and value.
    pub(super) inputs: [Heads; 3],
    /// Logarithms of sums of exponentials. `[batch][queries][heads]`
    pub(super) sums: Vec<f32>,
}

impl Pullback<3> for Saved {
    fn gradients(&self, of_output: Tensor<4>, wanted: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        let of_output = Heads::of(of_output);
        let [batch, _, kv_heads, _] = self.inputs[1].shape;
        let mut values = [0, 1, 2].map(|input| {
            let len = if wanted[input] { self.inputs[input].shape.iter().product() } else { 0 };
            vec![0.0; len]
        });
        let [query, key, value] = &mut values;
        let columns = |values, input: usize| of_kv_heads(values, &self.inputs[input], kv_heads);
        let results = columns(query, 0).into_iter().zip(columns(key, 1)).zip(columns(value, 2));
        let run = |(number, ((query, key), value)): (usize, ((Part<'_>, Part<'_>), Part<'_>))| {
            self.of_kv_head(number / kv_heads, number % kv_heads, &of_output, [query, key, value]);
        };
        let results = results.enumerate().collect::<Vec<_>>();
        if batch * kv_heads == 1 {
            results.into_iter().for_each(run);
        } else {
            results.into_par_iter().for_each(run);
        }
        let mut values = values.into_iter();
        [0, 1, 2].map(|input| {
            let values = values.next().expect("three");
            wanted[input].then(|| Values::new(values).shaped(self.inputs[input].shape))
        })
    }
}

/// Columns of a gradient that belong to one head of keys and values; none where it is not wanted.
type Part<'a> = Option<MatMut<'a, f32>>;

/// Cuts a gradient, position by position, into those of each row of the batch and head of keys and values.
fn of_kv_heads<'a>(values: &'a mut [f32], of: &Heads, kv_heads: usize) -> Vec<Part<'a>> {
    let [batch, positions, heads, width] = of.shape;
    if values.is_empty() {
        return (0..batch * kv_heads).map(|_| None).collect();
    }
    let (row, columns) = (heads * width, heads / kv_heads * width);
    let mut parts = Vec::with_capacity(batch * kv_heads);
    for values in values.chunks_exact_mut(positions * row) {
        let mut rest = MatMut::from_row_major_slice_mut(values, positions, row);
        for _ in 0..kv_heads {
            let (part, others) = rest.split_at_col_mut(columns);
            parts.push(Some(part));
            rest = others;
        }
    }
    parts
}

impl Saved {
    /// What the heads that share keys and values give, some queries after the other.
    fn of_kv_head(&self, row: usize, kv_head: usize, of_output: &Heads, mut results: [Part<'_>; 3]) {
        let [query, key, _] = &self.inputs;
        let group = query.shape[2] / key.shape[2];
        let mut space = [Vec::new(), Vec::new()];
        for in_group in 0..group {
            for first in (0..query.shape[1]).step_by(ROWS) {
                let at = Place { row, queries: first..(first + ROWS).min(query.shape[1]) };
                self.add(&at, [kv_head, in_group, group], of_output, &mut results, &mut space);
            }
        }
    }

    fn add(
        &self,
        at: &Place,
        [kv_head, in_group, group]: [usize; 3],
        of_output: &Heads,
        [of_query, of_key, of_value]: &mut [Part<'_>; 3],
        space: &mut [Vec<f32>; 2],
    ) {
        let [query, key, value] = &self.inputs;
        let (head, count) = (kv_head * group + in_group, at.queries.len());
        let keys = self.attention.keys_of(at, key.shape[1]);
        let [scores, of_weights] = space.each_mut().map(|space| {
            space.resize(count * keys.len(), 0.0);
            &mut space[..]
        });
        let [query, of_output] = [query, of_output].map(|x| x.rows(at.row, head, &at.queries));
        let [key, value] = [key, value].map(|x| x.rows(at.row, kv_head, &keys));
        let shape = [count, keys.len()];
        let product = |result: &mut [f32], a: MatRef<'_, f32>, b: MatRef<'_, f32>, factor| {
            let result = MatMut::from_row_major_slice_mut(result, shape[0], shape[1]);
            matmul(result, Accum::Replace, a, b.transpose(), factor, Par::Seq);
        };
        product(scores, query, key, self.attention.scale);
        Arch::new().dispatch(Weights { saved: self, at, keys: &keys, scores, head });
        if let Some(of_value) = of_value {
            let of_value = of_value.as_mut().subrows_mut(keys.start, keys.len());
            matmul(of_value, Accum::Add, matrix(scores, shape).transpose(), of_output, 1.0, Par::Seq);
        }
        if of_query.is_none() && of_key.is_none() {
            return;
        }
        product(of_weights, of_output, value, 1.0);
        let attention = &self.attention;
        Arch::new().dispatch(OfScores { attention, at, keys: &keys, weights: scores, of_weights });
        if let Some(of_query) = of_query {
            let width = query.ncols();
            let of_query = of_query.as_mut().subrows_mut(at.queries.start, count);
            let of_query = of_query.subcols_mut(in_group * width, width);
            matmul(of_query, Accum::Replace, matrix(of_weights, shape), key, 1.0, Par::Seq);
        }
        if let Some(of_key) = of_key {
            let of_key = of_key.as_mut().subrows_mut(keys.start, keys.len());
            matmul(of_key, Accum::Add, matrix(of_weights, shape).transpose(), query, 1.0, Par::Seq);
        }
    }
}

/// From scores to the weights that they became.
struct Weights<'a> {
    saved: &'a Saved,
    at: &'a Place,
    keys: &'a Range<usize>,
    scores: &'a mut [f32],
    head: usize,
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { saved, at, keys, scores, head } = self;
        let [_, queries, heads, _] = saved.inputs[0].shape;
        for (number, row) in scores.chunks_exact_mut(keys.len()).enumerate() {
            let sum = saved.sums[(at.row * queries + at.queries.start + number) * heads + head];
            let runs = saved.attention.seen_by(at, number);
            let mut behind = 0;
            for run in 0..runs.len() {
                let run = runs.at(run, keys);
                row[behind..run.start].fill(0.0);
                behind = run.end;
                for x in &mut row[run] {
                    *x = exp(*x - sum);
                }
            }
            row[behind..].fill(0.0);
        }
    }
}

/// From gradients of weights to those of scores, which the products with keys and queries are scaled with.
struct OfScores<'a> {
    attention: &'a Attention,
    at: &'a Place,
    keys: &'a Range<usize>,
    weights: &'a [f32],
    of_weights: &'a mut [f32],
}

impl WithSimd for OfScores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { attention, at, keys, weights, of_weights } = self;
        let rows = of_weights.chunks_exact_mut(keys.len()).zip(weights.chunks_exact(keys.len()));
        for (number, (gradient, weights)) in rows.enumerate() {
            let runs = attention.seen_by(at, number);
            let (mut mean, mut behind) = (0.0, 0);
            for run in 0..runs.len() {
                let run = runs.at(run, keys);
                mean += sum2(&gradient[run.clone()], &weights[run], |gradient, weight| gradient * weight);
            }
            for run in 0..runs.len() {
                let run = runs.at(run, keys);
                gradient[behind..run.start].fill(0.0);
                behind = run.end;
                for (gradient, weight) in gradient[run.clone()].iter_mut().zip(&weights[run]) {
                    *gradient = attention.scale * weight * (*gradient - mean);
                }
            }
            gradient[behind..].fill(0.0);
        }
    }
}
