//! Attention as the device has it in one kernel (`FlashAttention`, Dao 2023), where Burn brings one.
//!
//! Burn's kernel takes no tape, and forms products from 16-bit parts whatever the tensors are: it serves what is computed in 16 bits
//! and not differentiated, such as a frozen encoder, blocks that are to be run again, and generation.

use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

use super::Mask;

/// Whether the kernel takes this: 16 bits, no tape, more than one query, and nothing hidden but later keys.
pub(super) fn takes(query: &Tensor<4>, key: &Tensor<4>, value: &Tensor<4>, mask: Option<&Mask>) -> bool {
    let is_plain = [query, key, value].into_iter().all(|tensor| !tensor.is_autodiff());
    let is_narrow = matches!(query.dtype(), DType::BF16 | DType::F16);
    let hides = mask.is_some_and(|mask| !mask.is_only_causal());
    is_plain && is_narrow && !hides && query.dims()[2] > 1 && key.dims()[3] == value.dims()[3]
}

/// As [`attention`](super::attention), with what [`takes`] takes.
pub(super) fn flash(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Mask>) -> Tensor<4> {
    let heads = query.dims()[1];
    let options = AttentionModuleOptions { is_causal: mask.is_some(), ..AttentionModuleOptions::default() };
    attention(query, each_head(key, heads), each_head(value, heads), None, None, options)
}

/// `[batch, kv_heads, keys, head_dim]` once for each of `heads`: the kernel knows no groups.
fn each_head(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, kv_heads, keys, width] = x.dims();
    if kv_heads == heads {
        return x;
    }
    let repeated =
        x.reshape([batch, kv_heads, 1, keys, width]).expand([batch, kv_heads, heads / kv_heads, keys, width]);
    repeated.reshape([batch, heads, keys, width])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::attention::in_chunks;

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    fn assert_near(a: Tensor<4>, b: Tensor<4>) {
        let worst = (a - b).abs().max().into_scalar::<f32>();
        assert!(worst < 1e-5, "{worst}");
    }

    /// In f32 on the CPU, where Burn's attention is exact: heads, scale and direction are what ours are.
    #[test]
    fn the_kernel_is_asked_for_the_same_attention() {
        let device = Device::flex();
        let (query, key) = (random([2, 6, 5, 8], &device), random([2, 2, 5, 8], &device));
        let value = random([2, 2, 5, 8], &device);
        let causal = Mask::causal(5, 5, &device);
        for mask in [None, Some(&causal)] {
            let ours = in_chunks(query.clone(), key.clone(), value.clone(), mask, 5);
            assert_near(flash(query.clone(), key.clone(), value.clone(), mask), ours);
        }
        // the last queries of a longer sequence
        let late = Mask::causal(3, 5, &device);
        let query = query.slice([0..2, 0..6, 2..5]);
        let ours = in_chunks(query.clone(), key.clone(), value.clone(), Some(&late), 3);
        assert_near(flash(query, key, value, Some(&late)), ours);
    }

    #[test]
    fn what_is_hidden_otherwise_and_what_is_recorded_is_not_taken() {
        let device = Device::flex();
        let narrow = |x: Tensor<4>| x.cast(DType::BF16);
        let x = random([1, 1, 4, 8], &device);
        let causal = Mask::causal(4, 4, &device);
        let takes = |x: &Tensor<4>, mask| takes(x, x, x, mask);
        assert!(takes(&narrow(x.clone()), None) && takes(&narrow(x.clone()), Some(&causal)));
        assert!(!takes(&x, None), "f32");
        assert!(!takes(&narrow(x.clone()).autodiff(), None), "a tape");
        assert!(!takes(&narrow(x.clone().slice([0..1, 0..1, 0..1])), None), "one query");
        let hidden = [
            Mask::causal(4, 4, &device).with_window(2),
            Mask::causal_with_padding(&[0, 1, 1, 1], 1, 4, &device),
            Mask::packed(&[vec![2, 2]], 4, &device),
            Mask::block_diagonal(&[2, 2], &device),
        ];
        assert!(hidden.iter().all(|mask| !takes(&narrow(x.clone()), Some(mask))));
    }
}
