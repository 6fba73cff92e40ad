//! Dense weights, which are read in place.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

use burn::prelude::*;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Outputs, Rows, by_outputs, dot, flex};

/// A smaller weight is left to the usual way, which the caches make as fast.
const MIN_WEIGHTS: usize = 1 << 16;
/// Columns that a task sums at once: its sums stay in the innermost cache.
const COLUMNS: usize = 4096;
/// Inputs that a task sums where there are too few columns for many tasks.
const INPUTS: usize = 64;

/// The product of rows with a dense weight; none where its values cannot be read in place, or it is small.
///
/// # Shapes
///
/// - `weight`: `[input, output]`
/// - returns: `[rows, output]`
pub(crate) fn dense(x: &Rows, weight: &Tensor<2>) -> Option<Vec<f32>> {
    let [input, output] = weight.dims();
    if input * output < MIN_WEIGHTS {
        return None;
    }
    let weight = flex(weight)?;
    let values = weight.storage::<f32>().get(weight.layout().start_offset()..)?.get(..input * output)?;
    match *weight.layout().strides() {
        [first, 1] if first == output as isize => Some(by_inputs(x, output, values)),
        [1, second] if second == input as isize => Some(by_outputs(x, output, &Matrix { values, input })),
        _ => None,
    }
}

/// `[output, input]`
struct Matrix<'a> {
    values: &'a [f32],
    input: usize,
}

impl Outputs for Matrix<'_> {
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, output: usize, x: &[f32]) -> f32 {
        dot(simd, &self.values[output * self.input..][..self.input], x)
    }

    #[inline(always)]
    fn unpack<S: Simd>(&self, _: S, output: usize, weights: &mut [f32]) {
        weights.copy_from_slice(&self.values[output * self.input..][..self.input]);
    }
}

/// The product with a weight that lies as `[input, output]`. `[rows, output]`
fn by_inputs(x: &Rows, output: usize, weight: &[f32]) -> Vec<f32> {
    let arch = Arch::new();
    let columns = output.min(COLUMNS);
    let inputs = if output > 2 * COLUMNS { x.input } else { INPUTS };
    let (tiles, parts) = (output.div_ceil(columns), x.input.div_ceil(inputs));
    let sums = |task: usize| {
        let (part, tile) = (task / tiles, task % tiles);
        let left = tile * columns;
        let range = part * inputs..x.input.min((part + 1) * inputs);
        let width = columns.min(output - left);
        let mut sums = vec![0.0_f32; x.rows * width];
        arch.dispatch(Sums { x, weight, output, left, range, sums: &mut sums });
        sums
    };
    let parts_of = (0..tiles * parts).into_par_iter().map(sums).collect::<Vec<_>>();
    let mut values = vec![0.0_f32; x.rows * output];
    for (task, sums) in parts_of.iter().enumerate() {
        let left = task % tiles * columns;
        let width = columns.min(output - left);
        for (row, sums) in sums.chunks_exact(width).enumerate() {
            let values = &mut values[row * output + left..][..width];
            values.iter_mut().zip(sums).for_each(|(value, sum)| *value += sum);
        }
    }
    values
}

/// Sums of some inputs over some columns.
struct Sums<'a> {
    x: &'a Rows,
    weight: &'a [f32],
    output: usize,
    left: usize,
    range: std::ops::Range<usize>,
    /// `[rows, columns]`
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, output, left, range, sums } = self;
        let width = sums.len() / x.rows;
        let line = |input: usize| &weight[input * output + left..][..width];
        let mut input = range.start;
        while input < range.end {
            let count = (range.end - input).min(4);
            for (row, sums) in sums.chunks_exact_mut(width).enumerate() {
                let factors = &x.row(row)[input..];
                if count == 4 {
                    let lines = [line(input), line(input + 1), line(input + 2), line(input + 3)];
                    add_four(simd, sums, lines, [factors[0], factors[1], factors[2], factors[3]]);
                } else {
                    for (offset, factor) in factors[..count].iter().enumerate() {
                        sums.iter_mut().zip(line(input + offset)).for_each(|(sum, w)| *sum += factor * w);
                    }
                }
            }
            input += count;
        }
    }
}

/// Adds four lines, each times its factor.
#[inline(always)]
fn add_four<S: Simd>(simd: S, sums: &mut [f32], lines: [&[f32]; 4], factors: [f32; 4]) {
    let splats = factors.map(
        #[inline(always)]
        |factor| simd.splat_f32s(factor),
    );
    let [a, b, c, d] = lines.map(
        #[inline(always)]
        |line| S::as_simd_f32s(line),
    );
    let (vectors, rest) = S::as_mut_simd_f32s(sums);
    for ((((sum, a), b), c), d) in vectors.iter_mut().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        let ab = simd.mul_add_f32s(*b, splats[1], simd.mul_add_f32s(*a, splats[0], *sum));
        *sum = simd.mul_add_f32s(*d, splats[3], simd.mul_add_f32s(*c, splats[2], ab));
    }
    for (index, sum) in rest.iter_mut().enumerate() {
        *sum += a.1[index] * factors[0] + b.1[index] * factors[1] + c.1[index] * factors[2] + d.1[index] * factors[3];
    }
}
