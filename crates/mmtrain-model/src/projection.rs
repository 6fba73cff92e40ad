//! The linear layer of blocks and connectors, beside which a low-rank adapter may stand.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::module::linear;

use crate::few_rows::{self, Rows, shaped};
use crate::quantized::weight::Weight;

/// `x W + b`, and what an adapter adds, if one is attached to `W` ([`lora`](crate::lora)).
#[derive(Module, Debug)]
pub struct Projection {
    /// `[input, output]`
    pub weight: Weight,
    /// `[output]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Projection {
    /// A layer of zeros; weights are assigned afterwards, by name.
    pub fn new(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        Self {
            weight: Weight::dense(Initializer::Zeros.init([input, output], device)),
            bias: bias.then(|| Initializer::Zeros.init([output], device)),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[.., input]`; returns `[.., output]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if let Some(product) = self.of_few_rows(&x) {
            return product;
        }
        let (weight, bias) = (self.weight.base(), self.bias.as_ref().map(Param::val));
        match self.weight.lora() {
            None => product(x, weight, bias),
            Some(lora) => lora.forward(x, weight, bias),
        }
    }

    /// The product with the weight where it lies, packed or not, where there are few rows and no adapter.
    pub(crate) fn of_few_rows<const D: usize>(&self, x: &Tensor<D>) -> Option<Tensor<D>> {
        if self.weight.lora().is_some() || !few_rows::takes(x) {
            return None;
        }
        let rows = Rows::of(x);
        let (product, output) = if let Some(packed) = self.weight.packed() {
            (packed.product(rows), packed.shape()[1])
        } else {
            let weight = self.weight.base();
            (few_rows::with_weight(&rows, &weight)?, weight.dims()[1])
        };
        let product = shaped(product, x.dims(), output);
        Some(match &self.bias {
            Some(bias) => product + bias.val().unsqueeze(),
            None => product,
        })
    }
}

/// `x W + b` over all rows at once: a product for each row of a batch would read the weight as often, and sum up as many gradients.
///
/// # Shapes
///
/// - `x`: `[.., input]`, `weight`: `[input, output]`, `bias`: `[output]`; returns `[.., output]`
pub(crate) fn product<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [input, output] = weight.dims();
    let mut shape = x.dims();
    let rows = shape.iter().product::<usize>() / input.max(1);
    shape[D - 1] = output;
    linear(x.reshape([rows, input]), weight, bias).reshape(shape)
}
