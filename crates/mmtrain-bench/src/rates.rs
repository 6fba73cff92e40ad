//! How fast a device is at what a model does most: products of its shapes, and passes over tensors.

use std::time::Instant;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_kernels::linear;
use mmtrain_train::forecast::Rates;
use mmtrain_train::ranks::Ranks;

use crate::shapes::{pixels, wait};

/// Repetitions are as many as fit into this, in seconds, and three at least.
const PATIENCE: f64 = 0.15;
/// Floats of the tensors that are passed over: more than caches hold.
const PASSED: usize = 1 << 23;

/// Rows, inputs and outputs of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Tokens of a micro-batch.
    pub rows: usize,
    /// Width of a token.
    pub inputs: usize,
    /// Width of what becomes of it.
    pub outputs: usize,
}

impl Product {
    pub(crate) fn flops(self) -> f64 {
        2.0 * self.rows as f64 * self.inputs as f64 * self.outputs as f64
    }
}

/// Measures each, its products in this type, all ranks at once: about a second for all of them.
///
/// # Errors
///
/// If the threads of the ranks cannot be had.
pub fn rates(
    [encoder, decoder, head]: [Product; 3],
    (device, dtype): (&Device, DType),
    ranks: usize,
) -> std::io::Result<Rates> {
    let ranks = Ranks::new(ranks)?;
    let product = |shape: Product| {
        let a = tensor([shape.rows, shape.inputs], device).cast(dtype);
        let b = tensor([shape.inputs, shape.outputs], device).cast(dtype);
        per_second(&ranks, shape.flops(), || {
            wait(&linear(a.clone(), b.clone(), None).slice([0..1, 0..1]));
        })
    };
    let (x, y) = (tensor([1, PASSED], device), tensor([1, PASSED], device));
    // Two are read and one is written.
    let floats = per_second(&ranks, 3.0 * PASSED as f64, || {
        wait(&(x.clone() + y.clone()).slice([0..1, 0..1]));
    });
    Ok(Rates { encoder: product(encoder), decoder: product(decoder), head: product(head), floats })
}

fn tensor(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(pixels(shape.iter().product()), shape), device)
}

/// The amount of work that all ranks do in a second, each doing `work` again and again.
fn per_second(ranks: &Ranks, amount: f64, work: impl Fn() + Sync) -> f64 {
    let rate = |_| {
        work();
        let (started, mut done) = (Instant::now(), 0.0);
        while done < 3.0 || started.elapsed().as_secs_f64() < PATIENCE {
            work();
            done += 1.0;
        }
        done * amount / started.elapsed().as_secs_f64()
    };
    ranks.all(rate).into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_products_are_faster_than_narrow_ones() {
        let [narrow, large] = [8, 512].map(|width| Product { rows: 256, inputs: width, outputs: width });
        let rates = rates([narrow, large, large], (&Device::flex(), DType::F32), 1).expect("no threads are needed");
        assert!(rates.encoder > 0.0 && rates.floats > 0.0);
        assert!(rates.decoder > 2.0 * rates.encoder, "{rates:?}");
    }
}
