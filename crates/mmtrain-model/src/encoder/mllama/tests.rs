//! What the fixtures cannot show: the chain's bookkeeping, and inputs that are refused.

use burn::tensor::{Distribution, TensorData};

use super::*;
use crate::config::Activation;
use crate::params::{Part, assign};

fn config() -> MllamaVisionConfig {
    MllamaVisionConfig {
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 3,
        num_global_layers: 2,
        num_attention_heads: 2,
        image_size: 6,
        patch_size: 2,
        norm_eps: 1e-5,
        max_num_tiles: 2,
        saved_layers: vec![0, 2],
        aspect_ratios: vec![[1, 1], [2, 1]],
        hidden_act: Activation::Gelu,
    }
}

/// A tower of random numbers.
fn tower() -> MllamaVision {
    let device = Device::flex();
    device.seed(7);
    let random = |shape: usize| Tensor::random([shape], Distribution::Normal(0.0, 0.5), &device);
    assign(MllamaVision::new(&config(), &device), Part::Encoder, &mut |info| Some(random(info.elements())))
}

fn patches(images: usize) -> Tensor<3> {
    Tensor::random([2 * images, 9, 12], Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn worst(a: Tensor<3>, b: Tensor<3>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn saved_states_travel_behind_the_current_one() {
    let (tower, context) = (tower(), MllamaContext::new(&[1, 2], &config(), &Device::flex()).expect("known ids"));
    let mut x = tower.embed(patches(2), &context);
    let mut states = vec![x.clone()];
    for step in tower.steps() {
        x = step.forward(x, &context);
        states.push(x.clone());
    }
    let channels = states.iter().map(|x| x.dims()[2]).collect::<Vec<_>>();
    assert_eq!(channels, [8, 16, 16, 24, 24, 24, 24], "stem, three blocks, what is between, two blocks");
    let current = |x: &Tensor<3>| x.clone().slice_dim(2, 0..8);
    for (behind, saved) in [(1, 8..16), (3, 16..24)] {
        assert!(worst(current(&states[behind]), states[6].clone().slice_dim(2, saved)) == 0.0);
    }
    let output = tower.finish(x, &context);
    assert_eq!(output.dims(), [4, 10, 24]);
    let channel = |x: &Tensor<3>, at: usize| x.clone().slice_dim(2, at..at + 1);
    for (at, of) in [(8, 8), (9, 16), (10, 9), (11, 17)] {
        let expected = context.without_padding(states[6].clone());
        assert!(worst(channel(&output, at), channel(&expected, of)) == 0.0, "channel {at}");
    }
}

#[test]
fn steps_are_named_by_their_place_in_the_tower() {
    let tower = tower();
    let scopes = (0..6).map(|index| tower.step_scope(index)).collect::<Vec<_>>();
    assert_eq!(scopes[2..5], ["transformer.layers.2.", "", "global_transformer.layers.0."]);
    assert_eq!(tower.steps().len(), 6);
}

#[test]
fn real_tokens_see_a_tile_that_holds_nothing() {
    let (tower, context) = (tower(), MllamaContext::new(&[1], &config(), &Device::flex()).expect("a known id"));
    assert_eq!(context.real_tiles(), [1]);
    let first = patches(1);
    let other = Tensor::cat(vec![first.clone().slice_dim(0, 0..1), patches(1).slice_dim(0, 1..2)], 0);
    let of_real = |x| tower.forward(x, &context).slice_dim(0, 0..1);
    assert!(worst(of_real(first.clone()), of_real(other)) > 1e-3);
    assert!(worst(of_real(first.clone()), of_real(first)) == 0.0);
}

#[test]
fn an_aspect_ratio_that_there_is_not_is_refused() {
    let error = MllamaContext::new(&[1, 3], &config(), &Device::flex()).expect_err("two ratios");
    assert!(error.to_string().contains("no aspect ratio 3"), "{error}");
}

#[test]
fn gates_of_a_new_tower_are_as_the_references() {
    let tower = MllamaVision::new(&config(), &Device::flex());
    let value = |gate: &Param<Tensor<1>>| gate.val().into_data();
    let gate = tower.global_transformer.layers[1].gate_ffn.as_ref().expect("a gate");
    assert_eq!(value(gate), TensorData::new(vec![std::f32::consts::FRAC_PI_4], [1]));
    assert!(tower.transformer.layers[0].gate_attn.is_none());
}
