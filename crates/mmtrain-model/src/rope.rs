//! Rotary position embedding, the rotate-half form of `transformers` (Su et al., 2021, arXiv:2104.09864).
//!
//! Frequencies and tables are made on the host in f64/f32 once per forward pass; the scaling rules
//! follow `modeling_rope_utils.py`.

use std::f64::consts::TAU;

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::config::RopeScaling;

/// Cosine and sine tables for a run of positions.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// `[1, 1, seq, head_dim]`, the half tables concatenated twice.
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RopeTable {
    /// Tables for positions `start .. start + seq`.
    pub fn new(frequencies: &[f64], start: usize, seq: usize, device: &Device) -> Self {
        let head_dim = frequencies.len() * 2;
        let table = |f: fn(f32) -> f32| {
            let values = (start..start + seq)
                .flat_map(|position| {
                    let angles = frequencies.iter().map(move |&freq| freq as f32 * position as f32);
                    angles.clone().chain(angles)
                })
                .map(f)
                .collect::<Vec<f32>>();
            Tensor::from_data(TensorData::new(values, [1, 1, seq, head_dim]), device)
        };
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// Rotates queries or keys by their position.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, heads, seq, head_dim]`; returns the same
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let low = x.clone().slice_dim(3, 0..half);
        let high = x.clone().slice_dim(3, half..2 * half);
        let rotated = Tensor::cat(vec![-high, low], 3);
        let (cos, sin) = (self.cos.clone().cast(x.dtype()), self.sin.clone().cast(x.dtype()));
        x * cos + rotated * sin
    }
}

/// Inverse frequencies `theta^(-2i / head_dim)`, scaled as the checkpoint asks. `[head_dim / 2]`
pub fn frequencies(head_dim: usize, theta: f64, scaling: &RopeScaling) -> Vec<f64> {
    (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).map(|freq| scale(freq, scaling)).collect()
}

fn scale(freq: f64, scaling: &RopeScaling) -> f64 {
    match *scaling {
        RopeScaling::None => freq,
        RopeScaling::Linear { factor } => freq / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => {
            let wavelength = TAU / freq;
            let original = original_max_position as f64;
            if wavelength < original / high_freq_factor {
                freq
            } else if wavelength > original / low_freq_factor {
                freq / factor
            } else {
                let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * freq / factor + smooth * freq
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    fn dot(a: Tensor<4>, b: Tensor<4>) -> f32 {
        (a * b).sum().into_scalar()
    }

    #[test]
    fn scores_depend_on_the_distance_only() {
        let device = Device::flex();
        let freq = frequencies(8, 10_000.0, &RopeScaling::None);
        let q = Tensor::<4>::from_data([[[[0.3f32, -1.0, 0.5, 2.0, 1.5, -0.2, 0.1, 0.9]]]], &device);
        let k = Tensor::<4>::from_data([[[[1.3f32, 0.4, -0.5, 1.0, 0.5, -1.2, 2.1, 0.3]]]], &device);
        let at = |x: &Tensor<4>, position| RopeTable::new(&freq, position, 1, &device).apply(x.clone());
        let near = dot(at(&q, 5), at(&k, 3));
        let far = dot(at(&q, 105), at(&k, 103));
        assert!((near - far).abs() < 1e-4, "{near} vs {far}");
    }

    #[test]
    fn position_zero_is_the_identity() {
        let device = Device::flex();
        let freq = frequencies(4, 10_000.0, &RopeScaling::None);
        let x = Tensor::<4>::from_data([[[[1.0f32, 2.0, 3.0, 4.0]]]], &device);
        let y = RopeTable::new(&freq, 0, 1, &device).apply(x.clone());
        y.into_data().assert_approx_eq::<f32>(&x.into_data(), Tolerance::absolute(0.0));
    }
}
