use burn::tensor::DType;
use burn::tensor::bf16;

use super::super::tests::{masks, ramp};
use super::super::{KeyRuns, in_chunks};
use super::*;

type Way = fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<&Mask>, usize) -> Tensor<4>;

/// The largest difference between the elements of two tensors, as a share of the largest element of the first.
fn difference(a: &Tensor<4>, b: &Tensor<4>) -> f32 {
    let worst: f32 = (a.clone() - b.clone()).abs().max().into_scalar();
    let largest: f32 = a.clone().abs().max().into_scalar();
    worst / largest
}

/// Output and gradients of query, key and value.
fn run(inputs: [Tensor<4>; 3], mask: Option<&Mask>, rows: usize, way: Way) -> [Tensor<4>; 4] {
    let [q, k, v] = inputs.map(|x| x.autodiff().require_grad());
    let output = way(q.clone(), k.clone(), v.clone(), mask, rows);
    let weights = (ramp(output.dims()) * 0.3 + 0.1).cast(output.dtype()).autodiff();
    let mut tape = (output.clone() * weights).sum().backward();
    let [dq, dk, dv] = [q, k, v].map(|x| x.grad_remove(&mut tape).expect("a gradient"));
    [output.inner(), dq, dk, dv]
}

fn assert_same(name: &str, inputs: &[Tensor<4>; 3], mask: Option<&Mask>) {
    for rows in [1, 4, 10] {
        let kept = run(inputs.clone(), mask, rows, in_chunks);
        let formed_again = run(inputs.clone(), mask, rows, recorded);
        let [q, k, v] = inputs.clone();
        let untaped = in_chunks(q, k, v, mask, rows);
        assert_eq!(untaped.into_data(), formed_again[0].to_data(), "{name}, {rows} rows");
        for (what, (a, b)) in ["output", "query", "key", "value"].iter().zip(kept.iter().zip(&formed_again)) {
            let worst = difference(a, b);
            assert!(worst <= 1e-6, "{name}, {rows} rows, {what}: {worst}");
        }
    }
}

#[test]
fn outputs_and_gradients_are_those_of_a_tape_that_keeps_every_weight() {
    for (name, mask) in masks() {
        for kv_heads in [1, 2, 4] {
            let inputs = [ramp([2, 4, 11, 8]), ramp([2, kv_heads, 11, 8]) * 0.9, ramp([2, kv_heads, 11, 8]) + 0.2];
            assert_same(name, &inputs, mask.as_ref());
        }
    }
}

#[test]
fn so_are_those_of_cross_attention_with_queries_that_see_nothing() {
    let sees = |query: usize, run: usize| query % 3 != 1 && run <= query / 3;
    let seen = (0..22).flat_map(|query| (0..4).map(move |run| sees(query % 11, run))).collect();
    let mask = Mask::key_runs(KeyRuns { seen, batch: 2, runs: 4, keys_per_run: 3 }, &Device::flex());
    let inputs = [ramp([2, 4, 11, 8]), ramp([2, 2, 12, 8]) * 0.9, ramp([2, 2, 12, 8]) + 0.2];
    assert_same("cross-attention", &inputs, Some(&mask));
    assert_same("cross-attention without a mask", &inputs, None);
}

#[test]
fn what_is_constant_gets_no_gradient_and_leaves_the_others_as_they_are() {
    let inputs = [ramp([1, 2, 11, 8]), ramp([1, 1, 11, 8]), ramp([1, 1, 11, 8]) + 0.2];
    let all = run(inputs.clone(), None, 4, recorded);
    for tracked in 0..3 {
        let x: [Tensor<4>; 3] = std::array::from_fn(|i| {
            let x = inputs[i].clone();
            if i == tracked { x.autodiff().require_grad() } else { x }
        });
        let [q, k, v] = x.clone();
        let output = recorded(q, k, v, None, 4);
        let mut tape = (output * (ramp([1, 2, 11, 8]) * 0.3 + 0.1).autodiff()).sum().backward();
        let gradient = x[tracked].grad_remove(&mut tape).expect("a gradient");
        assert_eq!(gradient.into_data(), all[1 + tracked].to_data(), "input {tracked}");
    }
}

#[test]
fn without_anything_to_train_there_is_no_tape() {
    let x = ramp([1, 1, 11, 8]);
    let plain = recorded(x.clone(), x.clone(), x.clone(), None, 4);
    assert!(!plain.is_autodiff());
    let constant = x.autodiff();
    let output = recorded(constant.clone(), constant.clone(), constant, None, 4);
    assert!(!output.is_tracked());
    assert_eq!(output.inner().into_data(), plain.into_data());
}

#[test]
fn half_precision_keeps_its_type_and_sums_in_f32() {
    let inputs = [ramp([1, 4, 11, 8]), ramp([1, 2, 11, 8]) * 0.9, ramp([1, 2, 11, 8]) + 0.2];
    let mask = Mask::causal(11, 11, &Device::flex());
    let exact = run(inputs.clone(), Some(&mask), 3, recorded);
    let half = run(inputs.map(|x| x.cast(DType::BF16)), Some(&mask), 3, recorded);
    for (exact, half) in exact.iter().zip(half) {
        assert_eq!(half.dtype(), DType::BF16);
        let worst = difference(exact, &half.cast(DType::F32));
        assert!(worst <= 4.0 * bf16::EPSILON.to_f32(), "{worst}");
    }
}

#[test]
fn a_backward_pass_gives_the_same_bits_again() {
    let inputs = [ramp([2, 4, 90, 16]), ramp([2, 2, 90, 16]), ramp([2, 2, 90, 16]) + 0.2];
    let mask = Mask::packed(&[vec![40, 50], vec![90]], 90, &Device::flex());
    let [first, second] = [(); 2].map(|()| run(inputs.clone(), Some(&mask), 16, recorded));
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(a.to_data(), b.to_data());
    }
}

/// On a device that makes memory-bound operations again in the backward pass.
#[test]
fn gradient_checkpointing_of_burn_does_not_disturb_it() {
    let device = Device::flex().autodiff().gradient_checkpointing();
    let inputs = [ramp([1, 2, 11, 8]), ramp([1, 1, 11, 8]), ramp([1, 1, 11, 8]) + 0.2];
    let all = run(inputs.clone(), None, 4, recorded);
    let [q, k, v] = inputs.map(|x| Tensor::<4>::from_data(x.into_data(), &device).require_grad());
    let output = recorded(q.clone() * 1.0, k.clone() * 1.0, v.clone() * 1.0, None, 4);
    let weights = Tensor::<4>::from_data((ramp([1, 2, 11, 8]) * 0.3 + 0.1).into_data(), &device);
    let mut tape = (output * weights).sum().backward();
    for (x, expected) in [q, k, v].iter().zip(&all[1..]) {
        assert_eq!(x.grad_remove(&mut tape).expect("a gradient").into_data(), expected.to_data());
    }
}
