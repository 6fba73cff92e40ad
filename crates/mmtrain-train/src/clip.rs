//! Global gradient norm and clipping, PyTorch's `clip_grad_norm_`.

use burn::prelude::*;
use mmtrain_model::params::FlatTensors;

/// Euclidean norm over all gradients. `[1]`
pub fn global_norm(gradients: &FlatTensors, device: &Device) -> Tensor<1> {
    let squares = gradients.values().map(|gradient| gradient.clone().square().sum());
    squares.fold(Tensor::zeros([1], device), |total, square| total + square).sqrt()
}

/// What all gradients are multiplied with: `max_norm / (norm + 1e-6)` where that is below one; 0 turns clipping off.
pub fn clip_factor(norm: f32, max_norm: f64) -> f64 {
    let factor = max_norm / (f64::from(norm) + 1e-6);
    if max_norm == 0.0 { 1.0 } else { factor.min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradients() -> FlatTensors {
        let device = Device::flex();
        FlatTensors::from([
            ("a".to_owned(), Tensor::from_data([3.0_f32, 0.0], &device)),
            ("b".to_owned(), Tensor::from_data([0.0_f32, 4.0], &device)),
        ])
    }

    #[test]
    fn the_norm_is_over_all_tensors_together() {
        let norm: f32 = global_norm(&gradients(), &Device::flex()).into_scalar();
        assert!((norm - 5.0).abs() < 1e-6);
    }

    #[test]
    fn clipping_brings_large_gradients_to_the_bound_and_leaves_small_ones() {
        assert!((5.0 * clip_factor(5.0, 1.0) - 1.0).abs() < 1e-5);
        for max_norm in [10.0, 0.0] {
            assert!((clip_factor(5.0, max_norm) - 1.0).abs() < f64::EPSILON);
        }
    }
}
