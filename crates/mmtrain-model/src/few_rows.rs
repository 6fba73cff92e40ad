//! Products of a few rows with a weight: what generation does for each token.
//!
//! Such a product reads every weight once and computes little, so what counts is how many bytes are read and that all cores
//! read. Weights are read where they lie, [packed](crate::quantized) or a dense table; nothing is copied. The order of sums
//! depends on the sizes alone, not on the number of threads.
//!
//! [Packed](crate::quantized) weights are multiplied with any number of rows here: of many, by a block of outputs at a time, which is
//! made dense for that and stays in a cache.
//!
//! Only for tensors in host memory that no tape records; everything else takes the usual way.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

mod dense;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_kernels::product::Matrix;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

pub(crate) use self::dense::{with_table, with_weight};

/// More rows are no few rows: from there on a matrix product that works in tiles is faster.
pub(crate) const MAX_ROWS: usize = 8;

/// Outputs that are made dense at a time for many rows.
const BLOCK: usize = 64;

/// Weights that one task reads.
const TASK: usize = 1 << 16;

/// Products with fewer weights are made by one thread.
const MIN_PARALLEL: usize = 1 << 17;

/// Whether the product of these rows with a packed weight can be made here. `[.., input]`
pub(crate) fn takes_all<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && count(x) > 0 && !x.is_autodiff() && x.device() == Device::flex()
}

/// Whether that with a dense weight can. `[.., input]`
pub(crate) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    count(x) <= MAX_ROWS && takes_all(x)
}

/// How many rows. `[.., input]`
fn count<const D: usize>(x: &Tensor<D>) -> usize {
    let dims = x.dims();
    dims.iter().product::<usize>() / dims[D - 1].max(1)
}

/// Rows in host memory.
#[derive(Debug)]
pub(crate) struct Rows {
    /// `[rows, input]`
    pub(crate) values: Vec<f32>,
    /// How many.
    pub(crate) count: usize,
    /// Values of each.
    pub(crate) input: usize,
}

impl Rows {
    /// Those of a tensor for which [`takes`] holds. `[.., input]`
    pub(crate) fn of<const D: usize>(x: &Tensor<D>) -> Self {
        let input = x.dims()[D - 1];
        let values: Vec<f32> = x.clone().into_data().try_to_vec().expect("`takes` asked for f32");
        Self { count: values.len() / input, values, input }
    }

    /// One of them.
    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.input..][..self.input]
    }
}

/// The result as a tensor of the shape of `x` but for its last axis.
pub(crate) fn shaped<const D: usize>(values: Vec<f32>, mut shape: [usize; D], output: usize) -> Tensor<D> {
    shape[D - 1] = output;
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

/// A weight that is had output by output.
pub(crate) trait Outputs: Sync {
    /// The sum over the inputs of `x` times the weights of one output.
    fn dot<S: Simd>(&self, simd: S, output: usize, x: &[f32]) -> f32;

    /// The weights of one output, into `weights`.
    fn unpack<S: Simd>(&self, simd: S, output: usize, weights: &mut [f32]);
}

/// The product of rows with a weight that is had output by output. `[rows, output]`
pub(crate) fn by_outputs(x: &Rows, output: usize, weight: &impl Outputs) -> Vec<f32> {
    let (arch, rows) = (Arch::new(), x.count);
    if rows > MAX_ROWS {
        return in_blocks(x, output, weight);
    }
    let per_task = (TASK / x.input.max(1)).max(1);
    let mut values = vec![0.0_f32; output * rows];
    let task = |(number, values): (usize, &mut [f32])| {
        arch.dispatch(Task { x, weight, first: number * per_task, values });
    };
    if x.input * output < MIN_PARALLEL {
        values.chunks_mut(per_task * rows).enumerate().for_each(task);
    } else {
        values.par_chunks_mut(per_task * rows).enumerate().for_each(task);
    }
    if rows == 1 {
        return values;
    }
    let turned = (0..rows).flat_map(|row| values.iter().skip(row).step_by(rows).copied());
    turned.collect()
}

/// The same of many rows: some outputs at a time are made dense, and multiplied with all rows.
fn in_blocks(x: &Rows, output: usize, weight: &impl Outputs) -> Vec<f32> {
    let (arch, rows) = (Arch::new(), Matrix::new(&x.values, [x.count, x.input]));
    let block = |number: usize| {
        let (first, count) = (number * BLOCK, BLOCK.min(output - number * BLOCK));
        let mut dense = vec![0.0_f32; count * x.input];
        arch.dispatch(Unpack { weight, first, input: x.input, dense: &mut dense });
        rows.times_transposed_here(Matrix::new(&dense, [count, x.input]))
    };
    let blocks: Vec<Vec<f32>> = (0..output.div_ceil(BLOCK)).into_par_iter().map(block).collect();
    let mut values = Vec::with_capacity(x.count * output);
    for row in 0..x.count {
        for block in &blocks {
            let count = block.len() / x.count;
            values.extend_from_slice(&block[row * count..][..count]);
        }
    }
    values
}

/// The weights of outputs from `first` on.
struct Unpack<'a, W> {
    weight: &'a W,
    first: usize,
    input: usize,
    /// `[outputs, input]`
    dense: &'a mut [f32],
}

impl<W: Outputs> WithSimd for Unpack<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (index, weights) in self.dense.chunks_exact_mut(self.input.max(1)).enumerate() {
            self.weight.unpack(simd, self.first + index, weights);
        }
    }
}

/// The outputs from `first` on.
struct Task<'a, W> {
    x: &'a Rows,
    weight: &'a W,
    first: usize,
    /// `[outputs, rows]`
    values: &'a mut [f32],
}

impl<W: Outputs> WithSimd for Task<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, first, values } = self;
        if x.count == 1 {
            for (index, value) in values.iter_mut().enumerate() {
                *value = weight.dot(simd, first + index, &x.values);
            }
            return;
        }
        let mut unpacked = vec![0.0_f32; x.input];
        for (index, values) in values.chunks_exact_mut(x.count).enumerate() {
            weight.unpack(simd, first + index, &mut unpacked);
            for (row, value) in values.iter_mut().enumerate() {
                *value = dot(simd, &unpacked, x.row(row));
            }
        }
    }
}

/// The sum of products, in four sums side by side.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [simd.splat_f32s(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        sums[0] = simd.mul_add_f32s(a[0], b[0], sums[0]);
        sums[1] = simd.mul_add_f32s(a[1], b[1], sums[1]);
        sums[2] = simd.mul_add_f32s(a[2], b[2], sums[2]);
        sums[3] = simd.mul_add_f32s(a[3], b[3], sums[3]);
    }
    for (a, b) in a_tail.iter().zip(b_tail) {
        sums[0] = simd.mul_add_f32s(*a, *b, sums[0]);
    }
    let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>();
    simd.reduce_sum_f32s(sum) + rest
}

#[cfg(test)]
mod tests;
