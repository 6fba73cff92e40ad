//! Norms over the last axis, as modules.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;

/// `γ x / sqrt(mean(x²) + ε)`
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`
    pub gamma: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl RmsNorm {
    /// A norm that scales nothing.
    pub fn new(width: usize, epsilon: f64, device: &Device) -> Self {
        Self { gamma: Initializer::Ones.init([width], device), epsilon }
    }

    /// # Shapes
    ///
    /// - `x`: `[.., width]`; returns the same
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        mmtrain_kernels::rms_norm(x, self.gamma.val(), self.epsilon)
    }
}

/// `γ (x - mean(x)) / sqrt(var(x) + ε) + β`
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[width]`
    pub gamma: Param<Tensor<1>>,
    /// `[width]`
    pub beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// A norm that neither scales nor shifts.
    pub fn new(width: usize, epsilon: f64, device: &Device) -> Self {
        let [gamma, beta] = [Initializer::Ones, Initializer::Zeros].map(|fill| fill.init([width], device));
        Self { gamma, beta, epsilon }
    }

    /// # Shapes
    ///
    /// - `x`: `[.., width]`; returns the same
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        mmtrain_kernels::layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}
