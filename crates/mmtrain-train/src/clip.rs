//! Global gradient norm and clipping, PyTorch's `clip_grad_norm_`.

use burn::prelude::*;
use mmtrain_model::params::FlatTensors;

/// Euclidean norm over all gradients. `[1]`
pub fn global_norm(gradients: &FlatTensors, device: &Device) -> Tensor<1> {
    let squares = gradients.values().map(|gradient| gradient.clone().square().sum());
    squares.fold(Tensor::zeros([1], device), |total, square| total + square).sqrt()
}

/// Scales all gradients by `max_norm / (norm + 1e-6)` where that is below one; 0 turns clipping off.
pub fn clip(gradients: FlatTensors, norm: f32, max_norm: f64) -> FlatTensors {
    let factor = max_norm / (f64::from(norm) + 1e-6);
    if max_norm == 0.0 || factor >= 1.0 {
        return gradients;
    }
    gradients.into_iter().map(|(name, gradient)| (name, gradient * factor)).collect()
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
    fn clipping_keeps_the_direction_and_small_gradients() {
        let clipped = clip(gradients(), 5.0, 1.0);
        let norm: f32 = global_norm(&clipped, &Device::flex()).into_scalar();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        let ratio = clipped["a"].clone().max().into_scalar::<f32>() / clipped["b"].clone().max().into_scalar::<f32>();
        assert!((ratio - 0.75).abs() < 1e-6);
        let untouched = clip(gradients(), 5.0, 10.0);
        assert!((untouched["b"].clone().max().into_scalar::<f32>() - 4.0).abs() < 1e-6);
    }
}
