//! Dense weights, which are read in place: those of layers lie input by input, a table of embeddings that is the output projection
//! too lies output by output.
//!
//! Burn multiplies one row with the first kind on one thread, which gets half of what memory gives to two.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

use burn::backend::Flex;
use burn::prelude::*;
use burn::tensor::DType;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{MIN_PARALLEL, Outputs, Rows, TASK, by_outputs, dot};

/// Inputs whose weights are added to the sums at a time.
const AT_ONCE: usize = 4;

/// The product of rows with a table; none where its values cannot be read in place.
///
/// # Shapes
///
/// - `table`: `[output, input]`
/// - returns: `[rows, output]`
pub(crate) fn with_table(x: &Rows, table: &Tensor<2>) -> Option<Vec<f32>> {
    let [output, input] = table.dims();
    in_place(table, |values| by_outputs(x, output, &Matrix { values, input }))
}

/// The product of rows with the weight of a layer; none where its values cannot be read in place.
///
/// # Shapes
///
/// - `weight`: `[input, output]`
/// - returns: `[rows, output]`
pub(crate) fn with_weight(x: &Rows, weight: &Tensor<2>) -> Option<Vec<f32>> {
    let [_, output] = weight.dims();
    in_place(weight, |values| by_inputs(x, output, values))
}

/// Hands over the values of a matrix in host memory, if they lie there as its shape says and no tape records.
fn in_place<T>(matrix: &Tensor<2>, read: impl FnOnce(&[f32]) -> T) -> Option<T> {
    if matrix.dtype() != DType::F32 || matrix.is_autodiff() || matrix.device() != Device::flex() {
        return None;
    }
    let elements = matrix.dims().iter().product::<usize>();
    let held = matrix.clone().try_into_primitive::<Flex>().ok()?;
    held.as_slice::<f32>().filter(|values| values.len() == elements).map(read)
}

/// Each task takes the weights of some inputs, one behind the other in memory; their sums are added in the order of the inputs.
fn by_inputs(x: &Rows, output: usize, weights: &[f32]) -> Vec<f32> {
    let (arch, per_task) = (Arch::new(), (TASK / output.max(1)).next_multiple_of(AT_ONCE).max(AT_ONCE));
    let sums = |(number, weights): (usize, &[f32])| {
        let mut sums = vec![0.0; x.count * output];
        arch.dispatch(Strip { x, first: number * per_task, output, weights, sums: &mut sums });
        sums
    };
    let strip = (per_task * output).max(1);
    let strips = if weights.len() < MIN_PARALLEL {
        weights.chunks(strip).enumerate().map(sums).collect::<Vec<_>>()
    } else {
        weights.par_chunks(strip).enumerate().map(sums).collect()
    };
    let added = |mut sums: Vec<f32>, more: Vec<f32>| {
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        sums
    };
    strips.into_iter().reduce(added).unwrap_or_else(|| vec![0.0; x.count * output])
}

/// The weights of the inputs from `first` on.
struct Strip<'a> {
    x: &'a Rows,
    first: usize,
    output: usize,
    /// `[inputs, output]`
    weights: &'a [f32],
    /// `[rows, output]`
    sums: &'a mut [f32],
}

impl WithSimd for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, first, output, weights, sums } = self;
        for (number, weights) in weights.chunks(AT_ONCE * output).enumerate() {
            let input = first + number * AT_ONCE;
            for (row, sums) in sums.chunks_exact_mut(output).enumerate() {
                let x = &x.row(row)[input..];
                match (x, weights.len() / output) {
                    (&[a, b, c, d, ..], AT_ONCE) => add_four(simd, [a, b, c, d], weights, sums),
                    (x, _) => {
                        let each = x.iter().zip(weights.chunks_exact(output));
                        each.for_each(|(x, weights)| add(*x, weights, sums));
                    }
                }
            }
        }
    }
}

/// Adds four inputs times their weights. `[4, outputs]`
#[inline(always)]
fn add_four<S: Simd>(simd: S, x: [f32; AT_ONCE], weights: &[f32], sums: &mut [f32]) {
    let output = sums.len();
    let (first, rest) = weights.split_at(output);
    let (second, rest) = rest.split_at(output);
    let (third, fourth) = rest.split_at(output);
    let splat = x.map(|x| simd.splat_f32s(x));
    let (a, a_rest) = S::as_simd_f32s(first);
    let (b, b_rest) = S::as_simd_f32s(second);
    let (c, c_rest) = S::as_simd_f32s(third);
    let (d, d_rest) = S::as_simd_f32s(fourth);
    let (lanes, lanes_rest) = S::as_mut_simd_f32s(sums);
    for ((((sum, a), b), c), d) in lanes.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let low = simd.mul_add_f32s(splat[1], *b, simd.mul_add_f32s(splat[0], *a, *sum));
        *sum = simd.mul_add_f32s(splat[3], *d, simd.mul_add_f32s(splat[2], *c, low));
    }
    for (x, rest) in x.into_iter().zip([a_rest, b_rest, c_rest, d_rest]) {
        add(x, rest, lanes_rest);
    }
}

/// Adds one input times its weights. `[outputs]`
#[inline(always)]
fn add(x: f32, weights: &[f32], sums: &mut [f32]) {
    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
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
