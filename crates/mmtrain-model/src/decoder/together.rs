//! New tokens of several sequences in one pass: the weights are read once for all, the caches stay apart.
//!
//! Sequences of one length share a cache and are one [`Cached`]; those of another length are another one. Whatever reads a
//! token alone (norms, projections, the gated layer) runs over all rows at once, and attention runs over one cache after the
//! other (iteration-level batching of Orca, Yu et al., OSDI 2022).

use burn::prelude::*;

use super::heads::Heads;
use super::{Decoder, DecoderContext, KvCache};

/// Rows of a batch that share a cache, and where their new tokens stand.
#[derive(Debug)]
pub struct Cached<'a> {
    /// Positions and masks of the new tokens.
    pub context: &'a DecoderContext,
    /// Keys and values of the tokens before them, `[rows, ..]` each.
    pub cache: &'a mut KvCache,
}

impl Decoder {
    /// Runs all blocks, without the final norm, for new tokens of several caches, whose rows stand behind one another in
    /// `x`. Each cache is read and extended; `between` runs as in [`blocks_between`](Self::blocks_between).
    ///
    /// # Shapes
    ///
    /// - `x`: `[rows, seq, hidden]`, the rows of all caches; returns the same
    pub fn blocks_together(
        &self,
        mut x: Tensor<3>,
        parts: &mut [Cached<'_>],
        between: impl Fn(usize, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        let seq = x.dims()[1];
        for (index, block) in self.model.layers.iter().enumerate() {
            x = between(index, x);
            x = block.computing(&x).run(x, |heads| attend_apart(heads, index, parts));
        }
        for part in parts {
            part.cache.advance(seq);
        }
        between(self.model.layers.len(), x)
    }
}

/// Every row attends to what its own cache holds. `[rows, heads, seq, head_dim]`
fn attend_apart(heads: Heads, block: usize, parts: &mut [Cached<'_>]) -> Tensor<4> {
    if let [part] = parts {
        return heads.attend(part.context, Some(part.cache.layer_mut(block)));
    }
    let mut first = 0;
    let outputs = parts.iter_mut().map(|part| {
        let rows = first..first + part.cache.rows();
        first = rows.end;
        heads.of_rows(rows).attend(part.context, Some(part.cache.layer_mut(block)))
    });
    Tensor::cat(outputs.collect(), 0)
}
