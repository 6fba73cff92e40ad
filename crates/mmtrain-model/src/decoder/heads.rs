//! Queries, keys and values of a block's new positions, and what they attend to.

use std::ops::Range;

use burn::prelude::*;

use super::{DecoderContext, LayerCache};
use crate::attention::attention;

/// What a block projects its input to, before it is rotated.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    /// `[batch, heads, seq, head_dim]`
    pub(super) query: Tensor<4>,
    /// `[batch, kv_heads, seq, head_dim]`
    pub(super) key: Tensor<4>,
    /// `[batch, kv_heads, seq, head_dim]`
    pub(super) value: Tensor<4>,
    /// Whether queries see the nearest keys only.
    pub(super) has_window: bool,
}

impl Heads {
    /// What each head reads of these positions and, with a cache, of those before them. `[batch, heads, seq, head_dim]`
    pub(super) fn attend(self, context: &DecoderContext, cache: Option<&mut LayerCache>) -> Tensor<4> {
        let (query, key) = (context.rope().apply(self.query), context.rope().apply(self.key));
        let (key, value) = match cache {
            Some(cache) => cache.append(key, self.value),
            None => (key, self.value),
        };
        attention(query, key, value, context.mask(self.has_window))
    }

    /// Those of some rows of the batch.
    pub(super) fn of_rows(&self, rows: Range<usize>) -> Self {
        let cut = |all: &Tensor<4>| all.clone().slice_dim(0, rows.clone());
        Self { query: cut(&self.query), key: cut(&self.key), value: cut(&self.value), has_window: self.has_window }
    }
}
