//! The kernels one by one, forward and backward, in the shapes of a decoder of 135 M and of a tower of 86 M.

use burn::prelude::*;
use mmtrain_kernels::{
    Act, Moving, Rates, activation, adamw, by_table, cross_entropy, gated, gated_linear, layer_norm, linear, rms_norm,
    rotate,
};
use mmtrain_model::attention::{Mask, attention};
use mmtrain_model::config::TextConfig;
use mmtrain_model::params::FlatTensors;
use mmtrain_train::objective::{Supervised, Weights, head_loss};

use crate::jobs::{DECODER, smaller_text};
use crate::shapes::{precision, qwen2_vl, random, text_only, wait};
use crate::training::Training;
use crate::{Place, Size, Workload};

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
pub(crate) fn of_rms_norm(Place { device, .. }: &Place) -> Workload {
    let gamma = random([576], device);
    both_ways(TOKENS, [random([1, TOKENS, 576], device)], move |[x]| rms_norm(x, gamma.clone(), 1e-6))
}

/// Layer norm of 768 values a token.
pub(crate) fn of_layer_norm(Place { device, .. }: &Place) -> Workload {
    let (gamma, beta) = (random([768], device), random([768], device));
    both_ways(TOKENS, [random([1, TOKENS, 768], device)], move |[x]| layer_norm(x, gamma.clone(), beta.clone(), 1e-6))
}

/// SwiGLU of 1,536 values a token.
pub(crate) fn of_gated(Place { device, .. }: &Place) -> Workload {
    let inputs = [random([1, TOKENS, 1536], device), random([1, TOKENS, 1536], device)];
    both_ways(TOKENS, inputs, |[gate, up]| gated(Act::Silu, gate, up))
}

/// GELU of 3,072 values a token.
pub(crate) fn of_activation(Place { device, .. }: &Place) -> Workload {
    both_ways(TOKENS, [random([1, TOKENS, 3072], device)], |[x]| activation(Act::GeluTanh, x))
}

/// A linear layer of 576 inputs and 1,536 outputs, with the gradient of its weights.
pub(crate) fn of_linear(Place { device, .. }: &Place) -> Workload {
    let inputs = [random([TOKENS, 576], device), random([576, 1536], device)];
    both_ways(TOKENS, inputs, |[x, weight]| linear(x, weight, None))
}

/// SwiGLU of 1,536 values a token and the linear layer to 576 behind it.
pub(crate) fn of_gated_linear(Place { device, .. }: &Place) -> Workload {
    let inner = || random([TOKENS, 1536], device);
    let inputs = [inner(), inner(), random([1536, 576], device)];
    both_ways(TOKENS, inputs, |[gate, up, weight]| gated_linear(Act::Silu, [gate, up], weight))
}

/// The output projection of 256 tokens of 576 by a table of 8,192.
pub(crate) fn of_table(Place { device, .. }: &Place) -> Workload {
    let inputs = [random([256, 576], device), random([8192, 576], device)];
    both_ways(256, inputs, |[x, table]| by_table(x, table))
}

/// Rotary positions of 9 heads of 64.
pub(crate) fn of_rope(Place { device, .. }: &Place) -> Workload {
    let half = || random([1, 1, 256, 32], device);
    let [cos, sin] = [half(), half()].map(|half| Tensor::cat(vec![half.clone(), half], 3));
    // Laid out position by position, as a projection gives them.
    let x = random([4, 256, 9, 64], device).swap_dims(1, 2);
    both_ways(TOKENS, [x], move |[x]| rotate(x, &cos, &sin))
}

/// Causal attention of 9 heads of 64 to 3 of keys, two rows of 512.
pub(crate) fn of_attention(Place { device, .. }: &Place) -> Workload {
    let heads = |count| random([2, 512, count, 64], device).swap_dims(1, 2);
    let (k, v) = (heads(3), heads(3));
    let mask = Mask::causal(512, 512, device);
    let operation = move |[q, k, v]: [Tensor<4>; 3]| attention(q, k, v, Some(&mask));
    both_ways(TOKENS, [heads(9), k, v], operation)
}

/// Causal attention of 32 heads of 128, one row, once.
pub(crate) fn of_long_attention(tokens: usize, Place { device, size, .. }: &Place) -> Workload {
    let seq = if *size == Size::Small { tokens.min(256) } else { tokens };
    let heads = || random([1, seq, 32, 128], device).cast(precision(device)).swap_dims(1, 2);
    let mask = Mask::causal(seq, seq, device);
    let inputs = [heads(), heads(), heads()];
    let step = move || {
        let leaves = inputs.clone().map(|input| input.autodiff().require_grad());
        let [q, k, v] = leaves.clone();
        let tape = attention(q, k, v, Some(&mask)).sum().backward();
        wait(&leaves[0].grad(&tape).expect("each has one").slice([0..1, 0..1, 0..1, 0..1]));
    };
    // Two products forward and five backward, over all keys.
    let flops = 7.0 * 2.0 * 32.0 * 128.0 * (seq * seq) as f64;
    Workload { step: Box::new(step), tokens: seq as f64, flops }
}

/// Output projection of Qwen2-VL-2B and loss of some tokens, with the gradients of both.
pub(crate) fn of_head(tokens: usize, Place { device, size, .. }: &Place) -> std::io::Result<Workload> {
    let (text, rows) = match size {
        Size::Whole => (qwen2_vl(), tokens),
        Size::Small => (smaller_text(qwen2_vl()), tokens.min(64)),
    };
    let text = TextConfig { num_hidden_layers: 1, ..text };
    let Training { model, plan, .. } = Training::new(&text_only(text.clone()), DECODER, device, 1)?;
    let states = random([rows, text.hidden_size], device).cast(precision(device));
    let target = (0..rows).map(|row| (row * 73 % text.vocab_size) as i32).collect();
    let supervised = Supervised { index: (0..rows as i32).collect(), target, answer: vec![None; rows] };
    let step = move || {
        let mut gradients = FlatTensors::new();
        let weights = Some(Weights::Mean(rows as f64));
        let loss = head_loss(&model.decoder, &states, &supervised, &plan, weights, &mut gradients);
        // What is read last is computed last.
        assert!(loss.sums.read().0.is_finite(), "a loss went wrong");
        gradients.values().next_back().into_iter().for_each(|gradient| wait(&gradient.clone().slice_dim(0, 0..1)));
    };
    let flops = 3.0 * 2.0 * (rows * text.hidden_size * text.vocab_size) as f64;
    Ok(Workload { step: Box::new(step), tokens: rows as f64, flops })
}

/// Loss of 256 tokens of 49,152.
pub(crate) fn of_cross_entropy(Place { device, .. }: &Place) -> Workload {
    let targets = (0..256).map(|row| row * 191).collect::<Vec<i32>>();
    both_ways(256, [random([256, 49_152], device)], move |[logits]| cross_entropy(logits, &targets).nll)
}

/// An update of 4,194,304 values.
pub(crate) fn of_adamw(Place { device, .. }: &Place) -> Workload {
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
