//! What the device can do: products of matrices.

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_kernels::linear;

use crate::rates::Product;
use crate::shapes::{precision, random, wait};
use crate::{Place, Size, Workload};

/// Operations of a step: those of one product of two matrices of 2048 x 2048.
const WORK: f64 = (1_u64 << 34) as f64;

/// Products in a step of a layer's.
const LAYERS: usize = 8;

/// The product of two matrices again and again, as often as makes a step of [`WORK`].
pub(crate) fn product(shape: Product, Place { device, .. }: &Place) -> Workload {
    let times = ((WORK / shape.flops()) as usize).max(1);
    repeated(shape, times, (device, DType::F32), by_burn)
}

/// The same as linear layers make it.
pub(crate) fn linear_product(shape: Product, Place { device, .. }: &Place) -> Workload {
    let times = ((WORK / shape.flops()) as usize).max(1);
    repeated(shape, times, (device, DType::F32), |a, b| linear(a.clone(), b.clone(), None))
}

/// Linear layers of a large model in bf16, by Burn's product.
pub(crate) fn layers(Place { device, size, .. }: &Place) -> Workload {
    repeated(layer(*size), LAYERS, (device, DType::BF16), by_burn)
}

/// The same by cuBLASLt.
pub(crate) fn layers_by_cublaslt(Place { device, size, .. }: &Place) -> std::io::Result<Workload> {
    let products = mmtrain_cublaslt::Products::new(device).map_err(std::io::Error::other)?;
    check(&products, device).map_err(std::io::Error::other)?;
    let product = move |a: &Tensor<2>, b: &Tensor<2>| products.product(a, b).expect("shapes and types fit");
    Ok(repeated(layer(*size), LAYERS, (device, DType::BF16), product))
}

/// A linear layer of some tokens forward, and the products of its two gradients, in the type in which the device trains.
pub(crate) fn layer_both_ways(
    tokens: usize,
    [inputs, outputs]: [usize; 2],
    Place { device, size, .. }: &Place,
) -> Workload {
    let rows = if *size == Size::Small { tokens.min(64) } else { tokens };
    let matrix = |shape| random::<2>(shape, device).cast(precision(device));
    let (x, weight, of_y) = (matrix([rows, inputs]), matrix([inputs, outputs]), matrix([rows, outputs]));
    let once = 3.0 * Product { rows, inputs, outputs }.flops();
    // As many as take a GPU a millisecond and more, so that waiting for the last one is a small part.
    let times = if *size == Size::Small { 1 } else { (1e12 / once).ceil().max(1.0) as usize };
    let products = move || {
        drop(x.clone().matmul(weight.clone()));
        drop(of_y.clone().matmul(weight.clone().transpose()));
        x.clone().transpose().matmul(of_y.clone())
    };
    let step = move || {
        (1..times).for_each(|_| drop(products()));
        wait(&products().slice([0..1, 0..1]));
    };
    let flops = times as f64 * once;
    Workload { step: Box::new(step), tokens: flops / 1e9, flops }
}

/// Whether cuBLASLt's products are Burn's, of matrices that are not square, in both types.
fn check(products: &mmtrain_cublaslt::Products, device: &Device) -> Result<(), String> {
    for (dtype, bound) in [(DType::F32, 5e-3), (DType::BF16, 2e-2)] {
        let [a, b] = [[96, 160], [160, 224]].map(|shape| random(shape, device).cast(dtype));
        let ours = products.product(&a, &b).map_err(|error| error.to_string())?.cast(DType::F32);
        let burns = a.cast(DType::F32).matmul(b.cast(DType::F32));
        let largest: f32 = burns.clone().abs().max().into_scalar();
        let apart: f32 = (ours - burns).abs().max().into_scalar();
        if apart.is_nan() || apart > bound * largest {
            return Err(format!(
                "cuBLASLt's product in {dtype:?} is {apart} from Burn's, whose largest value is {largest}"
            ));
        }
    }
    Ok(())
}

fn by_burn(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    a.clone().matmul(b.clone())
}

/// 4,096 tokens, 2,048 inputs, 8,192 outputs.
fn layer(size: Size) -> Product {
    Product { rows: if size == Size::Small { 16 } else { 4096 }, inputs: 2048, outputs: 8192 }
}

fn repeated(
    shape: Product,
    times: usize,
    (device, dtype): (&Device, DType),
    multiply: impl Fn(&Tensor<2>, &Tensor<2>) -> Tensor<2> + 'static,
) -> Workload {
    let sizes = [[shape.rows, shape.inputs], [shape.inputs, shape.outputs]];
    let [a, b] = sizes.map(|size| random::<2>(size, device).cast(dtype));
    let flops = times as f64 * shape.flops();
    let step = move || {
        (1..times).for_each(|_| drop(multiply(&a, &b)));
        // One value of the last is read, so that it is waited for and nothing else is done.
        wait(&multiply(&a, &b).slice([0..1, 0..1]));
    };
    Workload { step: Box::new(step), tokens: flops / 1e9, flops }
}

pub(crate) fn square(side: usize) -> Product {
    Product { rows: side, inputs: side, outputs: side }
}
