//! The kernels one by one, forward and backward, in the shapes of a decoder of 135 M and of a tower of 86 M.

use burn::prelude::*;
use mmtrain_kernels::{Act, Moving, Rates, adamw, cross_entropy, gated, layer_norm, rms_norm, rotate};
use mmtrain_model::attention::{Mask, attention};

use crate::Workload;
use crate::shapes::{random, wait};

/// Times that a kernel runs in a step.
const TIMES: usize = 20;
const TOKENS: usize = 1024;

/// Runs an operation of `inputs` forward and backward, with a gradient of ones.
fn both_ways<const N: usize, const D: usize>(
    tokens: usize,
    inputs: [Tensor<D>; N],
    operation: impl Fn([Tensor<D>; N]) -> Tensor<D> + 'static,
) -> Workload {
    let once = move || {
        let leaves = inputs.clone().map(|input| input.autodiff().require_grad());
        let tape = operation(leaves.clone()).sum().backward();
        leaves[0].grad(&tape).expect("it depends on its first input")
    };
    let step = move || {
        (1..TIMES).for_each(|_| drop(once()));
        let last = once().flatten::<1>(0, D - 1).slice_dim(0, 0..1);
        wait(&last);
    };
    Workload { step: Box::new(step), tokens: (TIMES * tokens) as f64, flops: 0.0 }
}

/// RMS norm of 576 values a token.
pub(crate) fn of_rms_norm(device: &Device) -> Workload {
    let gamma = random([576], device);
    both_ways(TOKENS, [random([1, TOKENS, 576], device)], move |[x]| rms_norm(x, gamma.clone(), 1e-6))
}

/// Layer norm of 768 values a token.
pub(crate) fn of_layer_norm(device: &Device) -> Workload {
    let (gamma, beta) = (random([768], device), random([768], device));
    both_ways(TOKENS, [random([1, TOKENS, 768], device)], move |[x]| layer_norm(x, gamma.clone(), beta.clone(), 1e-6))
}

/// SwiGLU of 1,536 values a token.
pub(crate) fn of_gated(device: &Device) -> Workload {
    let inputs = [random([1, TOKENS, 1536], device), random([1, TOKENS, 1536], device)];
    both_ways(TOKENS, inputs, |[gate, up]| gated(Act::Silu, gate, up))
}

/// Rotary positions of 9 heads of 64.
pub(crate) fn of_rope(device: &Device) -> Workload {
    let half = || random([1, 1, 256, 32], device);
    let [cos, sin] = [half(), half()].map(|half| Tensor::cat(vec![half.clone(), half], 3));
    // Laid out position by position, as a projection gives them.
    let x = random([4, 256, 9, 64], device).swap_dims(1, 2);
    both_ways(TOKENS, [x], move |[x]| rotate(x, &cos, &sin))
}

/// Causal attention of 9 heads of 64 to 3 of keys, two rows of 512.
pub(crate) fn of_attention(device: &Device) -> Workload {
    let heads = |count| random([2, 512, count, 64], device).swap_dims(1, 2);
    let (k, v) = (heads(3), heads(3));
    let mask = Mask::causal(512, 512, device);
    let operation = move |[q, k, v]: [Tensor<4>; 3]| attention(q, k, v, Some(&mask));
    both_ways(TOKENS, [heads(9), k, v], operation)
}

/// Loss of 256 tokens of 49,152.
pub(crate) fn of_cross_entropy(device: &Device) -> Workload {
    let targets = (0..256).map(|row| row * 191).collect::<Vec<i32>>();
    both_ways(256, [random([256, 49_152], device)], move |[logits]| cross_entropy(logits, &targets).nll)
}

/// An update of 4,194,304 values.
pub(crate) fn of_adamw(device: &Device) -> Workload {
    const VALUES: usize = 1 << 22;
    let value = || random([VALUES], device);
    let gradient = value();
    let mut moving = Some(Moving { value: value(), exp_avg: value(), exp_avg_sq: value().abs() });
    let step = move || {
        for update in 1..=TIMES as u64 {
            let rates =
                Rates { beta1: 0.9, beta2: 0.999, eps: 1e-8, lr: 1e-4, weight_decay: 0.05, update, gradient: 1.0 };
            moving = moving.take().map(|moving| adamw(moving, gradient.clone(), &rates));
        }
        if let Some(moving) = &moving {
            wait(&moving.value.clone().slice_dim(0, 0..1));
        }
    };
    Workload { step: Box::new(step), tokens: (TIMES * VALUES) as f64, flops: 0.0 }
}
