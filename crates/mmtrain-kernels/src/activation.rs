//! Activations, and the gated product `act(gate) up` of SwiGLU (Shazeer, arXiv:2002.05202).
//!
//! A tape keeps the inputs; the activation is computed again in the backward pass, which costs less than to keep it.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

mod plain;

use std::sync::Arc;

use burn::prelude::*;

use crate::curve::{Curve, Gelu, GeluTanh, Swish};
use crate::host::{Values, is_host};
use crate::rows::{TASK, Work, each_task};
use crate::tape::{Operation, Pullback, apply1, apply2};

use self::plain::{Plain, PlainGated};

/// The steepness of OpenAI's approximation.
const QUICK: f32 = 1.702;

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `x / (1 + e⁻ˣ)`
    Silu,
    /// `x / (1 + exp(-1.702 x))`
    QuickGelu,
    /// `x Φ(x)` (Hendrycks & Gimpel, arXiv:1606.08415)
    Gelu,
    /// Its approximation with a hyperbolic tangent.
    GeluTanh,
}

/// `act(x)`, value by value; returns the shape of `x`.
pub fn activation<const D: usize>(act: Act, x: Tensor<D>) -> Tensor<D> {
    let (shape, is_host) = (x.dims(), is_host(&x));
    let x = x.reshape([1, 1, 1, shape.iter().product()]);
    if !is_host {
        return apply1(Plain(act), x).reshape(shape);
    }
    let y = match act {
        Act::Silu => apply1(Activation(Swish(1.0)), x),
        Act::QuickGelu => apply1(Activation(Swish(QUICK)), x),
        Act::Gelu => apply1(Activation(Gelu), x),
        Act::GeluTanh => apply1(Activation(GeluTanh), x),
    };
    y.reshape(shape)
}

/// `act(gate) up`, value by value; both have the same shape, which is that of the result.
pub fn gated<const D: usize>(act: Act, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let (shape, are_host) = (gate.dims(), is_host(&gate) && is_host(&up));
    let inputs = [gate, up].map(|x| x.reshape([1, 1, 1, shape.iter().product()]));
    if !are_host {
        return apply2(PlainGated(act), inputs).reshape(shape);
    }
    let y = match act {
        Act::Silu => apply2(Gated(Swish(1.0)), inputs),
        Act::QuickGelu => apply2(Gated(Swish(QUICK)), inputs),
        Act::Gelu => apply2(Gated(Gelu), inputs),
        Act::GeluTanh => apply2(Gated(GeluTanh), inputs),
    };
    y.reshape(shape)
}

/// The gradients of `act(gate) up` for both, from that of the product.
pub(crate) fn gated_gradients(act: Act, inputs: [Tensor<4>; 2], of_output: Tensor<4>) -> [Option<Tensor<4>>; 2] {
    let [gate, up] = inputs.map(Values::of);
    match act {
        Act::Silu => GatedValues { gate, up, curve: Swish(1.0) }.gradients(of_output, [true; 2]),
        Act::QuickGelu => GatedValues { gate, up, curve: Swish(QUICK) }.gradients(of_output, [true; 2]),
        Act::Gelu => GatedValues { gate, up, curve: Gelu }.gradients(of_output, [true; 2]),
        Act::GeluTanh => GatedValues { gate, up, curve: GeluTanh }.gradients(of_output, [true; 2]),
    }
}

#[derive(Debug)]
struct Activation<C>(C);

impl<C: Curve> Operation<1> for Activation<C> {
    fn forward(&self, [x]: [Tensor<4>; 1], wanted: Option<[bool; 1]>) -> (Tensor<4>, Option<Arc<dyn Pullback<1>>>) {
        let shape = x.dims();
        let x = Values::of(x);
        let mut y = vec![0.0; x.get().len()];
        each_task([&mut y], [TASK], TASK, &Forward { x: x.get(), curve: self.0 });
        let saved = wanted.map(|_| Arc::new(Saved { x, curve: self.0 }) as Arc<dyn Pullback<1>>);
        (Values::new(y).shaped(shape), saved)
    }
}

struct Forward<'a, C> {
    x: &'a [f32],
    curve: C,
}

impl<C: Curve> Work<1> for Forward<'_, C> {
    #[inline(always)]
    fn run(&self, first: usize, [y]: [&mut [f32]; 1]) {
        for (y, x) in y.iter_mut().zip(&self.x[first..]) {
            *y = self.curve.at(*x).0;
        }
    }
}

#[derive(Debug)]
struct Saved<C> {
    x: Values,
    curve: C,
}

impl<C: Curve> Pullback<1> for Saved<C> {
    fn gradients(&self, of_output: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        let shape = of_output.dims();
        let work = Backward { x: self.x.get(), curve: self.curve };
        let mut of_x = Values::of(of_output);
        each_task([of_x.get_mut()], [TASK], TASK, &work);
        [Some(of_x.shaped(shape))]
    }
}

struct Backward<'a, C> {
    x: &'a [f32],
    curve: C,
}

impl<C: Curve> Work<1> for Backward<'_, C> {
    /// The gradient of the output becomes that of the input.
    #[inline(always)]
    fn run(&self, first: usize, [gradient]: [&mut [f32]; 1]) {
        for (gradient, x) in gradient.iter_mut().zip(&self.x[first..]) {
            *gradient *= self.curve.at(*x).1;
        }
    }
}

#[derive(Debug)]
struct Gated<C>(C);

impl<C: Curve> Operation<2> for Gated<C> {
    fn forward(
        &self,
        [gate, up]: [Tensor<4>; 2],
        wanted: Option<[bool; 2]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<2>>>) {
        let shape = gate.dims();
        let inputs = GatedValues { gate: Values::of(gate), up: Values::of(up), curve: self.0 };
        let mut y = vec![0.0; inputs.gate.get().len()];
        each_task([&mut y], [TASK], TASK, &inputs.slices());
        let saved = wanted.map(|_| Arc::new(inputs) as Arc<dyn Pullback<2>>);
        (Values::new(y).shaped(shape), saved)
    }
}

#[derive(Debug)]
struct GatedValues<C> {
    gate: Values,
    up: Values,
    curve: C,
}

impl<C: Curve> GatedValues<C> {
    fn slices(&self) -> GatedSlices<'_, C> {
        GatedSlices { gate: self.gate.get(), up: self.up.get(), curve: self.curve }
    }
}

impl<C: Curve> Pullback<2> for GatedValues<C> {
    fn gradients(&self, of_output: Tensor<4>, _: [bool; 2]) -> [Option<Tensor<4>>; 2] {
        let shape = of_output.dims();
        let mut of_gate = vec![0.0; self.gate.get().len()];
        let mut of_up = Values::of(of_output);
        each_task([&mut of_gate, of_up.get_mut()], [TASK; 2], TASK, &self.slices());
        [Some(Values::new(of_gate).shaped(shape)), Some(of_up.shaped(shape))]
    }
}

struct GatedSlices<'a, C> {
    gate: &'a [f32],
    up: &'a [f32],
    curve: C,
}

impl<C: Curve> Work<1> for GatedSlices<'_, C> {
    #[inline(always)]
    fn run(&self, first: usize, [y]: [&mut [f32]; 1]) {
        for ((y, gate), up) in y.iter_mut().zip(&self.gate[first..]).zip(&self.up[first..]) {
            *y = self.curve.at(*gate).0 * up;
        }
    }
}

impl<C: Curve> Work<2> for GatedSlices<'_, C> {
    /// The gradient of the output, in the second place, becomes that of `up`.
    #[inline(always)]
    fn run(&self, first: usize, [of_gate, of_up]: [&mut [f32]; 2]) {
        let inputs = self.gate[first..].iter().zip(&self.up[first..]);
        for ((of_gate, of_up), (gate, up)) in of_gate.iter_mut().zip(of_up).zip(inputs) {
            let (value, slope) = self.curve.at(*gate);
            *of_gate = *of_up * up * slope;
            *of_up *= value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Case, same};

    #[test]
    fn output_and_gradients_are_those_of_plain_operations() {
        for act in [Act::Silu, Act::QuickGelu, Act::Gelu, Act::GeluTanh] {
            for (rows, width) in [(1, 7), (3, 100), (700, 96)] {
                let one = Case::new(&[&[rows, width]]);
                same(&one, |x| activation(act, x[0].clone()), |x| act.plain(x[0].clone()));
                let two = Case::new(&[&[rows, width], &[rows, width]]);
                same(&two, |x| gated(act, x[0].clone(), x[1].clone()), |x| act.plain(x[0].clone()) * x[1].clone());
            }
        }
    }

    /// What tensors get that are not a CPU's, or not in 32 bits.
    #[test]
    fn derivatives_by_formula_are_those_of_a_tape() {
        let wide = |x: &Tensor<2>| x.clone().unsqueeze::<4>();
        for act in [Act::Silu, Act::QuickGelu, Act::Gelu, Act::GeluTanh] {
            let one = Case::new(&[&[30, 96]]);
            same(&one, |x| apply1(Plain(act), wide(&x[0])).reshape([30, 96]), |x| act.plain(x[0].clone()));
            let two = Case::new(&[&[30, 96], &[30, 96]]);
            same(
                &two,
                |x| apply2(PlainGated(act), [wide(&x[0]), wide(&x[1])]).reshape([30, 96]),
                |x| act.plain(x[0].clone()) * x[1].clone(),
            );
        }
    }
}
