//! Four bits: quantiles of a normal distribution over blocks of 64 values, whose maxima are eight bits each.
//!
//! `w = CODE[q] * absmax`, and `absmax = map[a] * nested + offset` over blocks of 256 of them ("double quantization").
//! Follows `quantize_4bit` with `compress_statistics` of `bitsandbytes/functional.py`: two values a byte, the first one in
//! its upper half.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

use std::sync::LazyLock;

use pulp::Simd;

use crate::few_rows::{Outputs, dot};

/// Values that share a maximum.
pub const BLOCK: usize = 64;
/// Maxima that share one.
pub const NESTED: usize = 256;

/// Quantiles of a normal distribution, both tails to ±1 and an exact zero (`get_4bit_type("nf4")`).
pub const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_04,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// 256 values whose distance grows with their size (`create_dynamic_map`, Dettmers, 2016, arXiv:1511.04561).
static DYNAMIC: LazyLock<Vec<f32>> = LazyLock::new(dynamic_map);

/// Codes and maxima of a matrix, which is one row of values here.
#[derive(Debug, Clone, PartialEq)]
pub struct Nf4 {
    /// Two values each. `[elements / 2]`
    codes: Vec<u8>,
    maxima: Maxima,
}

/// The largest absolute values of blocks.
#[derive(Debug, Clone, PartialEq)]
enum Maxima {
    /// As numbers, as a file without double quantization has them. `[elements / 64]`
    Plain(Vec<f32>),
    /// In eight bits.
    Nested {
        /// Places of the maxima in the map. `[elements / 64]`
        absmax: Vec<u8>,
        /// Largest difference of maxima from `offset`. `[elements / 64 / 256]`
        nested: Vec<f32>,
        /// Mean of the maxima.
        offset: f32,
    },
}

/// Double quantization, as files have it.
#[derive(Debug, Clone, Copy)]
pub struct Nested<'a> {
    /// Places of the maxima in [`map`](Self::map). `[elements / 64]`
    pub absmax: &'a [u8],
    /// Largest difference of maxima from `offset`. `[elements / 64 / 256]`
    pub nested: &'a [f32],
    /// Mean of the maxima.
    pub offset: f32,
    /// What places stand for. `[256]`
    pub map: &'a [f32],
}

impl Nf4 {
    /// Packs values.
    pub fn of(values: &[f32]) -> Self {
        let maxima = values.chunks(BLOCK).map(largest).collect::<Vec<_>>();
        let mut codes = Vec::with_capacity(values.len().div_ceil(2));
        for (block, &absmax) in values.chunks(BLOCK).zip(&maxima) {
            let scale = if absmax > 0.0 { 1.0 / absmax } else { 0.0 };
            let code = |value: &f32| nearest(&CODE, value * scale);
            codes.extend(block.chunks(2).map(|pair| code(&pair[0]) << 4 | pair.get(1).map_or(0, code)));
        }
        let offset = (maxima.iter().map(|&max| f64::from(max)).sum::<f64>() / maxima.len().max(1) as f64) as f32;
        let (mut absmax, mut nested) = (Vec::with_capacity(maxima.len()), Vec::new());
        for block in maxima.chunks(NESTED) {
            let shifted = block.iter().map(|max| max - offset).collect::<Vec<_>>();
            let largest = largest(&shifted);
            let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
            absmax.extend(shifted.iter().map(|value| nearest(&DYNAMIC, value * scale)));
            nested.push(largest);
        }
        Self { codes, maxima: Maxima::Nested { absmax, nested, offset } }
    }

    /// Of what a file has: two values a byte, and the largest absolute value of each block of 64.
    pub fn from_parts(codes: Vec<u8>, maxima: Vec<f32>) -> Self {
        Self { codes, maxima: Maxima::Plain(maxima) }
    }

    /// The maxima as double quantization has them, where they were packed here.
    pub fn nested(&self) -> Option<Nested<'_>> {
        match &self.maxima {
            Maxima::Plain(_) => None,
            Maxima::Nested { absmax, nested, offset } => {
                Some(Nested { absmax, nested, offset: *offset, map: &DYNAMIC })
            }
        }
    }

    /// The first `elements` values.
    pub fn values(&self, elements: usize) -> Vec<f32> {
        let mut values = vec![0.0; 2 * self.codes.len()];
        let blocks = values.chunks_mut(BLOCK).zip(self.codes.chunks(BLOCK / 2));
        for ((values, codes), absmax) in blocks.zip(self.maxima()) {
            let table = CODE.map(|code| code * absmax);
            for (pair, code) in values.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                *pair = [table[usize::from(code >> 4)], table[usize::from(code & 15)]];
            }
        }
        values.truncate(elements);
        values
    }

    /// The largest absolute value of each block, as it was packed. `[elements / 64]`
    pub fn maxima(&self) -> Vec<f32> {
        (0..self.codes.len().div_ceil(BLOCK / 2)).map(|block| self.maximum(block)).collect()
    }

    /// That of one block.
    fn maximum(&self, block: usize) -> f32 {
        match &self.maxima {
            Maxima::Plain(maxima) => maxima[block],
            Maxima::Nested { absmax, nested, offset } => {
                DYNAMIC[usize::from(absmax[block])] * nested[block / NESTED] + offset
            }
        }
    }

    /// Two values each, the first one above. `[elements / 2]`
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Memory of codes and maxima.
    pub fn bytes(&self) -> u64 {
        let maxima = match &self.maxima {
            Maxima::Plain(maxima) => 4 * maxima.len(),
            Maxima::Nested { absmax, nested, .. } => absmax.len() + 4 * nested.len() + 4,
        };
        (self.codes.len() + maxima) as u64
    }
}

/// The two values of each byte of codes.
static PAIRS: LazyLock<[[f32; 2]; 256]> =
    LazyLock::new(|| std::array::from_fn(|byte| [CODE[byte >> 4], CODE[byte & 15]]));

/// A matrix whose rows are read.
pub(super) struct Reader<'a> {
    weight: &'a Nf4,
    input: usize,
    pairs: &'static [[f32; 2]; 256],
}

impl<'a> Reader<'a> {
    pub(super) fn new(weight: &'a Nf4, input: usize) -> Self {
        Self { weight, input, pairs: &PAIRS }
    }

    /// Whether rows are whole blocks.
    #[inline(always)]
    fn has_whole_rows(&self) -> bool {
        self.input.is_multiple_of(BLOCK)
    }

    /// The codes of a row of whole blocks, and the number of its first block.
    #[inline(always)]
    fn row(&self, output: usize) -> (&'a [[u8; BLOCK / 2]], usize) {
        let first = output * self.input / BLOCK;
        (&self.weight.codes.as_chunks().0[first..][..self.input / BLOCK], first)
    }

    #[inline(always)]
    fn widen(&self, codes: &[u8; BLOCK / 2], values: &mut [f32]) {
        for (pair, code) in values.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
            *pair = self.pairs[usize::from(*code)];
        }
    }

    /// Value by value, for rows that begin within a block.
    fn unpack_any(&self, output: usize, weights: &mut [f32]) {
        let first = output * self.input;
        for (place, weight) in (first..).zip(weights) {
            let code = self.weight.codes[place / 2] >> (4 - 4 * (place % 2)) & 15;
            *weight = CODE[usize::from(code)] * self.weight.maximum(place / BLOCK);
        }
    }
}

impl Outputs for Reader<'_> {
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, output: usize, x: &[f32]) -> f32 {
        if !self.has_whole_rows() {
            let mut weights = vec![0.0; self.input];
            self.unpack_any(output, &mut weights);
            return dot(simd, &weights, x);
        }
        let (codes, first) = self.row(output);
        let mut total = simd.splat_f32s(0.0);
        let mut values = [0.0_f32; BLOCK];
        for ((codes, x), block) in codes.iter().zip(x.as_chunks::<BLOCK>().0).zip(first..) {
            self.widen(codes, &mut values);
            let (w, x) = (S::as_simd_f32s(&values).0, S::as_simd_f32s(x).0);
            let mut sums = [simd.splat_f32s(0.0); 2];
            for (w, x) in w.as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
                sums[0] = simd.mul_add_f32s(w[0], x[0], sums[0]);
                sums[1] = simd.mul_add_f32s(w[1], x[1], sums[1]);
            }
            let maximum = simd.splat_f32s(self.weight.maximum(block));
            total = simd.mul_add_f32s(maximum, simd.add_f32s(sums[0], sums[1]), total);
        }
        simd.reduce_sum_f32s(total)
    }

    #[inline(always)]
    fn unpack<S: Simd>(&self, _: S, output: usize, weights: &mut [f32]) {
        if !self.has_whole_rows() {
            return self.unpack_any(output, weights);
        }
        let (codes, first) = self.row(output);
        for ((codes, values), block) in codes.iter().zip(weights.as_chunks_mut::<BLOCK>().0).zip(first..) {
            self.widen(codes, values);
            let maximum = self.weight.maximum(block);
            for value in values.iter_mut() {
                *value *= maximum;
            }
        }
    }
}

/// Memory of so many values.
pub(super) fn bytes_of(elements: usize) -> u64 {
    let blocks = elements.div_ceil(BLOCK);
    (elements.div_ceil(2) + blocks + 4 * blocks.div_ceil(NESTED) + 4) as u64
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The place of the nearest value of an ascending table of at most 256; the lower one of two that are as near.
fn nearest(table: &[f32], value: f32) -> u8 {
    let above = table.partition_point(|code| *code < value).min(table.len() - 1);
    let below = above.saturating_sub(1);
    let place = if value - table[below] <= table[above] - value { below } else { above };
    place as u8
}

/// `create_dynamic_map(signed=True, max_exponent_bits=7, total_bits=8)`: for each power of ten from -6 to 0 the means of
/// 1, 2, 4, … 64 equal pieces of 0.1 to 1, with both signs; then 0 and 1.
fn dynamic_map() -> Vec<f32> {
    let mut map = vec![0.0, 1.0];
    for exponent in 0..7 {
        let pieces = 1_u32 << exponent;
        let scale = 10_f64.powi(exponent - 6);
        let boundary = |index: u32| 0.1 + 0.9 * f64::from(index) / f64::from(pieces);
        let means = (0..pieces).map(|index| (scale * f64::midpoint(boundary(index), boundary(index + 1))) as f32);
        map.extend(means.flat_map(|mean| [mean, -mean]));
    }
    map.sort_by(f32::total_cmp);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_has_256_values_and_those_of_bitsandbytes_at_its_ends() {
        assert_eq!(DYNAMIC.len(), 256);
        assert!(DYNAMIC.is_sorted());
        // 0.9 / 64 is a piece; the outermost means are half a piece from the end.
        let known = [(0, -0.992_968_74), (1, -0.978_906_3), (127, 0.0), (128, 5.5e-7), (254, 0.992_968_74), (255, 1.0)];
        for (place, value) in known {
            assert!((DYNAMIC[place] - value).abs() <= 1e-6 * f32::abs(value), "{place}: {}", DYNAMIC[place]);
        }
    }

    #[test]
    fn the_nearest_value_is_found_and_values_of_the_table_are_themselves() {
        for (index, code) in CODE.iter().enumerate() {
            assert_eq!(usize::from(nearest(&CODE, *code)), index);
        }
        for step in -1000..=1000_i16 {
            let value = f32::from(step) / 900.0;
            let found = CODE[usize::from(nearest(&CODE, value))];
            assert!(CODE.iter().all(|code| (code - value).abs() >= (found - value).abs()), "{value}");
        }
    }

    #[test]
    fn values_that_fill_no_block_and_no_byte_come_back() {
        for count in [0, 1, 63, 64, 65, 129, 64 * 257 + 1] {
            let values = (0..count).map(|index| ((index * 37 % 101) as f32 - 50.0) / 500.0).collect::<Vec<_>>();
            let packed = Nf4::of(&values);
            let found = packed.values(count);
            assert_eq!(found.len(), count);
            assert_eq!(packed.bytes(), bytes_of(count));
            let far = values.iter().zip(&found).find(|(a, b)| (**a - **b).abs() > 0.018);
            assert_eq!(far, None, "of {count}");
        }
        assert_eq!(Nf4::of(&[0.0; 65]).values(65), [0.0; 65]);
    }
}
