//! Attention as one operation of the tape, which forms the weights of a chunk again in the backward pass.
//!
//! The backward pass is that of FlashAttention-2 (<https://arxiv.org/abs/2307.08691>, algorithm 2), in plain tensor
//! operations, so that it runs on every backend. A chunk has all keys of its queries: its weights come from the same
//! softmax as forward, to the bit, and no log-sum-exp has to be kept for them.

#[cfg(feature = "cuda")]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchKindConversion, DispatchTensor, Flex, backend_extension};
use burn::prelude::*;

use super::gradients::Saved;
use super::{Mask, in_chunks};

/// As [`in_chunks`], but of what is formed on a tape only the inputs and the output are kept.
pub(super) fn recorded(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    mask: Option<&Mask>,
    rows: usize,
) -> Tensor<4> {
    let [query, key, value] = [query, key, value].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::chunked_attention(query, key, value, mask.cloned(), rows))
}

/// [`in_chunks`] for the backend that the tensors turn out to have.
#[backend_extension(Flex, Cube: cfg(feature = "cuda"), Autodiff)]
trait ChunkedAttention: Backend {
    fn chunked_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<Mask>,
        rows: usize,
    ) -> FloatTensor<Self>;
}

impl ChunkedAttention for Flex {
    fn chunked_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<Mask>,
        rows: usize,
    ) -> FloatTensor<Self> {
        let [query, key, value] = [query, key, value].map(lifted::<Self>);
        lowered::<Self>(in_chunks(query, key, value, mask.as_ref(), rows))
    }
}

#[cfg(feature = "cuda")]
impl ChunkedAttention for Cube {
    fn chunked_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<Mask>,
        rows: usize,
    ) -> FloatTensor<Self> {
        let [query, key, value] = [query, key, value].map(lifted::<Self>);
        lowered::<Self>(in_chunks(query, key, value, mask.as_ref(), rows))
    }
}

impl<B: Backend, C: CheckpointStrategy> ChunkedAttention for Autodiff<B, C>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn chunked_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<Mask>,
        rows: usize,
    ) -> FloatTensor<Self> {
        let nodes = [query.node(), key.node(), value.node()];
        let [query, key, value] = [query, key, value].map(|x| lifted::<B>(x.into_primitive()));
        let output = in_chunks(query.clone(), key.clone(), value.clone(), mask.as_ref(), rows);
        match FormAgain.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(operation) => {
                let saved = Saved { query, key, value, output: output.clone(), mask, rows };
                operation.finish(saved, lowered::<B>(output))
            }
            OpsKind::UnTracked(operation) => operation.finish(lowered::<B>(output)),
        }
    }
}

/// The backward pass of [`ChunkedAttention`].
#[derive(Debug)]
struct FormAgain;

impl<B: Backend> Backward<B, 3> for FormAgain
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let of_output = lifted::<B>(gradients.consume::<B>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        for (parent, gradient) in ops.parents.into_iter().zip(ops.state.gradients(&of_output, wanted)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, lowered::<B>(gradient));
            }
        }
    }
}

fn lifted<B: Backend>(x: FloatTensor<B>) -> Tensor<4>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    Tensor::from_primitive::<B>(x)
}

fn lowered<B: Backend>(x: Tensor<4>) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    x.try_into_primitive::<B>().expect("what comes of tensors of a backend is one of that backend")
}

#[cfg(test)]
mod tests;
