//! Attention whose scores are never in memory: formed for some queries of a head at a time, used, and formed again in the
//! backward pass.
//!
//! After FlashAttention-2 (<https://arxiv.org/abs/2307.08691>), but that some queries have all their keys at once: a
//! core's cache holds the scores of [`ROWS`] queries, so that no maximum has to be corrected. Queries, keys and values are
//! read and results written where they lie, position by position, as projections give and take them.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

mod backward;
mod heads;
mod seen;

use std::ops::Range;
use std::sync::Arc;

use burn::prelude::*;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, Par};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::host::{Values, is_host};
use crate::lanes::{exp, max, sum};
use crate::tape::{Operation, Pullback, apply3};

use backward::Saved;
use heads::{Heads, matrix, strided_mut};
use seen::Runs;
pub use seen::Seen;

/// Queries of a head whose scores exist at the same time.
const ROWS: usize = 64;

/// Whether [`attention`] takes these: f32 in host memory, and more than one query, which is a product with one row.
pub fn takes_attention(query: &Tensor<4>, key: &Tensor<4>, value: &Tensor<4>) -> bool {
    query.dims()[2] > 1 && [query, key, value].into_iter().all(is_host)
}

/// `softmax(scale query · keyᵀ) · value` over the keys that a query sees, over all without `seen`. A query that sees none has
/// zeros.
///
/// # Shapes
///
/// - `query`: `[batch, heads, queries, head_dim]`, `key`: `[batch, kv_heads, keys, head_dim]`, `value`: `[batch, kv_heads, keys,
///   width]`, `heads` a multiple of `kv_heads`
/// - returns `[batch, heads, queries, width]`, laid out position by position: a view of `[batch, queries, heads, width]`
///
/// # Panics
///
/// Where [`takes_attention`] does not hold, or shapes are others.
pub fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, seen: Option<Arc<Seen>>, scale: f64) -> Tensor<4> {
    if let Some(seen) = &seen {
        let ([batch, _, queries, _], keys) = (query.dims(), key.dims()[2]);
        assert!(
            [1, batch].contains(&seen.rows) && seen.queries == queries && seen.keys == keys,
            "a mask of other sizes"
        );
    }
    // Positions before heads: as the output is made, and what of it comes back.
    let [query, key, value] = [query, key, value].map(|x| x.swap_dims(1, 2));
    apply3(Attention { seen, scale: scale as f32 }, [query, key, value]).swap_dims(1, 2)
}

#[derive(Debug, Clone)]
struct Attention {
    seen: Option<Arc<Seen>>,
    scale: f32,
}

impl Operation<3> for Attention {
    fn forward(&self, inputs: [Tensor<4>; 3], wanted: Option<[bool; 3]>) -> (Tensor<4>, Option<Arc<dyn Pullback<3>>>) {
        let [query, key, value] = inputs.map(Heads::of);
        let (output, sums) = self.outputs([&query, &key, &value]);
        let saved = || Saved { attention: self.clone(), inputs: [query, key, value], sums };
        (output, wanted.map(|_| Arc::new(saved()) as Arc<dyn Pullback<3>>))
    }
}

impl Attention {
    /// `[batch, queries, heads, width]`, and the logarithm of each query's sum of exponentials, `[batch][queries][heads]`.
    fn outputs(&self, [query, key, value]: [&Heads; 3]) -> (Tensor<4>, Vec<f32>) {
        let [batch, queries, heads, _] = query.shape;
        let width = value.shape[3];
        let mut output = vec![0.0; batch * queries * heads * width];
        let mut sums = vec![0.0; batch * queries * heads];
        let parts = output
            .chunks_mut((queries * heads * width).max(1))
            .zip(sums.chunks_mut(queries * heads))
            .enumerate()
            .flat_map(|(row, (output, sums))| {
                let parts = output.chunks_mut((ROWS * heads * width).max(1)).zip(sums.chunks_mut(ROWS * heads));
                parts.enumerate().map(move |(part, results)| (row, part * ROWS, results))
            })
            .collect::<Vec<_>>();
        let run = |(row, first, (output, sums)): (usize, usize, (&mut [f32], &mut [f32]))| {
            let at = Place { row, queries: first..first + sums.len() / heads };
            self.some_outputs(&at, [query, key, value], output, sums);
        };
        if parts.len() == 1 {
            parts.into_iter().for_each(run);
        } else {
            parts.into_par_iter().for_each(run);
        }
        (Values::new(output).shaped([batch, queries, heads, width]), sums)
    }

    /// Of some queries those of every head.
    fn some_outputs(&self, at: &Place, [query, key, value]: [&Heads; 3], output: &mut [f32], sums: &mut [f32]) {
        let (heads, width, count) = (query.shape[2], value.shape[3], at.queries.len());
        let group = heads / key.shape[2];
        let keys = self.keys_of(at, key.shape[1]);
        let mut scores = vec![0.0; count * keys.len()];
        for head in 0..heads {
            let [key, value] = [key, value].map(|x| x.rows(at.row, head / group, &keys));
            let all = MatMut::from_row_major_slice_mut(&mut scores, count, keys.len());
            matmul(all, Accum::Replace, query.rows(at.row, head, &at.queries), key.transpose(), self.scale, Par::Seq);
            let weights = Exponentials { attention: self, at, keys: &keys, scores: &mut scores, sums, heads, head };
            let shares = Arch::new().dispatch(weights);
            let weights = matrix(&scores, [count, keys.len()]);
            let part = strided_mut(&mut output[head * width..], [count, width], heads * width);
            matmul(part, Accum::Replace, weights, value, 1.0, Par::Seq);
            for (row, share) in output.chunks_exact_mut(heads * width).zip(shares) {
                row[head * width..][..width].iter_mut().for_each(|x| *x *= share);
            }
        }
    }

    /// The keys that some queries see.
    fn keys_of(&self, at: &Place, keys: usize) -> Range<usize> {
        self.seen.as_ref().map_or(0..keys, |seen| seen.by(at.row, at.queries.clone()))
    }

    /// Which keys a query of `at` sees.
    fn seen_by(&self, at: &Place, number: usize) -> Runs<'_> {
        match &self.seen {
            None => Runs::All,
            Some(seen) => Runs::Some(seen.of(at.row, at.queries.start + number)),
        }
    }
}

/// Some queries of a row of the batch.
struct Place {
    row: usize,
    queries: Range<usize>,
}

/// From scores to exponentials, 0 of keys that are not seen.
struct Exponentials<'a> {
    attention: &'a Attention,
    at: &'a Place,
    keys: &'a Range<usize>,
    scores: &'a mut [f32],
    /// Where logarithms of the sums go. `[queries][heads]`
    sums: &'a mut [f32],
    heads: usize,
    head: usize,
}

impl WithSimd for Exponentials<'_> {
    /// What each query's exponentials have to be multiplied with.
    type Output = Vec<f32>;

    // Loops, not closures: these would be compiled without the machine's instructions.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let Self { attention, at, keys, scores, sums, heads, head } = self;
        let mut shares = Vec::with_capacity(at.queries.len());
        for (number, row) in scores.chunks_exact_mut(keys.len()).enumerate() {
            let runs = attention.seen_by(at, number);
            let (mut most, mut behind, mut total) = (f32::NEG_INFINITY, 0, 0.0);
            for run in 0..runs.len() {
                most = most.max(max(&row[runs.at(run, keys)]));
            }
            for run in 0..runs.len() {
                let run = runs.at(run, keys);
                row[behind..run.start].fill(0.0);
                behind = run.end;
                let row = &mut row[run];
                for x in row.iter_mut() {
                    *x = exp(*x - most);
                }
                total += sum(row, |x| x);
            }
            row[behind..].fill(0.0);
            sums[number * heads + head] = most + total.ln();
            shares.push(if runs.len() > 0 { total.recip() } else { 0.0 });
        }
        shares
    }
}

#[cfg(test)]
mod tests;
