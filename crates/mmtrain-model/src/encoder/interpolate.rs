//! Resampling a square table of positions to another grid of patches.
//!
//! `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` in f32, written as one
//! matrix of weights per axis. Without antialiasing Keys' cubic kernel has a = -0.75 and the taps
//! outside repeat the border (`UpSampleKernel.cpp`); with it a = -0.5, the kernel is stretched when
//! shrinking, and taps outside are left out.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};

/// How positions between the table's rows are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Four taps, a = -0.75.
    Bicubic,
    /// As many taps as the shrinking asks for, a = -0.5 (`antialias=True`).
    Antialiased,
}

/// Resamples a table for a grid of `[rows, cols]` patches.
///
/// # Shapes
///
/// - `table`: `[side * side, hidden]`; returns `[rows * cols, hidden]` in the type of `table`
pub fn resample(table: Tensor<2>, side: usize, [rows, cols]: [usize; 2], kernel: Kernel) -> Tensor<2> {
    let hidden = table.dims()[1];
    let (dtype, device) = (table.dtype(), table.device().inner());
    let weights = |to: usize| {
        Tensor::<2>::from_data(TensorData::new(kernel.weights(side, to), [to, side]), &device).cast(DType::F32)
    };
    let x = weights(rows).matmul(table.cast(DType::F32).reshape([side, side * hidden]));
    let x = x.reshape([rows, side, hidden]).swap_dims(0, 1).reshape([side, rows * hidden]);
    let x = weights(cols).matmul(x).reshape([cols, rows, hidden]).swap_dims(0, 1);
    x.reshape([rows * cols, hidden]).cast(dtype)
}

impl Kernel {
    /// Weights of `from` inputs in each of `to` outputs. `[to, from]`, row-major
    fn weights(self, from: usize, to: usize) -> Vec<f32> {
        let scale = from as f64 / to as f64;
        let row = |index: usize| {
            let center = (index as f64 + 0.5) * scale;
            match self {
                Self::Bicubic => border_row(center - 0.5, from),
                Self::Antialiased => stretched_row(center, scale.max(1.0), from),
            }
        };
        (0..to).flat_map(row).map(|weight| weight as f32).collect()
    }
}

/// Four taps around `at`; what lies outside is the border.
fn border_row(at: f64, from: usize) -> Vec<f64> {
    let mut row = vec![0.0; from];
    let first = at.floor() as i64 - 1;
    for tap in first..first + 4 {
        row[tap.clamp(0, from as i64 - 1) as usize] += keys(at - tap as f64, -0.75);
    }
    row
}

/// All taps within two stretched units of `center`, their weights summing to one.
fn stretched_row(center: f64, stretch: f64, from: usize) -> Vec<f64> {
    let support = 2.0 * stretch;
    let start = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(from);
    let mut row = vec![0.0; from];
    for (tap, weight) in row.iter_mut().enumerate().take(end).skip(start) {
        *weight = keys((tap as f64 - center + 0.5) / stretch, -0.5);
    }
    let sum = row.iter().sum::<f64>();
    row.iter().map(|weight| weight / sum).collect()
}

/// Keys' cubic convolution kernel (Keys, 1981).
fn keys(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_the_same_size_stays_as_it_is() {
        for kernel in [Kernel::Bicubic, Kernel::Antialiased] {
            let weights = kernel.weights(3, 3);
            let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
            assert!(weights.iter().zip(identity).all(|(w, one)| (w - one).abs() < 1e-6), "{weights:?}");
        }
    }

    /// First two outputs of `F.interpolate` on each unit vector of four, with and without `antialias`.
    #[test]
    fn weights_are_those_of_torch() {
        let close = |kernel: Kernel, expected: [f32; 8]| {
            let weights = kernel.weights(4, 3);
            let found = &weights[..8];
            assert!(found.iter().zip(expected).all(|(w, e)| (w - e).abs() < 1e-6), "{kernel:?} {found:?}");
        };
        let (border, middle) =
            ([0.856_481_7, 0.160_879_7, -0.017_361_2, 0.0], [-0.093_75, 0.593_75, 0.593_75, -0.093_75]);
        close(Kernel::Bicubic, [border, middle].concat().try_into().expect("eight"));
        let (border, middle) =
            ([0.752_860_4, 0.304_347_8, -0.057_208_2, 0.0], [-0.035_201_2, 0.535_201_1, 0.535_201_1, -0.035_201_2]);
        close(Kernel::Antialiased, [border, middle].concat().try_into().expect("eight"));
    }
}
