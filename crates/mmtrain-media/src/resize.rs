//! Pillow's bicubic resize, bit for bit.
//!
//! Two passes, horizontal first, each an integer dot product with 22-bit fixed-point weights and
//! rounding to 8 bits after each pass, as in `Resample.c`. When shrinking, the kernel is widened by
//! the scale (antialiasing). Any other bicubic differs: without antialiasing by up to 28 levels,
//! with float intermediates by up to 6, which is what a checkpoint trained on Pillow's pixels would see.
//!
//! The order of the passes is that of Pillow up to 11. Newer ones run the vertical pass first for some
//! shapes (12: more than 100 times as tall as wide; 13: mostly where only the height shrinks), with other
//! roundings; the checkpoints of today were trained with the order kept here.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `with_simd` is compiled for the chosen instruction set"
)]

use pulp::{Arch, Simd, WithSimd};

use crate::Rgb8;

/// Fraction bits of a weight: 8 bits of pixel and 2 of head-room are left in 32.
const PRECISION_BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Resizes to `width x height` pixels like `Image.resize((width, height), BICUBIC)`.
///
/// # Panics
///
/// If either picture has no pixels; [`decode`](crate::decode) never returns such a one.
pub fn resize_bicubic(image: &Rgb8, width: u32, height: u32) -> Rgb8 {
    assert!(
        image.width.min(image.height).min(width).min(height) > 0,
        "resize from {}x{} to {width}x{height}",
        image.width,
        image.height
    );
    let columns = (width != image.width).then(|| Kernel::new(image.width, width));
    let rows = (height != image.height).then(|| Kernel::new(image.height, height));
    let resized = match &columns {
        Some(kernel) => horizontal(image, kernel),
        None => image.clone(),
    };
    match &rows {
        Some(kernel) => vertical(&resized, kernel),
        None => resized,
    }
}

/// For each output position, the first input position and its fixed-point weights.
struct Kernel {
    starts: Vec<usize>,
    /// Taps of all positions, each padded with zeros to `max_taps`: `[out, max_taps]`.
    weights: Vec<i32>,
    taps: Vec<usize>,
    max_taps: usize,
}

impl Kernel {
    /// `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's `Resample.c`.
    fn new(input: u32, output: u32) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let filter_scale = scale.max(1.0);
        let support = 2.0 * filter_scale;
        let max_taps = support.ceil() as usize * 2 + 1;
        let mut kernel = Self {
            starts: Vec::with_capacity(output as usize),
            weights: vec![0; output as usize * max_taps],
            taps: Vec::with_capacity(output as usize),
            max_taps,
        };
        for (x, slots) in kernel.weights.chunks_exact_mut(max_taps).enumerate() {
            let center = (x as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input as usize);
            fill_weights(&mut slots[..end - start], start, center, filter_scale);
            kernel.starts.push(start);
            kernel.taps.push(end - start);
        }
        kernel
    }

    fn positions(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.max_taps);
        let windows = self.starts.iter().zip(&self.taps).zip(weights);
        windows.map(|((&start, &taps), weights)| (start, &weights[..taps]))
    }
}

/// Weights that sum to one, in fixed point, rounded half away from zero.
fn fill_weights(slots: &mut [i32], start: usize, center: f64, filter_scale: f64) {
    let inverse = 1.0 / filter_scale;
    let at = |i: usize| bicubic(((i + start) as f64 - center + 0.5) * inverse);
    let mut weights: Vec<f64> = (0..slots.len()).map(at).collect();
    let sum: f64 = weights.iter().sum();
    if sum != 0.0 {
        for weight in &mut weights {
            *weight /= sum;
        }
    }
    for (slot, weight) in slots.iter_mut().zip(weights) {
        let fixed = weight * f64::from(1 << PRECISION_BITS);
        *slot = (fixed + if weight < 0.0 { -0.5 } else { 0.5 }) as i32;
    }
}

/// Keys' cubic convolution kernel with a = -0.5, in Pillow's order of operations.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[inline(always)]
fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Every row on its own: `[height, in, 3]` to `[height, out, 3]`.
fn horizontal(image: &Rgb8, kernel: &Kernel) -> Rgb8 {
    let width = kernel.starts.len();
    let mut data = vec![0; width * image.height as usize * 3];
    Arch::new().dispatch(Horizontal { image, kernel, out: &mut data });
    Rgb8 { width: width as u32, height: image.height, data }
}

/// The horizontal pass as something to compile once per instruction set.
struct Horizontal<'a> {
    image: &'a Rgb8,
    kernel: &'a Kernel,
    out: &'a mut [u8],
}

impl WithSimd for Horizontal<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut wide = vec![[0; 4]; self.image.width as usize];
        let rows = self.image.data.chunks_exact(self.image.stride());
        let outs = self.out.chunks_exact_mut(self.kernel.starts.len() * 3);
        for (row, out) in rows.zip(outs) {
            horizontal_row(row, self.kernel, &mut wide, out);
        }
    }
}

/// `wide` holds the row as four 32-bit lanes a pixel, so that one vector operation serves a whole pixel.
#[inline(always)]
fn horizontal_row(row: &[u8], kernel: &Kernel, wide: &mut [[i32; 4]], out: &mut [u8]) {
    for (lanes, pixel) in wide.iter_mut().zip(row.chunks_exact(3)) {
        *lanes = [pixel[0].into(), pixel[1].into(), pixel[2].into(), 0];
    }
    for ((start, weights), out) in kernel.positions().zip(out.chunks_exact_mut(3)) {
        let mut sums = [HALF; 4];
        for (pixel, &weight) in wide[start..].iter().zip(weights) {
            for (sum, lane) in sums.iter_mut().zip(pixel) {
                *sum += lane * weight;
            }
        }
        let pixel = sums.map(to_u8);
        out.copy_from_slice(&pixel[..3]);
    }
}

/// Whole rows at a time: `[in, width, 3]` to `[out, width, 3]`.
fn vertical(image: &Rgb8, kernel: &Kernel) -> Rgb8 {
    let stride = image.stride();
    let mut data = vec![0; stride * kernel.starts.len()];
    Arch::new().dispatch(Vertical { image, kernel, out: &mut data });
    Rgb8 { width: image.width, height: kernel.starts.len() as u32, data }
}

/// The vertical pass as something to compile once per instruction set.
struct Vertical<'a> {
    image: &'a Rgb8,
    kernel: &'a Kernel,
    out: &'a mut [u8],
}

impl WithSimd for Vertical<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let stride = self.image.stride();
        let outs = self.out.chunks_exact_mut(stride);
        for ((start, weights), out) in self.kernel.positions().zip(outs) {
            vertical_row(&self.image.data[start * stride..], stride, weights, out);
        }
    }
}

/// Samples summed at once: their sums stay in registers over all taps.
const LANES: usize = 32;

#[inline(always)]
fn vertical_row(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    let rest_at = chunks.len() * LANES;
    for (i, chunk) in chunks.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (&weight, row) in weights.iter().zip(rows.chunks(stride)) {
            let samples = row[i * LANES..].first_chunk::<LANES>();
            let samples = samples.expect("a row has as many samples as the output");
            for (sum, &sample) in sums.iter_mut().zip(samples) {
                *sum += i32::from(sample) * weight;
            }
        }
        *chunk = sums.map(to_u8);
    }
    for (i, out) in rest.iter_mut().enumerate() {
        let taps = weights.iter().zip(rows.chunks(stride));
        let sum: i32 = taps.map(|(&w, row)| i32::from(row[rest_at + i]) * w).sum();
        *out = to_u8(sum + HALF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{difference, fixture, fixture_bytes, formula};

    /// FNV-1a, 64 bits.
    fn fnv1a(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// `name` is `source.to_WxH`.
    fn check(name: &str) {
        let (source, size) = name.split_once(".to_").expect("a case name");
        let (width, height) = size.split_once('x').expect("WxH");
        let parse = |s: &str| s.parse().expect("a number");
        let source = fixture(&format!("resize/{source}.png"));
        let expected = fixture(&format!("resize/{name}.png"));
        let actual = resize_bicubic(&source, parse(width), parse(height));
        let (max, share) = difference(&actual, &expected);
        assert!(max == 0, "{name}: max {max} levels, {:.3} % of values differ", share * 100.0);
    }

    #[test]
    fn equals_pillow_on_textures() {
        for name in [
            "texture_97x61.to_120x140",
            "texture_97x61.to_32x32",
            "texture_97x61.to_13x50",
            "texture_97x61.to_97x20",
            "texture_97x61.to_20x61",
            "texture_64x64.to_56x56",
            "texture_64x64.to_7x7",
            "texture_64x64.to_65x63",
            "texture_130x70.to_24x24",
            "texture_130x70.to_131x71",
            "texture_3x5.to_16x16",
            "texture_3x5.to_1x1",
        ] {
            check(name);
        }
    }

    #[test]
    fn equals_pillow_on_noise_of_many_sizes() {
        #[derive(serde::Deserialize)]
        struct Case {
            from: [u32; 2],
            to: [u32; 2],
            fnv1a: String,
        }
        let cases: Vec<Case> = serde_json::from_slice(&fixture_bytes("resize/hashes.json")).expect("valid json");
        assert_eq!(cases.len(), 16);
        for Case { from, to, fnv1a: expected } in cases {
            let resized = resize_bicubic(&formula(from[0], from[1]), to[0], to[1]);
            let actual = format!("{:016x}", fnv1a(&resized.data));
            assert_eq!(actual, expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn a_flat_colour_stays_flat() {
        for (width, height) in [(1, 1), (7, 3), (40, 41)] {
            let resized = resize_bicubic(&Rgb8::filled(9, 5, [3, 128, 255]), width, height);
            assert_eq!(resized, Rgb8::filled(width, height, [3, 128, 255]));
        }
    }
}
