//! Eight bits, one absolute maximum per output: `w = q * absmax / 127`, the file's `weight` and `SCB` of `LLM.int8`.
//!
//! Follows `int8_vectorwise_quant` and `int8_vectorwise_dequant` of `bitsandbytes/backends/default/ops.py`, in f32, without
//! their outliers: those are of activations.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

use pulp::Simd;

use crate::few_rows::{Outputs, dot};

/// Codes and maxima of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8 {
    /// `[output, input]`
    codes: Vec<i8>,
    /// Largest absolute value of each row. `[output]`
    absmax: Vec<f32>,
}

/// The largest code.
pub(super) const LARGEST: f32 = 127.0;

impl Int8 {
    /// Packs rows of `input` values.
    pub fn of(rows: &[f32], input: usize) -> Self {
        let mut codes = Vec::with_capacity(rows.len());
        let mut absmax = Vec::with_capacity(rows.len() / input.max(1));
        for row in rows.chunks_exact(input.max(1)) {
            let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let scale = if largest > 0.0 { LARGEST / largest } else { 0.0 };
            codes.extend(row.iter().map(|value| (value * scale).round_ties_even() as i8));
            absmax.push(largest);
        }
        Self { codes, absmax }
    }

    /// Of what a file has.
    pub fn from_parts(codes: Vec<i8>, absmax: Vec<f32>) -> Self {
        Self { codes, absmax }
    }

    /// The values of rows of `input`.
    pub fn values(&self, input: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.codes.len());
        for (row, absmax) in self.codes.chunks_exact(input.max(1)).zip(&self.absmax) {
            values.extend(row.iter().map(|code| f32::from(*code) * absmax * (1.0 / LARGEST)));
        }
        values
    }

    /// `[output, input]`
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// `[output]`
    pub fn absmax(&self) -> &[f32] {
        &self.absmax
    }

    /// Memory of both.
    pub fn bytes(&self) -> u64 {
        bytes_of(self.codes.len(), self.absmax.len())
    }
}

/// Memory of so many values in so many rows.
pub(super) fn bytes_of(elements: usize, rows: usize) -> u64 {
    (elements as u64).saturating_add(4 * rows as u64)
}

/// A matrix whose rows are read.
pub(super) struct Reader<'a> {
    weight: &'a Int8,
    input: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(weight: &'a Int8, input: usize) -> Self {
        Self { weight, input }
    }

    #[inline(always)]
    fn row(&self, output: usize) -> (&'a [i8], f32) {
        (&self.weight.codes[output * self.input..][..self.input], self.weight.absmax[output] * (1.0 / LARGEST))
    }
}

/// Values that are unpacked at once.
const CHUNK: usize = 64;

impl Outputs for Reader<'_> {
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, output: usize, x: &[f32]) -> f32 {
        let (codes, scale) = self.row(output);
        let ((codes, codes_rest), (x, x_rest)) = (codes.as_chunks::<CHUNK>(), x.as_chunks::<CHUNK>());
        let mut sums = [simd.splat_f32s(0.0); 2];
        let mut values = [0.0_f32; CHUNK];
        for (codes, x) in codes.iter().zip(x) {
            for (value, code) in values.iter_mut().zip(codes) {
                *value = f32::from(*code);
            }
            let (w, x) = (S::as_simd_f32s(&values).0, S::as_simd_f32s(x).0);
            for (w, x) in w.as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
                sums[0] = simd.mul_add_f32s(w[0], x[0], sums[0]);
                sums[1] = simd.mul_add_f32s(w[1], x[1], sums[1]);
            }
        }
        let rest = &mut values[..codes_rest.len()];
        rest.iter_mut().zip(codes_rest).for_each(|(value, code)| *value = f32::from(*code));
        scale * (simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1])) + dot(simd, rest, x_rest))
    }

    #[inline(always)]
    fn unpack<S: Simd>(&self, _: S, output: usize, weights: &mut [f32]) {
        let (codes, scale) = self.row(output);
        weights.iter_mut().zip(codes).for_each(|(weight, code)| *weight = f32::from(*code) * scale);
    }
}
