//! Random weights: a pure function of seed and parameter name, whatever the order of construction.
//!
//! Matrices and tables are normal(0, 0.02) as in `transformers` (`initializer_range`), wider in narrow
//! models; the projections back into the residual stream are scaled by `1 / sqrt(2 * layers)` (GPT-2,
//! Radford et al., 2019); norms are one, biases zero. Of an adapter, `A` is uniform as in PEFT and `B` is zero.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::prelude::*;
use burn::tensor::TensorData;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::params::ParamInfo;

const STD: f64 = 0.02;

/// The initial value of one parameter. `[elements]`
pub fn init_param(info: &ParamInfo, seed: u64, num_layers: usize) -> Tensor<1> {
    let device = Device::flex();
    let elements = info.elements();
    match kind(info) {
        Kind::One => Tensor::ones([elements], &device),
        Kind::Zero => Tensor::zeros([elements], &device),
        Kind::Sinusoids { positions, width } => {
            Tensor::from_data(TensorData::new(sinusoids(positions, width), [elements]), &device)
        }
        Kind::Uniform { bound } => {
            Tensor::from_data(TensorData::new(uniform(&info.name, seed, elements, bound), [elements]), &device)
        }
        Kind::Normal { std } => {
            let std = if is_residual_output(&info.name) { std / (2.0 * num_layers.max(1) as f64).sqrt() } else { std };
            Tensor::from_data(TensorData::new(normal(&info.name, seed, elements, std), [elements]), &device)
        }
    }
}

enum Kind {
    One,
    Zero,
    Sinusoids { positions: usize, width: usize },
    Uniform { bound: f64 },
    Normal { std: f64 },
}

fn kind(info: &ParamInfo) -> Kind {
    match info.shape.as_slice() {
        // `kaiming_uniform_(a = sqrt(5))` of `lora_A`; `B` is zero, so that a fresh adapter adds nothing.
        [fan_in, _] if info.name.ends_with(".lora_A.weight") => Kind::Uniform { bound: (*fan_in as f64).powf(-0.5) },
        [_, _] if info.name.ends_with(".lora_B.weight") => Kind::Zero,
        [_] if info.name.ends_with("class_embedding") => Kind::Normal { std: STD },
        // Of the size that `LlavaNextForConditionalGeneration` gives it.
        [width] if info.name.ends_with("image_newline") => Kind::Normal { std: (*width as f64).powf(-0.5) },
        [_] if info.name.rsplit('.').next() == Some("bias") => Kind::Zero,
        // tanh(0) = 0: a cross-attention layer starts as the identity (Flamingo, arXiv:2204.14198).
        [_] if info.name.ends_with("_gate") => Kind::Zero,
        [_] => Kind::One,
        [positions, width] if info.name.ends_with("embed_positions.weight") => {
            Kind::Sinusoids { positions: *positions, width: *width }
        }
        // Narrow layers need more than 0.02 to pass a signal on: LeCun's 1/sqrt(fan_in) where that is larger.
        [fan_in, _] if info.decays() => Kind::Normal { std: STD.max((*fan_in as f64).powf(-0.5)) },
        // As large as a table of sines and cosines, so that positions are seen beside patches of unit size.
        [_, _] if info.name.ends_with("position_embedding.weight") => Kind::Normal { std: FRAC_1_SQRT_2 },
        // Token embeddings: the same rule as for matrices, so that attention's output does not drown them.
        [_, width] => Kind::Normal { std: STD.max((*width as f64).powf(-0.5)) },
        _ => Kind::Normal { std: STD },
    }
}

fn is_residual_output(name: &str) -> bool {
    let ends = [
        "out_proj.weight",
        "fc2.weight",
        "o_proj.weight",
        "down_proj.weight",
        "attention.output_proj.weight",
        "mlp.c_proj.weight",
    ];
    ends.iter().any(|end| name.ends_with(end))
}

/// The positions of Whisper's encoder, which are never trained: sines, then cosines, of wavelengths from 2 pi to 10,000 * 2 pi.
/// `[positions, width]` (`sinusoids` of `modeling_whisper.py`)
fn sinusoids(positions: usize, width: usize) -> Vec<f32> {
    let half = width / 2;
    let increment = 10_000_f64.ln() / (half.max(2) - 1) as f64;
    let angle = |position: usize, channel: usize| position as f64 * (-increment * channel as f64).exp();
    let row = |position: usize| {
        let angles = (0..half).map(move |channel| angle(position, channel));
        let zeros = std::iter::repeat_n(0.0, width - 2 * half);
        angles.clone().map(f64::sin).chain(angles.map(f64::cos)).chain(zeros).map(|value| value as f32)
    };
    (0..positions).flat_map(row).collect()
}

/// A stream of random numbers keyed by seed and name.
fn stream(name: &str, seed: u64) -> ChaCha8Rng {
    let mut key = blake3::Hasher::new();
    key.update(&seed.to_le_bytes()).update(name.as_bytes());
    ChaCha8Rng::from_seed(*key.finalize().as_bytes())
}

/// Uniform between `-bound` and `bound`.
fn uniform(name: &str, seed: u64, elements: usize, bound: f64) -> Vec<f32> {
    let mut rng = stream(name, seed);
    (0..elements).map(|_| (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32).collect()
}

/// Standard normals by Box and Muller.
fn normal(name: &str, seed: u64, elements: usize, std: f64) -> Vec<f32> {
    let mut rng = stream(name, seed);
    let mut values = Vec::with_capacity(elements + 1);
    while values.len() < elements {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        values.push((std * radius * angle.cos()) as f32);
        values.push((std * radius * angle.sin()) as f32);
    }
    values.truncate(elements);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sinusoids(3, 4)` of `transformers` 4.57.
    #[test]
    fn positions_of_sound_are_whispers() {
        let expected = [0.0, 0.0, 1.0, 1.0, 0.841_471, 0.000_1, 0.540_302, 1.0, 0.909_297, 0.000_2, -0.416_147, 1.0];
        for (found, expected) in sinusoids(3, 4).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
        }
    }

    #[test]
    fn values_have_the_asked_spread_and_depend_on_name_and_seed() {
        let a = normal("a", 1, 20_000, 0.02);
        let variance = a.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / a.len() as f64;
        assert!((variance.sqrt() - 0.02).abs() < 5e-4, "{}", variance.sqrt());
        assert_eq!(a, normal("a", 1, 20_000, 0.02));
        assert_ne!(a, normal("b", 1, 20_000, 0.02));
        assert_ne!(a, normal("a", 2, 20_000, 0.02));
    }
}
