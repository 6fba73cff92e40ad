//! Blocks of 128 codes of four bits in 16 words of 32 bits: word `j` has the codes `j`, `j + 16`, `j + 32`, …, the first in its
//! lowest bits.
//!
//! A code becomes a number by a shift: `c` in the upper bits of the mantissa of 1 is `1 + c / 16`, exactly. That takes two
//! instructions for a vector of codes, where widening bytes and converting integers takes five, on fewer units of a processor. With
//! `s` the scale and `z` the zero of a group
//!
//! `Σ (c - z) s x = 16 s (Σ (1 + c / 16) x - (1 + z / 16) Σ x)`
//!
//! in which `Σ x` is the same for every output.

use std::array::from_fn;

use super::Bits;

/// Codes of a block.
const BLOCK: usize = 128;
/// Words of a block.
const WORDS: usize = 16;
/// Codes of a word.
const CODES: usize = BLOCK / WORDS;
const BYTES: usize = BLOCK / 2;

/// Where the upper four bits of a mantissa begin.
const MANTISSA: usize = 19;
const ONE: u32 = 0x3F80_0000;

/// Whether the codes of groups stand so.
#[inline(always)]
pub(super) fn holds(group: usize, bits: Bits) -> bool {
    bits == Bits::Four && group.is_multiple_of(BLOCK)
}

/// A block of codes.
pub(super) fn packed(codes: &[u8; BLOCK]) -> [u8; BYTES] {
    let word =
        |word: usize| (0..CODES).fold(0, |bits, code| bits | u32::from(codes[word + WORDS * code]) << (4 * code));
    let words: [[u8; 4]; WORDS] = from_fn(|number| word(number).to_le_bytes());
    from_fn(|byte| words[byte / 4][byte % 4])
}

/// The codes of a block.
pub(super) fn unpacked(bytes: &[u8; BYTES]) -> [u8; BLOCK] {
    let words = words(bytes);
    from_fn(|code| (words[code % WORDS] >> (4 * (code / WORDS)) & 15) as u8)
}

#[inline(always)]
fn words(bytes: &[u8; BYTES]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// `1 + c / 16` of a code of a word.
#[inline(always)]
fn number(word: u32, code: usize) -> f32 {
    let moved = if 4 * code <= MANTISSA { word << (MANTISSA - 4 * code) } else { word >> (4 * code - MANTISSA) };
    f32::from_bits(moved & (15 << MANTISSA) | ONE)
}

/// `1 + z / 16`
#[inline(always)]
fn zero_number(zero: u8) -> f32 {
    1.0 + f32::from(zero) / 16.0
}

/// Adds the products of one code of each word.
#[inline(always)]
fn add<const CODE: usize>(words: &[u32; WORDS], x: &[f32; BLOCK], sums: &mut [f32; WORDS]) {
    let x = &x.as_chunks::<WORDS>().0[CODE];
    for word in 0..WORDS {
        sums[word] = number(words[word], CODE).mul_add(x[word], sums[word]);
    }
}

/// The product of a row of codes with `x`, of whose groups `sums` are the [`sum`]s.
#[inline(always)]
pub(super) fn dot(codes: &[u8], (scales, zeros): (&[f32], &[u8]), x: &[f32], sums: &[f32]) -> f32 {
    let blocks = x.len() / BLOCK / scales.len().max(1);
    let mut codes = codes.as_chunks::<BYTES>().0.chunks_exact(blocks);
    let mut x = x.as_chunks::<BLOCK>().0.chunks_exact(blocks);
    let (mut total, mut of_zeros) = ([0.0_f32; WORDS], 0.0_f32);
    for ((scale, zero), sum) in scales.iter().zip(zeros).zip(sums) {
        let (Some(codes), Some(x)) = (codes.next(), x.next()) else { break };
        // Side by side, so that no sum waits for the one before.
        let [mut a, mut b, mut c, mut d] = [[0.0_f32; WORDS]; 4];
        for (codes, x) in codes.iter().zip(x) {
            let words = words(codes);
            add::<0>(&words, x, &mut a);
            add::<1>(&words, x, &mut b);
            add::<2>(&words, x, &mut c);
            add::<3>(&words, x, &mut d);
            add::<4>(&words, x, &mut a);
            add::<5>(&words, x, &mut b);
            add::<6>(&words, x, &mut c);
            add::<7>(&words, x, &mut d);
        }
        for word in 0..WORDS {
            total[word] = scale.mul_add(a[word] + b[word] + (c[word] + d[word]), total[word]);
        }
        of_zeros = (scale * zero_number(*zero)).mul_add(*sum, of_zeros);
    }
    16.0 * (total.iter().sum::<f32>() - of_zeros)
}

/// `Σ x` of a group.
pub(super) fn sum(x: &[f32]) -> f32 {
    x.iter().map(|x| f64::from(*x)).sum::<f64>() as f32
}

/// The values of a group.
#[inline(always)]
pub(super) fn widen(bytes: &[u8], (scale, zero): (f32, u8), values: &mut [f32]) {
    let (scale, zero) = (16.0 * scale, zero_number(zero));
    for (bytes, values) in bytes.as_chunks().0.iter().zip(values.as_chunks_mut::<BLOCK>().0) {
        let words = words(bytes);
        for (code, values) in values.as_chunks_mut::<WORDS>().0.iter_mut().enumerate() {
            for (value, word) in values.iter_mut().zip(words) {
                *value = (number(word, code) - zero) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_there_again() {
        let codes: [u8; BLOCK] = from_fn(|code| (code * 7 % 16) as u8);
        assert_eq!(unpacked(&packed(&codes)), codes);
        let mut values = [0.0; BLOCK];
        widen(&packed(&codes), (0.5, 9), &mut values);
        let expected: [f32; BLOCK] = from_fn(|place| (f32::from(codes[place]) - 9.0) * 0.5);
        assert_eq!(values.map(f32::to_bits), expected.map(f32::to_bits), "exactly");
    }

    #[test]
    fn products_are_those_of_the_values() {
        let value = |place: usize| ((place * 31 % 97) as f32 - 40.0) / 50.0;
        let x = (0..4 * BLOCK).map(value).collect::<Vec<_>>();
        let codes = (0..4 * BLOCK).map(|place| (place * place % 16) as u8).collect::<Vec<_>>();
        let bytes = codes.as_chunks().0.iter().flat_map(packed).collect::<Vec<_>>();
        for group in [BLOCK, 2 * BLOCK, 4 * BLOCK] {
            let groups = x.len() / group;
            let scales = (0..groups).map(|group| 0.01 * (group + 1) as f32).collect::<Vec<_>>();
            let zeros = (0..groups).map(|group| 3 + 4 * group as u8).collect::<Vec<_>>();
            let sums = x.chunks(group).map(sum).collect::<Vec<_>>();
            let of_place = |place: usize| {
                let of_group = place / group;
                f64::from(scales[of_group])
                    * (f64::from(codes[place]) - f64::from(zeros[of_group]))
                    * f64::from(x[place])
            };
            let (expected, size) = (0..x.len())
                .map(of_place)
                .fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()));
            let found = f64::from(dot(&bytes, (&scales, &zeros), &x, &sums));
            assert!((found - expected).abs() < 1e-6 * size, "{found} {expected}, of {size}");
        }
    }
}
