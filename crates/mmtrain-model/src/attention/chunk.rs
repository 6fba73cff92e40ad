//! Attention over many queries, some of them at a time.

use std::ops::Range;

use burn::prelude::*;

use super::Mask;

/// Some queries, and the keys from the first to the last that one of them may see.
#[derive(Debug)]
pub(super) struct Chunk {
    queries: Range<usize>,
    pub(super) keys: Range<usize>,
}

/// All queries, `rows` at a time.
pub(super) fn chunks(
    queries: usize,
    keys: usize,
    mask: Option<&Mask>,
    rows: usize,
) -> impl Iterator<Item = Chunk> + use<'_> {
    (0..queries).step_by(rows).map(move |start| {
        let queries = start..(start + rows).min(queries);
        let keys = mask.map_or(0..keys, |mask| mask.seen_by(queries.clone()));
        Chunk { queries, keys }
    })
}

impl Chunk {
    /// The part of queries, of their outputs or of gradients of these. `[batch, heads, queries, head_dim]`
    pub(super) fn of_queries(&self, x: &Tensor<4>) -> Tensor<4> {
        x.clone().slice_dim(2, self.queries.clone())
    }

    /// The part of keys or values. `[batch, kv_heads, keys, head_dim]`
    pub(super) fn of_keys(&self, x: &Tensor<4>) -> Tensor<4> {
        x.clone().slice_dim(2, self.keys.clone())
    }

    /// What is added to the scores of every head. `[batch or 1, 1, queries, keys]`
    pub(super) fn bias(&self, mask: Option<&Mask>) -> Option<Tensor<4>> {
        mask.map(|mask| mask.bias(self.queries.clone(), self.keys.clone()))
    }
}
