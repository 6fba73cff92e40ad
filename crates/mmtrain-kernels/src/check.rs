//! Kernels against plain operations: outputs, gradients, and both with and without a tape.

use burn::prelude::*;
use burn::tensor::TensorData;

/// Inputs of a function.
pub(crate) struct Case(Vec<Tensor<2>>);

impl Case {
    /// Made-up values of these shapes; a missing second axis has one value.
    pub(crate) fn new(shapes: &[&[usize]]) -> Self {
        let shapes = shapes.iter().map(|shape| [shape[0], *shape.get(1).unwrap_or(&1)]);
        Self(shapes.enumerate().map(|(number, shape)| made_up(shape, number)).collect())
    }
}

/// Values between -2 and 2 in no order.
pub(crate) fn made_up<const D: usize>(shape: [usize; D], number: usize) -> Tensor<D> {
    let value = |i: usize| ((i * 7919 + number * 131 + 17) % 4001) as f32 / 1000.0 - 2.0;
    let values = (0..shape.iter().product()).map(value).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

type Function<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Output and gradients of a weighted sum of it.
fn run(case: &Case, function: Function<'_>) -> Vec<Tensor<2>> {
    let leaves = case.0.iter().map(|x| x.clone().autodiff().require_grad()).collect::<Vec<_>>();
    let output = function(&leaves);
    let weights = made_up(output.dims(), 9).autodiff();
    let mut tape = (output.clone() * weights).sum().backward();
    let gradients = leaves.iter().map(|leaf| leaf.grad_remove(&mut tape).expect("a gradient"));
    std::iter::once(output.inner()).chain(gradients).collect()
}

/// Both functions say the same, to a few units of rounding; the first the same bits with and without a tape.
pub(crate) fn same(case: &Case, kernel: impl Fn(&[Tensor<2>]) -> Tensor<2>, plain: impl Fn(&[Tensor<2>]) -> Tensor<2>) {
    let (ours, theirs) = (run(case, &kernel), run(case, &plain));
    assert_eq!(kernel(&case.0).into_data(), ours[0].to_data(), "untaped");
    for (number, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
        let largest: f32 = theirs.clone().abs().max().into_scalar();
        let worst: f32 = (ours - theirs).abs().max().into_scalar();
        assert!(worst <= 4e-6 * largest.max(1e-3), "{number}: {worst} of {largest}");
    }
}
