//! The linear layer of blocks and connectors, beside which a low-rank adapter may stand.

use burn::module::Param;
use burn::nn::Initializer;
use burn::prelude::*;
use mmtrain_kernels::{Act, gated_linear, linear};

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

    /// [`forward`](Self::forward) of `act(gate) up`, of which a tape keeps the two and not their product where it can.
    ///
    /// # Shapes
    ///
    /// - `gate`, `up`: `[.., input]`; returns `[.., output]`
    pub(crate) fn forward_gated<const D: usize>(&self, act: Act, [gate, up]: [Tensor<D>; 2]) -> Tensor<D> {
        let is_plain = self.weight.lora().is_none() && self.weight.packed().is_none() && self.bias.is_none();
        if !is_plain || few_rows::takes(&gate) {
            return self.forward(mmtrain_kernels::gated(act, gate, up));
        }
        let (weight, shape) = (self.weight.base(), gate.dims());
        with_width(gated_linear(act, [gate, up].map(in_rows), weight), shape)
    }

    /// The product with the weight where it lies, packed or with few rows, where there is no adapter.
    pub(crate) fn of_few_rows<const D: usize>(&self, x: &Tensor<D>) -> Option<Tensor<D>> {
        if self.weight.lora().is_some() {
            return None;
        }
        let (product, output) = match self.weight.packed() {
            Some(packed) if few_rows::takes_all(x) => (packed.product(Rows::of(x)), packed.shape()[1]),
            None if few_rows::takes(x) => {
                let weight = self.weight.base();
                (few_rows::with_weight(&Rows::of(x), &weight)?, weight.dims()[1])
            }
            _ => return None,
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
    let shape = x.dims();
    with_width(linear(in_rows(x), weight, bias), shape)
}

/// `[.., width]` to `[rows, width]`
fn in_rows<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let shape = x.dims();
    let width = shape[D - 1];
    x.reshape([shape.iter().product::<usize>() / width.max(1), width])
}

/// `[rows, output]` to the shape of what the rows were, but for its last axis.
fn with_width<const D: usize>(rows: Tensor<2>, mut shape: [usize; D]) -> Tensor<D> {
    shape[D - 1] = rows.dims()[1];
    rows.reshape(shape)
}
