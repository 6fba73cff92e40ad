//! Workloads of fixed shapes with random weights and inputs, and how long they take.
//!
//! Each [`Row`] is what a training run or an answer does, through the same code, without data and files around it. Its shapes
//! are those of `scripts/bench/peer.py`, which does the same with PyTorch; `scripts/bench/compare.sh` runs both in turn.

mod answering;
mod jobs;
mod kernels;
mod pairs;
mod pictures;
mod product;
pub mod rates;
mod rows;
mod saving;
mod shapes;
mod tower;
mod training;

use std::time::Instant;

use burn::tensor::Device;
use mmtrain_train::memory::{of_device, peak_bytes};

pub use rows::{Amount, Row, RowError, Set};

/// Where a workload runs, and in which size.
#[derive(Debug, Clone)]
pub struct Place {
    /// The device.
    pub device: Device,
    /// Micro-batches that are computed at the same time.
    pub ranks: usize,
    /// Whether models have the sizes that they should have.
    pub size: Size,
}

/// How large the models of a workload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As they should be.
    Whole,
    /// A quarter as wide, of two blocks and few words, with two rows at most, and text an eighth as long: to try a workload, not to measure it.
    Small,
}

/// Something that can be done again and again.
struct Workload {
    /// Once; it ends when the device is through with it.
    step: Box<dyn FnMut()>,
    /// Tokens of a step; pictures, where there are only those.
    tokens: f64,
    /// Floating-point operations of a step, as the shapes need them.
    flops: f64,
}

/// How long a workload took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was measured.
    pub row: Row,
    /// Of each step.
    pub seconds: Vec<f64>,
    /// Tokens of a step.
    pub tokens: f64,
    /// Floating-point operations of a step.
    pub flops: f64,
    /// Highest resident memory of the process.
    pub peak_bytes: u64,
    /// What the allocator of a GPU has taken, which it keeps.
    pub device_bytes: Option<f64>,
}

impl Measured {
    /// The middle one of the steps, in seconds.
    pub fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Tokens a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens / self.median()
    }

    /// 10⁹ floating-point operations a second.
    pub fn gflops(&self) -> f64 {
        self.flops / self.median() / 1e9
    }
}

/// Runs a workload `steps` times after `warmup` times that do not count. Peak memory is that of the process, so a figure for
/// it wants a process for each row.
///
/// # Errors
///
/// If the threads of the ranks cannot be had, nothing can be written among the temporary files, or the row takes nothing of this device.
pub fn measure(row: Row, place: &Place, warmup: usize, steps: usize) -> std::io::Result<Measured> {
    let Workload { mut step, tokens, flops } = row.workload(place)?;
    (0..warmup).for_each(|_| step());
    let mut timed = || {
        let start = Instant::now();
        step();
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..steps).map(|_| timed()).collect();
    let reserved = of_device(&place.device).find(|(name, _)| name == "device/bytes_reserved");
    let device_bytes = reserved.map(|(_, bytes)| bytes);
    Ok(Measured { row, seconds, tokens, flops, peak_bytes: peak_bytes(), device_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Place {
        Place { device: Device::flex(), ranks: 1, size: Size::Small }
    }

    fn named(name: &str) -> Row {
        name.parse().expect("a row")
    }

    #[test]
    fn a_product_is_measured() {
        let measured = measure(named("gemm"), &small(), 0, 3).expect("no threads are needed");
        assert_eq!(measured.seconds.len(), 3);
        assert!(measured.gflops() > 0.0 && measured.peak_bytes > 0 && measured.device_bytes.is_none());
    }

    #[test]
    fn every_kernel_runs_both_ways() {
        for row in Row::of(Set::Kernels) {
            let measured = measure(row, &small(), 0, 1).expect("nothing can be lacking");
            assert!(measured.tokens_per_second() > 0.0, "{}", row.name);
        }
    }

    /// A loss that is no number ends a step with a panic.
    #[test]
    fn what_is_for_a_gpu_runs_here_in_small() {
        for row in Row::of(Set::Gpu).filter(|row| row.name != "gemm_bf16_cublaslt") {
            let measured = measure(row, &small(), 0, 1).expect("nothing can be lacking");
            assert!(measured.tokens_per_second() > 0.0 && measured.gflops() > 0.0, "{}", row.name);
        }
    }

    #[test]
    fn a_library_of_gpus_takes_nothing_of_a_cpu() {
        let error = measure(named("gemm_bf16_cublaslt"), &small(), 0, 1).expect_err("no CUDA memory");
        assert!(error.to_string().contains("CUDA"), "{error}");
    }
}
