//! Eight or four bits, with a scale and a zero for each group of inputs: `w = (q - zero) * scale`.
//!
//! Two ways lead there from values: [`Mapping::Affine`] spreads `[min, max]` of a group over all codes, [`Mapping::Absmax`]
//! `[-absmax, absmax]` over as many codes on both sides of the middle. Scales are numbers of 16 bits, as files have them.
//!
//! In memory four-bit codes of groups that are multiples of 128 stand in [`wide`] blocks. Those of other groups stand in blocks of
//! 32, in which byte `j` has value `j` in its lower half and value `j + 16` in its upper one: so 16 bytes become 2 times 16 values
//! without shuffling.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

mod wide;

use half::f16;
use pulp::Simd;

use crate::few_rows::{Outputs, Rows};

/// How values become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// `[min, max]` over all codes; zero is a value.
    Affine,
    /// `[-absmax, absmax]`, symmetric to the middle code.
    Absmax,
}

/// Number of bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// 0 to 15
    Four,
    /// 0 to 255
    Eight,
}

impl Bits {
    /// As a number.
    pub fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The largest code.
    pub fn largest(self) -> u8 {
        match self {
            Self::Four => 15,
            Self::Eight => 255,
        }
    }
}

/// Codes, scales and zeros of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    bits: Bits,
    /// Inputs that share a scale.
    group: usize,
    /// `[output, input]`, in blocks.
    codes: Vec<u8>,
    /// `[output, groups]`
    scales: Vec<f32>,
    /// `[output, groups]`
    zeros: Vec<u8>,
    /// Which input stands at a place, where they do not stand in order. `[input]`
    order: Option<Vec<u32>>,
}

/// Four-bit values of a block.
const BLOCK: usize = 32;
/// Values that are unpacked at once.
const CHUNK: usize = 64;

impl Affine {
    /// Packs rows of `input` values in groups of `group`, which divides `input`.
    pub fn of(rows: &[f32], input: usize, bits: Bits, group: usize, mapping: Mapping) -> Self {
        assert!(group > 0 && input.is_multiple_of(group), "groups of {group} do not fill rows of {input}");
        let mut codes = Vec::with_capacity(rows.len());
        let (mut scales, mut zeros) = (Vec::new(), Vec::new());
        for values in rows.chunks_exact(group) {
            let (scale, zero) = fitted(values, bits, mapping);
            codes.extend(values.iter().map(|value| code(*value, scale, zero, bits, mapping)));
            scales.push(scale);
            zeros.push(zero);
        }
        Self { bits, group, codes: blocked(&codes, group, bits), scales, zeros, order: None }
    }

    /// Puts together what files have: codes of rows of `input` values in order, and scales and zeros of groups, to which
    /// inputs belong as `order` has them one behind the other.
    pub fn from_parts(
        codes: &[u8],
        bits: Bits,
        group: usize,
        scales: Vec<f32>,
        zeros: Vec<u8>,
        order: Option<Vec<u32>>,
    ) -> Self {
        let codes = match &order {
            None => blocked(codes, group, bits),
            Some(order) => {
                let moved = codes.chunks_exact(order.len().max(1));
                let moved = moved.flat_map(|row| order.iter().map(|&place| row[place as usize]));
                blocked(&moved.collect::<Vec<_>>(), group, bits)
            }
        };
        Self { bits, group, codes, scales, zeros, order }
    }

    /// Bits of a code.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Inputs that share a scale.
    pub fn group(&self) -> usize {
        self.group
    }

    /// `[output, groups]`
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// `[output, groups]`
    pub fn zeros(&self) -> &[u8] {
        &self.zeros
    }

    /// Which input stands at a place, where they do not stand in order. `[input]`
    pub(super) fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }

    /// The codes one behind the other, as inputs stand here. `[output, input]`
    pub(super) fn standing_codes(&self) -> Vec<u8> {
        let mut codes = Vec::with_capacity(self.scales.len() * self.group);
        for bytes in self.codes.chunks_exact(bytes_of_group(self.group, self.bits)) {
            unblock(bytes, self.group, self.bits, &mut codes);
        }
        codes
    }

    /// The codes one behind the other, in the order of the inputs. `[output, input]`
    pub fn plain_codes(&self, input: usize) -> Vec<u8> {
        let codes = self.standing_codes();
        let Some(order) = &self.order else { return codes };
        let mut sorted = vec![0; codes.len()];
        for (from, to) in codes.chunks_exact(input.max(1)).zip(sorted.chunks_exact_mut(input.max(1))) {
            from.iter().zip(order).for_each(|(code, &place)| to[place as usize] = *code);
        }
        sorted
    }

    /// The values of rows of `input`.
    pub fn values(&self, input: usize) -> Vec<f32> {
        let codes = self.plain_codes(input);
        let mut group_of = (0..input).map(|place| place / self.group).collect::<Vec<_>>();
        if let Some(order) = &self.order {
            order.iter().enumerate().for_each(|(at, &place)| group_of[place as usize] = at / self.group);
        }
        let groups = input / self.group;
        let row = |(row, codes): (usize, &[u8])| {
            let (scales, zeros) = (&self.scales[row * groups..], &self.zeros[row * groups..]);
            let value =
                |(code, &group): (&u8, &usize)| f32::from(i16::from(*code) - i16::from(zeros[group])) * scales[group];
            codes.iter().zip(&group_of).map(value).collect::<Vec<_>>()
        };
        codes.chunks_exact(input.max(1)).enumerate().flat_map(row).collect()
    }

    /// Rows as the codes stand: inputs in the order of this weight. `[rows, input]`
    pub(super) fn ordered(&self, x: Vec<f32>) -> Vec<f32> {
        match &self.order {
            None => x,
            Some(order) => {
                x.chunks_exact(order.len()).flat_map(|row| order.iter().map(|&place| row[place as usize])).collect()
            }
        }
    }

    /// Memory of all of it.
    pub fn bytes(&self) -> u64 {
        let order = self.order.as_ref().map_or(0, |order| 4 * order.len());
        (self.codes.len() + 4 * self.scales.len() + self.zeros.len() + order) as u64
    }
}

/// Scale and zero of a group.
fn fitted(values: &[f32], bits: Bits, mapping: Mapping) -> (f32, u8) {
    let codes = f32::from(bits.largest());
    let middle = bits.largest() / 2 + 1;
    let (min, max) = values.iter().fold((0.0_f32, 0.0_f32), |(min, max), value| (min.min(*value), max.max(*value)));
    match mapping {
        Mapping::Absmax => (half(max.max(-min) / f32::from(middle - 1)), middle),
        Mapping::Affine => {
            // Zero is never the first code: files have it one lower, and not all readers take that round the end.
            let min = min.min(-max / (codes - 1.0));
            let scale = half((max - min) / codes);
            let zero = if scale > 0.0 { (-min / scale).round() } else { f32::from(middle) };
            (scale, zero.clamp(1.0, codes) as u8)
        }
    }
}

/// The nearest number of 16 bits.
fn half(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32()
}

fn code(value: f32, scale: f32, zero: u8, bits: Bits, mapping: Mapping) -> u8 {
    let lowest = match mapping {
        Mapping::Affine => 0.0,
        Mapping::Absmax => 1.0,
    };
    let steps = if scale > 0.0 { value / scale } else { 0.0 };
    // Half a step more, cut: rounding by a call takes longer than all else.
    (steps + f32::from(zero) + 0.5).clamp(lowest, f32::from(bits.largest())) as u8
}

/// Bytes of a group.
fn bytes_of_group(group: usize, bits: Bits) -> usize {
    match bits {
        Bits::Eight => group,
        Bits::Four => group / BLOCK * (BLOCK / 2) + (group % BLOCK).div_ceil(2),
    }
}

/// Memory of a matrix.
pub(super) fn bytes_of([input, output]: [usize; 2], bits: Bits, group: usize) -> u64 {
    let groups = output.saturating_mul(input / group.max(1));
    groups.saturating_mul(bytes_of_group(group, bits) + 5) as u64
}

/// Codes group by group as they lie in memory.
fn blocked(codes: &[u8], group: usize, bits: Bits) -> Vec<u8> {
    if bits == Bits::Eight {
        return codes.to_vec();
    }
    if wide::holds(group, bits) {
        return codes.as_chunks().0.iter().flat_map(wide::packed).collect();
    }
    let mut bytes = Vec::with_capacity(codes.len().div_ceil(2));
    for group in codes.chunks_exact(group) {
        let (blocks, tail) = group.as_chunks::<BLOCK>();
        for block in blocks {
            bytes.extend((0..BLOCK / 2).map(|place| block[place] | block[place + BLOCK / 2] << 4));
        }
        bytes.extend(tail.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |upper| upper << 4)));
    }
    bytes
}

/// The codes of one group.
fn unblock(bytes: &[u8], group: usize, bits: Bits, codes: &mut Vec<u8>) {
    if bits == Bits::Eight {
        codes.extend_from_slice(bytes);
        return;
    }
    if wide::holds(group, bits) {
        return codes.extend(bytes.as_chunks().0.iter().flat_map(wide::unpacked));
    }
    let (blocks, tail) = bytes.split_at(group / BLOCK * (BLOCK / 2));
    for block in blocks.as_chunks::<{ BLOCK / 2 }>().0 {
        codes.extend(block.iter().map(|byte| byte & 15));
        codes.extend(block.iter().map(|byte| byte >> 4));
    }
    let end = codes.len() + group % BLOCK;
    codes.extend(tail.iter().flat_map(|byte| [byte & 15, byte >> 4]));
    codes.truncate(end);
}

/// Values less their zero, of codes of eight bits.
#[inline(always)]
fn widen8(codes: &[u8; CHUNK], zero: i32, values: &mut [f32; CHUNK]) {
    for (value, code) in values.iter_mut().zip(codes) {
        *value = (i32::from(*code) - zero) as f32;
    }
}

/// Values less their zero, of a block of codes of four bits.
#[inline(always)]
fn widen4(codes: &[u8; BLOCK / 2], zero: i32, values: &mut [f32; BLOCK]) {
    let (lower, upper) = values.split_at_mut(BLOCK / 2);
    for (value, code) in lower.iter_mut().zip(codes) {
        *value = (i32::from(code & 15) - zero) as f32;
    }
    for (value, code) in upper.iter_mut().zip(codes) {
        *value = (i32::from(code >> 4) - zero) as f32;
    }
}

/// Two blocks.
#[inline(always)]
fn widen4_twice(codes: &[u8; CHUNK / 2], zero: i32, values: &mut [f32; CHUNK]) {
    let (lower, upper) = values.split_at_mut(BLOCK);
    let (first, second) = codes.split_at(BLOCK / 2);
    if let (Ok(first), Ok(second)) = (first.try_into(), second.try_into())
        && let (Ok(lower), Ok(upper)) = (lower.try_into(), upper.try_into())
    {
        widen4(first, zero, lower);
        widen4(second, zero, upper);
    }
}

/// The sums of products of a block of codes of four bits with its inputs, lane by lane.
#[inline(always)]
fn add_products4(codes: &[u8; BLOCK / 2], zero: i32, x: &[f32; BLOCK], sums: &mut [f32; BLOCK]) {
    for lane in 0..BLOCK / 2 {
        let value = (i32::from(codes[lane] & 15) - zero) as f32;
        sums[lane] = value.mul_add(x[lane], sums[lane]);
    }
    for lane in 0..BLOCK / 2 {
        let value = (i32::from(codes[lane] >> 4) - zero) as f32;
        sums[lane + BLOCK / 2] = value.mul_add(x[lane + BLOCK / 2], sums[lane + BLOCK / 2]);
    }
}

/// What is left of a group behind its chunks.
#[inline(always)]
fn widen_rest(bytes: &[u8], zero: i32, bits: Bits, values: &mut [f32]) {
    match bits {
        Bits::Eight => {
            for (value, code) in values.iter_mut().zip(bytes) {
                *value = (i32::from(*code) - zero) as f32;
            }
        }
        Bits::Four => {
            let (blocks, tail) = bytes.split_at(values.len() / BLOCK * (BLOCK / 2));
            let (whole, rest) = values.as_chunks_mut::<BLOCK>();
            for (codes, values) in blocks.as_chunks::<{ BLOCK / 2 }>().0.iter().zip(whole) {
                widen4(codes, zero, values);
            }
            for (place, value) in rest.iter_mut().enumerate() {
                *value = (i32::from(tail[place / 2] >> (4 * (place % 2)) & 15) - zero) as f32;
            }
        }
    }
}

/// A matrix whose rows are read.
pub(super) struct Reader<'a> {
    weight: &'a Affine,
    groups: usize,
    bytes: usize,
    /// Of a single row that is multiplied with codes in wide blocks the sums of groups, which are the same for every output.
    sums: Vec<f32>,
}

impl<'a> Reader<'a> {
    /// For products with `x`, whose inputs stand as the codes do.
    pub(super) fn new(weight: &'a Affine, x: &Rows) -> Self {
        let is_wide = wide::holds(weight.group, weight.bits) && x.count == 1;
        let sums = if is_wide { x.values.chunks_exact(weight.group).map(wide::sum).collect() } else { Vec::new() };
        Self { weight, groups: x.input / weight.group, bytes: bytes_of_group(weight.group, weight.bits), sums }
    }

    /// Codes, scales and zeros of a row, and the values of a chunk.
    #[inline(always)]
    fn row(&self, output: usize) -> (&'a [u8], &'a [f32], &'a [u8]) {
        let weight = self.weight;
        let range = output * self.groups..(output + 1) * self.groups;
        (
            &weight.codes[range.start * self.bytes..range.end * self.bytes],
            &weight.scales[range.clone()],
            &weight.zeros[range],
        )
    }

    /// The sum of products of a row, whose codes of a chunk are `BYTES` and are widened by `widen`.
    #[inline(always)]
    fn sum<S: Simd, const BYTES: usize>(
        &self,
        simd: S,
        output: usize,
        x: &[f32],
        widen: impl Fn(&[u8; BYTES], i32, &mut [f32; CHUNK]),
    ) -> f32 {
        let (codes, scales, zeros) = self.row(output);
        let (group, bits) = (self.weight.group, self.weight.bits);
        let mut total = simd.splat_f32s(0.0);
        let mut total_rest = 0.0;
        let mut values = [0.0_f32; CHUNK];
        let (mut codes, mut x) = (codes, x);
        for (scale, zero) in scales.iter().zip(zeros) {
            let (bytes, codes_after) = codes.split_at(self.bytes);
            let (x_group, x_after) = x.split_at(group);
            (codes, x) = (codes_after, x_after);
            let zero = i32::from(*zero);
            let (x_chunks, x_rest) = x_group.as_chunks::<CHUNK>();
            let mut sums = [simd.splat_f32s(0.0); 2];
            for (bytes, x) in bytes.as_chunks::<BYTES>().0.iter().zip(x_chunks) {
                widen(bytes, zero, &mut values);
                let (w, x) = (S::as_simd_f32s(&values).0, S::as_simd_f32s(x).0);
                for (w, x) in w.as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
                    sums[0] = simd.mul_add_f32s(w[0], x[0], sums[0]);
                    sums[1] = simd.mul_add_f32s(w[1], x[1], sums[1]);
                }
            }
            total = simd.mul_add_f32s(simd.splat_f32s(*scale), simd.add_f32s(sums[0], sums[1]), total);
            if !x_rest.is_empty() {
                let rest = &mut values[..x_rest.len()];
                widen_rest(&bytes[x_chunks.len() * BYTES..], zero, bits, rest);
                total_rest += scale * rest.iter().zip(x_rest).map(|(w, x)| w * x).sum::<f32>();
            }
        }
        simd.reduce_sum_f32s(total) + total_rest
    }

    /// The same of codes of four bits in groups of whole blocks.
    #[inline(always)]
    fn sum_of_blocks(&self, output: usize, x: &[f32]) -> f32 {
        let (codes, scales, zeros) = self.row(output);
        let per_group = self.weight.group / BLOCK;
        let mut codes = codes.as_chunks::<{ BLOCK / 2 }>().0.chunks_exact(per_group);
        let mut x = x.as_chunks::<BLOCK>().0.chunks_exact(per_group);
        let mut total = [0.0_f32; BLOCK];
        for (scale, zero) in scales.iter().zip(zeros) {
            let (Some(codes), Some(x)) = (codes.next(), x.next()) else { break };
            let mut sums = [0.0_f32; BLOCK];
            for (codes, x) in codes.iter().zip(x) {
                add_products4(codes, i32::from(*zero), x, &mut sums);
            }
            for lane in 0..BLOCK {
                total[lane] = scale.mul_add(sums[lane], total[lane]);
            }
        }
        total.iter().sum()
    }

    #[inline(always)]
    fn widen(&self, bytes: &[u8], chunk: usize, zero: i32, values: &mut [f32; CHUNK]) {
        match self.weight.bits {
            Bits::Eight => widen8(&bytes.as_chunks().0[chunk], zero, values),
            Bits::Four => widen4_twice(&bytes.as_chunks().0[chunk], zero, values),
        }
    }
}

impl Outputs for Reader<'_> {
    #[inline(always)]
    fn dot<S: Simd>(&self, simd: S, output: usize, x: &[f32]) -> f32 {
        match self.weight.bits {
            Bits::Eight => self.sum(simd, output, x, widen8),
            Bits::Four if !self.sums.is_empty() => {
                let (codes, scales, zeros) = self.row(output);
                wide::dot(codes, (scales, zeros), x, &self.sums)
            }
            Bits::Four if self.weight.group.is_multiple_of(BLOCK) => self.sum_of_blocks(output, x),
            Bits::Four => self.sum(simd, output, x, widen4_twice),
        }
    }

    #[inline(always)]
    fn unpack<S: Simd>(&self, _: S, output: usize, weights: &mut [f32]) {
        let (codes, scales, zeros) = self.row(output);
        let (group, bits) = (self.weight.group, self.weight.bits);
        let groups = codes.chunks_exact(self.bytes).zip(weights.chunks_exact_mut(group)).zip(scales.iter().zip(zeros));
        for ((bytes, weights), (scale, zero)) in groups {
            if wide::holds(group, bits) {
                wide::widen(bytes, (*scale, *zero), weights);
                continue;
            }
            let zero = i32::from(*zero);
            let (chunks, rest) = weights.as_chunks_mut::<CHUNK>();
            let used = chunks.len() * CHUNK * bits.count() / 8;
            for (chunk, values) in chunks.iter_mut().enumerate() {
                self.widen(bytes, chunk, zero, values);
                for value in values.iter_mut() {
                    *value *= scale;
                }
            }
            widen_rest(&bytes[used..], zero, bits, rest);
            for value in rest.iter_mut() {
                *value *= scale;
            }
        }
    }
}
