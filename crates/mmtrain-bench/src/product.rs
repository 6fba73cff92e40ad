//! What the device can do: a product of large matrices.

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::Workload;
use crate::shapes::{pixels, wait};

const SIDE: usize = 2048;

pub(crate) fn gemm(device: &Device) -> Workload {
    let matrix = || Tensor::<2>::from_data(TensorData::new(pixels(SIDE * SIDE), [SIDE, SIDE]), device);
    let (a, b) = (matrix(), matrix());
    let flops = 2.0 * (SIDE as f64).powi(3);
    // One value of the product is read, so that it is waited for and nothing else is done.
    let step = move || wait(&a.clone().matmul(b.clone()).slice([0..1, 0..1]));
    Workload { step: Box::new(step), tokens: flops / 1e9, flops }
}
