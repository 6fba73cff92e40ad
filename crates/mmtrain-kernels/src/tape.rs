//! Operations with a backward pass of their own, as nodes of Burn's tape.
//!
//! Everything here has four axes; who calls reshapes, which costs nothing.

use std::fmt::Debug;
use std::sync::Arc;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchKindConversion, DispatchTensor, Flex, backend_extension};
use burn::prelude::*;

/// A function of `N` tensors that knows its gradients.
pub trait Operation<const N: usize>: Debug + Send + Sync + 'static {
    /// The output, of tensors that no tape records, and, on a tape, what the backward pass needs for the gradients that will be
    /// `wanted`.
    fn forward(&self, inputs: [Tensor<4>; N], wanted: Option<[bool; N]>) -> (Tensor<4>, Option<Arc<dyn Pullback<N>>>);
}

/// What is kept of an operation until its backward pass.
pub trait Pullback<const N: usize>: Debug + Send + Sync + 'static {
    /// From the gradient of the output those of the inputs, of each that is `wanted`.
    fn gradients(&self, of_output: Tensor<4>, wanted: [bool; N]) -> [Option<Tensor<4>>; N];
}

/// Runs an operation of one tensor; one node of the tape if it is on one.
pub fn apply1(operation: impl Operation<1>, x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::operation1(x.into_dispatch(), Arc::new(operation)))
}

/// Runs an operation of two tensors; one node of the tape if one of them is on one.
pub fn apply2(operation: impl Operation<2>, inputs: [Tensor<4>; 2]) -> Tensor<4> {
    let [a, b] = inputs.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::operation2(a, b, Arc::new(operation)))
}

/// Runs an operation of three tensors; one node of the tape if one of them is on one.
pub fn apply3(operation: impl Operation<3>, inputs: [Tensor<4>; 3]) -> Tensor<4> {
    let [a, b, c] = inputs.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::operation3(a, b, c, Arc::new(operation)))
}

/// Operations for the backend that the tensors turn out to have.
#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "wgpu")), Autodiff)]
trait Operations: Backend {
    fn operation1(x: FloatTensor<Self>, operation: Arc<dyn Operation<1>>) -> FloatTensor<Self>;

    fn operation2(a: FloatTensor<Self>, b: FloatTensor<Self>, operation: Arc<dyn Operation<2>>) -> FloatTensor<Self>;

    fn operation3(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        operation: Arc<dyn Operation<3>>,
    ) -> FloatTensor<Self>;
}

/// Operations of a backend that records nothing.
macro_rules! without_a_tape {
    ($backend:ty) => {
        impl Operations for $backend {
            fn operation1(x: FloatTensor<Self>, operation: Arc<dyn Operation<1>>) -> FloatTensor<Self> {
                untaped::<Self, 1>(&*operation, [x])
            }

            fn operation2(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                operation: Arc<dyn Operation<2>>,
            ) -> FloatTensor<Self> {
                untaped::<Self, 2>(&*operation, [a, b])
            }

            fn operation3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                operation: Arc<dyn Operation<3>>,
            ) -> FloatTensor<Self> {
                untaped::<Self, 3>(&*operation, [a, b, c])
            }
        }
    };
}

without_a_tape!(Flex);
#[cfg(any(feature = "cuda", feature = "wgpu"))]
without_a_tape!(Cube);

impl<B: Backend, C: CheckpointStrategy> Operations for Autodiff<B, C>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    fn operation1(x: FloatTensor<Self>, operation: Arc<dyn Operation<1>>) -> FloatTensor<Self> {
        taped::<B, C, 1>(&*operation, [x])
    }

    fn operation2(a: FloatTensor<Self>, b: FloatTensor<Self>, operation: Arc<dyn Operation<2>>) -> FloatTensor<Self> {
        taped::<B, C, 2>(&*operation, [a, b])
    }

    fn operation3(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        operation: Arc<dyn Operation<3>>,
    ) -> FloatTensor<Self> {
        taped::<B, C, 3>(&*operation, [a, b, c])
    }
}

fn untaped<B: Backend, const N: usize>(operation: &dyn Operation<N>, inputs: [FloatTensor<B>; N]) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    lowered::<B>(operation.forward(inputs.map(lifted::<B>), None).0)
}

fn taped<B: Backend, C: CheckpointStrategy, const N: usize>(
    operation: &dyn Operation<N>,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
) -> FloatTensor<Autodiff<B, C>>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    let nodes = inputs.each_ref().map(FloatTensor::<Autodiff<B, C>>::node);
    let wanted = inputs.each_ref().map(FloatTensor::<Autodiff<B, C>>::is_tracked);
    let inputs = inputs.map(|x| lifted::<B>(x.into_primitive()));
    match Node.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(node) => {
            let (output, pullback) = operation.forward(inputs, Some(wanted));
            let pullback = pullback.expect("an operation on a tape says how to go back");
            node.finish(pullback, lowered::<B>(output))
        }
        OpsKind::UnTracked(node) => node.finish(lowered::<B>(operation.forward(inputs, None).0)),
    }
}

/// Any operation on the tape.
#[derive(Debug)]
struct Node;

impl<B: Backend, const N: usize> Backward<B, N> for Node
where
    DispatchTensor: DispatchKindConversion<B>,
{
    type State = Arc<dyn Pullback<N>>;

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let of_output = lifted::<B>(gradients.consume::<B>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        for (parent, gradient) in ops.parents.into_iter().zip(ops.state.gradients(of_output, wanted)) {
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
