//! What the device can do: products of matrices.

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::Workload;
use crate::rates::Product;
use crate::shapes::{pixels, wait};

/// Operations of a step: those of one product of two matrices of 2048 x 2048.
const WORK: f64 = (1_u64 << 34) as f64;

/// The product of two matrices again and again, as often as makes a step of [`WORK`].
pub(crate) fn product(shape: Product, device: &Device) -> Workload {
    let matrix =
        |rows, columns| Tensor::<2>::from_data(TensorData::new(pixels(rows * columns), [rows, columns]), device);
    let (a, b) = (matrix(shape.rows, shape.inputs), matrix(shape.inputs, shape.outputs));
    let times = ((WORK / shape.flops()) as usize).max(1);
    let flops = times as f64 * shape.flops();
    let step = move || {
        let product = || a.clone().matmul(b.clone());
        (1..times).for_each(|_| drop(product()));
        // One value of the last is read, so that it is waited for and nothing else is done.
        wait(&product().slice([0..1, 0..1]));
    };
    Workload { step: Box::new(step), tokens: flops / 1e9, flops }
}

pub(crate) fn square(side: usize) -> Product {
    Product { rows: side, inputs: side, outputs: side }
}
