//! Pillow's resize, bit for bit.
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

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::filter::Curve;
use crate::nearest::nearest;
use crate::pixels::Window;
use crate::{Filter, Rgb8, Size};

/// Fraction bits of a weight: 8 bits of pixel and 2 of head-room are left in 32.
const PRECISION_BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Resizes to `width x height` pixels like `Image.resize((width, height), BICUBIC)`.
///
/// # Panics
///
/// If either picture has no pixels; [`decode`](crate::decode) never returns such a one.
pub fn resize_bicubic(image: &Rgb8, width: u32, height: u32) -> Rgb8 {
    resize(image, Size::new(width, height), Filter::Bicubic)
}

/// Resizes like `Image.resize((to.width, to.height), filter)`.
///
/// # Panics
///
/// If either picture has no pixels; [`decode`](crate::decode) never returns such a one.
pub fn resize(image: &Rgb8, to: Size, filter: Filter) -> Rgb8 {
    resize_window(image, to, Window::whole(to), filter)
}

/// The `window` of what [`resize`] would return; what lies outside is not computed.
pub(crate) fn resize_window(image: &Rgb8, to: Size, window: Window, filter: Filter) -> Rgb8 {
    let from = image.size();
    assert!(from.pixels() > 0 && to.pixels() > 0, "resize from {from} to {to}");
    let Some(curve) = filter.curve() else { return nearest(image, to, window) };
    let columns = (to.width != from.width).then(|| Kernel::new(from.width, to.width, window.columns(), curve));
    let rows = (to.height != from.height).then(|| Kernel::new(from.height, to.height, window.rows(), curve));
    let needed = rows.as_ref().map_or(window.rows(), Kernel::span);
    let resized = match &columns {
        Some(kernel) => horizontal(image, needed.clone(), kernel),
        None => image.crop(window.left, needed.start as u32, window.size.width, needed.len() as u32),
    };
    match &rows {
        Some(kernel) => vertical(&resized, needed.start, kernel),
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
    /// `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's `Resample.c`, for `range` of the output positions.
    fn new(input: u32, output: u32, range: Range<usize>, (support, curve): Curve) -> Self {
        let scale = f64::from(input) / f64::from(output);
        let filter_scale = scale.max(1.0);
        let support = support * filter_scale;
        let max_taps = support.ceil() as usize * 2 + 1;
        let mut kernel = Self {
            starts: Vec::with_capacity(range.len()),
            weights: vec![0; range.len() * max_taps],
            taps: Vec::with_capacity(range.len()),
            max_taps,
        };
        for (x, slots) in range.zip(kernel.weights.chunks_exact_mut(max_taps)) {
            let center = (x as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input as usize);
            let inverse = 1.0 / filter_scale;
            let at = |i: usize| curve(((i + start) as f64 - center + 0.5) * inverse);
            fill_weights(&mut slots[..end - start], at);
            kernel.starts.push(start);
            kernel.taps.push(end - start);
        }
        kernel
    }

    /// The input positions that any output position reads.
    fn span(&self) -> Range<usize> {
        let ends = self.starts.iter().zip(&self.taps).map(|(start, taps)| start + taps);
        self.starts.iter().min().copied().unwrap_or(0)..ends.max().unwrap_or(0)
    }

    fn positions(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.max_taps);
        let windows = self.starts.iter().zip(&self.taps).zip(weights);
        windows.map(|((&start, &taps), weights)| (start, &weights[..taps]))
    }
}

/// Weights that sum to one, in fixed point, rounded half away from zero; `at` gives them before that.
fn fill_weights(slots: &mut [i32], at: impl Fn(usize) -> f64) {
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

#[inline(always)]
fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Every one of `rows` on its own: `[rows, in, 3]` to `[rows, out, 3]`.
fn horizontal(image: &Rgb8, rows: Range<usize>, kernel: &Kernel) -> Rgb8 {
    let width = kernel.starts.len();
    let mut data = vec![0; width * rows.len() * 3];
    let height = rows.len() as u32;
    Arch::new().dispatch(Horizontal { image, rows, kernel, out: &mut data });
    Rgb8 { width: width as u32, height, data }
}

/// The horizontal pass as something to compile once per instruction set.
struct Horizontal<'a> {
    image: &'a Rgb8,
    rows: Range<usize>,
    kernel: &'a Kernel,
    out: &'a mut [u8],
}

impl WithSimd for Horizontal<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut wide = vec![[0; 4]; self.image.width as usize];
        let stride = self.image.stride();
        let rows = self.image.data[self.rows.start * stride..self.rows.end * stride].chunks_exact(stride);
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

/// Whole rows at a time: `[in, width, 3]` to `[out, width, 3]`; `image` begins with row `first` of the input.
fn vertical(image: &Rgb8, first: usize, kernel: &Kernel) -> Rgb8 {
    let stride = image.stride();
    let mut data = vec![0; stride * kernel.starts.len()];
    Arch::new().dispatch(Vertical { image, first, kernel, out: &mut data });
    Rgb8 { width: image.width, height: kernel.starts.len() as u32, data }
}

/// The vertical pass as something to compile once per instruction set.
struct Vertical<'a> {
    image: &'a Rgb8,
    first: usize,
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
            vertical_row(&self.image.data[(start - self.first) * stride..], stride, weights, out);
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
    use crate::fixtures::{cases, difference, fixture, fixture_bytes, fnv1a, formula};

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
            assert_eq!(fnv1a(&resized.data), expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn every_filter_equals_pillow() {
        #[derive(serde::Deserialize)]
        struct Case {
            filter: Filter,
            from: [u32; 2],
            to: [u32; 2],
            fnv1a: String,
        }
        let cases: Vec<Case> = cases("filters");
        assert_eq!(cases.len(), 4 * 18);
        for Case { filter, from, to, fnv1a: expected } in cases {
            let resized = resize(&formula(from[0], from[1]), Size::new(to[0], to[1]), filter);
            assert_eq!(fnv1a(&resized.data), expected, "{filter:?}, {from:?} to {to:?}");
        }
    }

    #[test]
    fn a_window_is_what_a_crop_of_the_whole_is() {
        let image = formula(61, 47);
        for (to, left, top, width, height) in
            [((90, 20), 31, 3, 17, 9), ((61, 20), 5, 0, 9, 20), ((30, 47), 1, 40, 3, 7), ((61, 47), 9, 9, 4, 4)]
        {
            let (to, size) = (Size::new(to.0, to.1), Size::new(width, height));
            for filter in [Filter::Nearest, Filter::Lanczos, Filter::Bilinear, Filter::Bicubic] {
                let window = resize_window(&image, to, Window { left, top, size }, filter);
                assert_eq!(window, resize(&image, to, filter).crop(left, top, width, height), "{filter:?} {to}");
            }
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
