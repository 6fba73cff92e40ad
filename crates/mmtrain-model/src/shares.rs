//! All cores at work where no tape records: shares of a tensor go through the same layers at the same time.
//!
//! A product of matrices is spread over the cores, but what stands between two of them is often made by one thread: a result is
//! zeroed, copied, a bias added. Shares do not wait for each other, so that one is multiplied while another is copied. In training
//! each rank has a thread of its own and nothing is shared out.

use burn::prelude::*;
use rayon::prelude::*;

/// `net` of shares of `x` along `axis`, one for each thread at most, each at least `least` long; of all of `x` at once where a tape
/// records, or on another device than the CPU. It has to treat what lies along the axis one by one.
pub(crate) fn in_shares<const D: usize>(
    x: Tensor<D>,
    axis: usize,
    least: usize,
    net: impl Fn(Tensor<D>) -> Tensor<D> + Sync,
) -> Tensor<D> {
    let shares = rayon::current_num_threads().min(x.dims()[axis] / least.max(1));
    if shares <= 1 || x.is_autodiff() || x.device() != Device::flex() {
        return net(x);
    }
    let results = x.chunk(shares, axis).into_par_iter().map(&net).collect();
    Tensor::cat(results, axis)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn::tensor::TensorData;

    use super::*;

    fn numbers(shape: [usize; 3]) -> Tensor<3> {
        let values = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// The result, and how many shares there were.
    fn doubled(x: Tensor<3>, axis: usize, least: usize) -> (Tensor<3>, usize) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("three threads");
        let count = AtomicUsize::new(0);
        let net = |x: Tensor<3>| {
            count.fetch_add(1, Ordering::Relaxed);
            x * 2.0
        };
        let result = pool.install(|| in_shares(x, axis, least, net));
        (result, count.into_inner())
    }

    #[test]
    fn shares_come_together_in_order() {
        let x = numbers([7, 5, 2]);
        for (axis, least, expected) in [(0, 1, 3), (1, 1, 3), (0, 3, 2), (0, 4, 1)] {
            let (result, shares) = doubled(x.clone(), axis, least);
            assert_eq!(shares, expected);
            result.into_data().assert_eq(&(x.clone() * 2.0).into_data(), true);
        }
        assert_eq!(doubled(x.autodiff(), 0, 1).1, 1);
    }
}
