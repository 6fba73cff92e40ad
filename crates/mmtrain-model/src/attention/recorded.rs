//! Attention as one operation of the tape, which forms the weights of a chunk again in the backward pass.
//!
//! The backward pass is that of FlashAttention-2 (<https://arxiv.org/abs/2307.08691>, algorithm 2), but that a chunk has all
//! keys of its queries, so that no log-sum-exp has to be kept for its weights: they come from the same softmax as forward, to the bit
//! unless the device's own kernel made the output.

use std::sync::Arc;

use burn::prelude::*;
use mmtrain_kernels::tape::{Operation, Pullback, apply3};

use super::gradients::Saved;
use super::{Mask, untaped};

/// As [`untaped`], but of what is formed on a tape only the inputs are kept.
pub(super) fn recorded(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: Option<&Mask>,
    rows: usize,
) -> Tensor<4> {
    apply3(Recorded { mask: mask.cloned(), rows }, [query, key, value])
}

#[derive(Debug)]
struct Recorded {
    mask: Option<Mask>,
    /// Queries of a chunk.
    rows: usize,
}

impl Operation<3> for Recorded {
    fn forward(
        &self,
        [query, key, value]: [Tensor<4>; 3],
        wanted: Option<[bool; 3]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<3>>>) {
        let Self { mask, rows } = self;
        let saved = wanted.map(|_| {
            let [query, key, value] = [&query, &key, &value].map(Tensor::clone);
            Arc::new(Saved { query, key, value, mask: mask.clone(), rows: *rows }) as Arc<dyn Pullback<3>>
        });
        (untaped(query, key, value, mask.as_ref(), *rows), saved)
    }
}

impl Pullback<3> for Saved {
    fn gradients(&self, of_output: Tensor<4>, wanted: [bool; 3]) -> [Option<Tensor<4>>; 3] {
        self.of_inputs(&of_output, wanted)
    }
}

#[cfg(test)]
mod tests;
