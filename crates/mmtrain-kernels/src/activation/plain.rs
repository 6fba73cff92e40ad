//! Activations in plain operations, for tensors that no kernel takes, with their derivatives by formula.
//!
//! They compute in f32, as PyTorch's do, and a tape keeps the inputs in their own type. Burn's derivative of GELU is that of its approximation
//! on a GPU, up to 4e-4 of the largest from the exact one.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::activation::sigmoid;

use super::{Act, QUICK};
use crate::tape::{Operation, Pullback};

/// Of the cube in the approximation of GELU.
const CUBIC: f64 = 0.044_715;

/// The square root of 2/π, of the approximation.
const STEEP: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

impl Act {
    /// `act(x)`, in the type of `x`.
    pub(super) fn plain<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        self.value(x.cast(DType::F32)).cast(dtype)
    }

    fn value<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => x.clone() * sigmoid(x),
            Self::QuickGelu => x.clone() * sigmoid(x * f64::from(QUICK)),
            Self::Gelu => x.clone() * normal(x),
            Self::GeluTanh => x.clone() * 0.5 * (approximation(x).tanh() + 1.0),
        }
    }

    /// The derivative.
    fn slope<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => slope_of_swish(x, 1.0),
            Self::QuickGelu => slope_of_swish(x, f64::from(QUICK)),
            Self::Gelu => {
                let density = (x.clone() * x.clone() * -0.5).exp() * (0.5 * STEEP);
                normal(x.clone()) + x * density
            }
            Self::GeluTanh => {
                let tanh = approximation(x.clone()).tanh();
                let steepness = (x.clone() * x.clone() * (3.0 * CUBIC) + 1.0) * STEEP;
                (tanh.clone() + 1.0) * 0.5 + x * 0.5 * (-(tanh.clone() * tanh) + 1.0) * steepness
            }
        }
    }
}

/// The distribution function of the normal distribution.
fn normal<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5
}

/// What the hyperbolic tangent of the approximation is taken of.
fn approximation<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x.clone() * x.clone() * CUBIC + 1.0) * x * STEEP
}

/// Of `x sigmoid(k x)`.
fn slope_of_swish<const D: usize>(x: Tensor<D>, k: f64) -> Tensor<D> {
    let share = sigmoid(x.clone() * k);
    share.clone() * (x * (-share + 1.0) * k + 1.0)
}

/// `act(x)`.
#[derive(Debug)]
pub(super) struct Plain(pub(super) Act);

impl Operation<1> for Plain {
    fn forward(&self, [x]: [Tensor<4>; 1], wanted: Option<[bool; 1]>) -> (Tensor<4>, Option<Arc<dyn Pullback<1>>>) {
        let saved = wanted.map(|_| Arc::new(Saved { act: self.0, x: x.clone() }) as Arc<dyn Pullback<1>>);
        (self.0.plain(x), saved)
    }
}

#[derive(Debug)]
struct Saved {
    act: Act,
    x: Tensor<4>,
}

impl Pullback<1> for Saved {
    fn gradients(&self, of_output: Tensor<4>, _: [bool; 1]) -> [Option<Tensor<4>>; 1] {
        let dtype = of_output.dtype();
        let slope = self.act.slope(self.x.clone().cast(DType::F32));
        [Some((of_output.cast(DType::F32) * slope).cast(dtype))]
    }
}

/// `act(gate) up`.
#[derive(Debug)]
pub(super) struct PlainGated(pub(super) Act);

impl Operation<2> for PlainGated {
    fn forward(
        &self,
        [gate, up]: [Tensor<4>; 2],
        wanted: Option<[bool; 2]>,
    ) -> (Tensor<4>, Option<Arc<dyn Pullback<2>>>) {
        let dtype = gate.dtype();
        let product = self.0.value(gate.clone().cast(DType::F32)) * up.clone().cast(DType::F32);
        let saved = wanted.map(|_| Arc::new(SavedGated { act: self.0, gate, up }) as Arc<dyn Pullback<2>>);
        (product.cast(dtype), saved)
    }
}

#[derive(Debug)]
struct SavedGated {
    act: Act,
    gate: Tensor<4>,
    up: Tensor<4>,
}

impl Pullback<2> for SavedGated {
    fn gradients(&self, of_output: Tensor<4>, wanted: [bool; 2]) -> [Option<Tensor<4>>; 2] {
        let dtype = of_output.dtype();
        let [gate, up, of_output] =
            [self.gate.clone(), self.up.clone(), of_output].map(|tensor| tensor.cast(DType::F32));
        [
            wanted[0].then(|| (of_output.clone() * up * self.act.slope(gate.clone())).cast(dtype)),
            wanted[1].then(|| (of_output * self.act.value(gate)).cast(dtype)),
        ]
    }
}
