//! Low-rank adapters (LoRA, Hu et al., 2021, arXiv:2106.09685) beside linear layers.
//!
//! `y = x W + s dropout(x) A B`: the product is taken in the space of activations, so that neither a gradient nor a copy
//! of the shape of `W` is made. `W` is no leaf of a tape; only `A` and `B` are trained, and with DoRA (Liu et al., 2024,
//! arXiv:2402.09353) a size per output. Follows `layer.py` and `dora.py` of `peft/tuners/lora`.
//!
//! An adapter is attached to the weight as a Burn reparameterization, so that every walk over the parameters of a module
//! meets it behind the weight, and a module without adapters is what it was. Its parameters are called as PEFT calls them:
//! `q_proj.lora_A.weight`, `q_proj.lora_B.weight`, `q_proj.lora_magnitude_vector`.
//!
//! - [`attach`]: which layers get one
//! - [`dropout`]: what is zeroed, a function of integers and names
//! - [`peft`]: adapters as the PEFT library reads them
//!
//! Dims: `input` and `output` of the layer, `rank`.

pub mod attach;
pub mod dropout;
mod model;
pub mod peft;

use std::fmt;

use crate::projection::product;
use burn::module::{Module, Param, Reparameterization};
use burn::nn::Initializer;
use burn::prelude::*;
use mmtrain_config::LoraTuning;
use serde::{Deserialize, Serialize};

use self::dropout::PassKey;

/// Kind and places of the adapters of one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// What sets the scale.
    pub alpha: f64,
    /// Share of an adapter's input that is zeroed in training.
    pub dropout: f64,
    /// Layers, by name or by the end of their path; none means all that can have an adapter.
    pub targets: Option<Vec<String>>,
    /// Whether the scale is `alpha / sqrt(rank)` (rsLoRA, Kalajdzievski, 2023, arXiv:2312.03732).
    pub use_rslora: bool,
    /// Whether the size of each output is learned apart from its direction.
    pub use_dora: bool,
}

impl LoraConfig {
    /// `s` of `s x A B`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Whether adapters of `self` can go on as those of `other`: all but the dropout has to be the same.
    pub fn is_kind_of(&self, other: &Self) -> bool {
        Self { dropout: other.dropout, ..self.clone() } == *other
    }
}

impl From<&LoraTuning> for LoraConfig {
    fn from(tuning: &LoraTuning) -> Self {
        Self {
            rank: tuning.rank.get(),
            alpha: tuning.alpha,
            dropout: tuning.dropout,
            targets: tuning.targets.clone(),
            use_rslora: tuning.use_rslora,
            use_dora: tuning.use_dora,
        }
    }
}

/// For people: `lora r=8, alpha=16`.
impl fmt::Display for LoraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.use_dora { "dora" } else { "lora" };
        write!(f, "{name} r={}, alpha={}", self.rank, self.alpha)?;
        if self.use_rslora { f.write_str(", alpha / sqrt(r)") } else { Ok(()) }
    }
}

/// The adapter of one layer.
#[derive(Module, Debug)]
pub struct Lora {
    /// `A`: `[input, rank]`
    pub a: Param<Tensor<2>>,
    /// `B`: `[rank, output]`
    pub b: Param<Tensor<2>>,
    /// DoRA's size of each output. `[output]`
    pub magnitude: Option<Param<Tensor<1>>>,
    /// Set for the forward and backward pass of one micro-batch.
    key: PassKey,
    #[module(skip)]
    scale: f64,
    #[module(skip)]
    dropout: f64,
    /// Of the layer, which its mask is drawn for.
    #[module(skip)]
    name: String,
}

impl Reparameterization for Lora {
    const NAME: &'static str = "lora";

    /// The weight with the adapter in it.
    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let ([input, _], [_, output], shape) = (self.a.dims(), self.b.dims(), base.dims());
        self.merged(base.reshape([input, output])).reshape(shape)
    }
}

impl Lora {
    /// An adapter of zeros beside a weight of this shape.
    fn new(name: String, [input, output]: [usize; 2], config: &LoraConfig, device: &Device) -> Self {
        Self {
            a: Initializer::Zeros.init([input, config.rank], device),
            b: Initializer::Zeros.init([config.rank, output], device),
            magnitude: config.use_dora.then(|| Initializer::Zeros.init([output], device)),
            key: PassKey::none(),
            scale: config.scale(),
            dropout: config.dropout,
            name,
        }
    }

    /// The layer with its adapter.
    ///
    /// # Shapes
    ///
    /// - `x`: `[.., input]`; returns `[.., output]`
    /// - `weight`: `[input, output]`, `bias`: `[output]`
    pub(crate) fn forward<const D: usize>(
        &self,
        x: Tensor<D>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<D> {
        let dropped = self.key.mask(self.dropout, &self.name, &x).map(|mask| mask.apply(x.clone()));
        let seen = dropped.clone().unwrap_or_else(|| x.clone());
        let added = product(product(seen, self.a.val(), None), self.b.val(), None) * self.scale;
        match &self.magnitude {
            None => product(x, weight, bias) + added,
            Some(magnitude) => {
                // The norm is taken for a constant in the backward pass (section 4.3 of the paper).
                let norm = self.norm(weight.clone()).detach();
                let factor = magnitude.val() / norm.cast(magnitude.val().dtype());
                scaled_directions(x, dropped, weight, factor, added, bias)
            }
        }
    }

    /// `W + s A B`, with DoRA each output brought to its size; in the type of `weight`. `[input, output]`
    fn merged(&self, weight: Tensor<2>) -> Tensor<2> {
        let dtype = weight.dtype();
        let sum = self.sum(weight);
        let merged = match &self.magnitude {
            None => sum,
            Some(magnitude) => sum.clone() * (magnitude.val() / column_norms(sum)).unsqueeze(),
        };
        merged.cast(dtype)
    }

    /// `W + s A B` in the type of the adapter. `[input, output]`
    fn sum(&self, weight: Tensor<2>) -> Tensor<2> {
        let update = self.a.val().matmul(self.b.val());
        weight.cast(update.dtype()) + update * self.scale
    }

    /// Size of each output of `W + s A B`. `[output]`
    fn norm(&self, weight: Tensor<2>) -> Tensor<1> {
        column_norms(self.sum(weight))
    }
}

/// `x W + (f - 1) dropped W + f added + b`, where `f` is the size of each output over its norm (`DoraLinearLayer`).
fn scaled_directions<const D: usize>(
    x: Tensor<D>,
    dropped: Option<Tensor<D>>,
    weight: Tensor<2>,
    factor: Tensor<1>,
    added: Tensor<D>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let plain = product(x, weight.clone(), None);
    let read = dropped.map_or_else(|| plain.clone(), |dropped| product(dropped, weight, None));
    let y = plain + read * (factor.clone() - 1.0).unsqueeze() + added * factor.unsqueeze();
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// Euclidean norm of each column. `[rows, columns]` to `[columns]`
pub(crate) fn column_norms(matrix: Tensor<2>) -> Tensor<1> {
    matrix.square().sum_dim(0).sqrt().squeeze_dim(0)
}

#[cfg(test)]
mod tests;
