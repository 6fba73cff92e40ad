//! Functions of one number, with their slopes.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::fmt::Debug;

use crate::lanes::{erf, exp, sigmoid, tanh};

/// A function and its slope.
pub(crate) trait Curve: Debug + Copy + Send + Sync + 'static {
    /// Both at `x`.
    fn at(self, x: f32) -> (f32, f32);
}

/// `x / (1 + e⁻ᵏˣ)`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swish(pub(crate) f32);

impl Curve for Swish {
    #[inline(always)]
    fn at(self, x: f32) -> (f32, f32) {
        let share = sigmoid(self.0 * x);
        (x * share, share * (1.0 + self.0 * x * (1.0 - share)))
    }
}

/// `x Φ(x)`, with the distribution function of the normal distribution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn at(self, x: f32) -> (f32, f32) {
        /// `1 / sqrt(2 π)`
        const DENSITY: f32 = 0.398_942_3;
        let share = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        (x * share, share + x * DENSITY * exp(-0.5 * x * x))
    }
}

/// `x (1 + tanh(sqrt(2 / π) (x + 0.044715 x³))) / 2`
#[derive(Debug, Clone, Copy)]
pub(crate) struct GeluTanh;

impl Curve for GeluTanh {
    #[inline(always)]
    fn at(self, x: f32) -> (f32, f32) {
        /// `sqrt(2 / π)`
        const ROOT: f32 = 0.797_884_6;
        const CUBE: f32 = 0.044_715;
        let bent = tanh(ROOT * (x + CUBE * x * x * x));
        let slope = (1.0 - bent * bent) * ROOT * (1.0 + 3.0 * CUBE * x * x);
        (0.5 * x * (1.0 + bent), 0.5 * (1.0 + bent + x * slope))
    }
}
