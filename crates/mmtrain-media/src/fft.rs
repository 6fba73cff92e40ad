//! Power spectra of real frames whose length is a product of small primes: 400 for Whisper.
//!
//! Hardly a reason for a dependency: two frames go through one complex transform of mixed radix (Cooley and Tukey).

use std::f64::consts::PI;

/// A complex number: real and imaginary part.
type Complex = [f64; 2];

/// The largest prime factor of a length that is still handled; a factor costs its square.
pub(crate) const LARGEST_FACTOR: usize = 13;

/// A transform of one length.
pub(crate) struct Fft {
    factors: Vec<usize>,
    /// `exp(-2 pi i k / n)` for k below the length n.
    roots: Vec<Complex>,
    input: Vec<Complex>,
    output: Vec<Complex>,
}

impl Fft {
    pub(crate) fn new(len: usize) -> Self {
        let root = |k: usize| {
            let (sin, cos) = (-2.0 * PI * k as f64 / len as f64).sin_cos();
            [cos, sin]
        };
        let zeros = vec![[0.0; 2]; len];
        Self { factors: factors(len), roots: (0..len).map(root).collect(), input: zeros.clone(), output: zeros }
    }

    /// Whether a length falls into small factors.
    pub(crate) fn handles(len: usize) -> bool {
        factors(len).iter().all(|&factor| factor <= LARGEST_FACTOR)
    }

    /// The squared magnitudes of the bins 0 to n / 2 of two frames, each `[n]`.
    ///
    /// The second frame is the imaginary part of the input; symmetry tells the two spectra apart again.
    pub(crate) fn power(&mut self, first: &[f64], second: &[f64]) -> [Vec<f64>; 2] {
        for ((slot, a), b) in self.input.iter_mut().zip(first).zip(second) {
            *slot = [*a, *b];
        }
        transform(&self.input, 1, &self.factors, &self.roots, &mut self.output);
        let n = self.output.len();
        let pair = |k: usize| (self.output[k], self.output[(n - k) % n]);
        let quarter = |x: f64, y: f64| (x * x + y * y) / 4.0;
        let bins = || (0..=n / 2).map(pair);
        let even = bins().map(|(a, b)| quarter(a[0] + b[0], a[1] - b[1]));
        let odd = bins().map(|(a, b)| quarter(a[0] - b[0], a[1] + b[1]));
        [even.collect(), odd.collect()]
    }
}

/// Every `stride`-th of `input` to its transform: that of each residue class, then put together.
fn transform(input: &[Complex], stride: usize, factors: &[usize], roots: &[Complex], output: &mut [Complex]) {
    let Some((&radix, rest)) = factors.split_first() else {
        output[0] = input[0];
        return;
    };
    let part = output.len() / radix;
    for (class, output) in output.chunks_exact_mut(part).enumerate() {
        transform(&input[class * stride..], stride * radix, rest, roots, output);
    }
    let mut terms = [[0.0; 2]; LARGEST_FACTOR];
    let terms = &mut terms[..radix];
    for k in 0..part {
        for (class, term) in terms.iter_mut().enumerate() {
            *term = times(output[class * part + k], roots[class * k * stride]);
        }
        for bin in 0..radix {
            output[bin * part + k] = combine(terms, bin * (roots.len() / radix), roots);
        }
    }
}

/// The terms, each turned by `step` roots more than the one before.
fn combine(terms: &[Complex], step: usize, roots: &[Complex]) -> Complex {
    let (mut sum, mut at) = (terms[0], 0);
    for &term in &terms[1..] {
        at += step;
        if at >= roots.len() {
            at -= roots.len();
        }
        let turned = times(term, roots[at]);
        sum = [sum[0] + turned[0], sum[1] + turned[1]];
    }
    sum
}

fn times(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// Fours, then primes in ascending order.
fn factors(mut len: usize) -> Vec<usize> {
    let mut factors = Vec::new();
    while len.is_multiple_of(4) && len > 0 {
        factors.push(4);
        len /= 4;
    }
    let mut factor = 2;
    while len > 1 {
        if len.is_multiple_of(factor) {
            factors.push(factor);
            len /= factor;
        } else {
            factor += 1;
        }
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize, seed: usize) -> Vec<f64> {
        (0..len).map(|i| ((i * i * 31 + i * 7 + seed) % 101) as f64 / 50.0 - 1.0).collect()
    }

    /// By the definition.
    fn direct(frame: &[f64]) -> Vec<f64> {
        let n = frame.len();
        let bin = |k: usize| {
            let turned = frame.iter().enumerate().map(|(i, x)| (x, -2.0 * PI * ((i * k) % n) as f64 / n as f64));
            let (re, im) = turned.fold((0.0, 0.0), |(re, im), (x, angle)| (re + x * angle.cos(), im + x * angle.sin()));
            re * re + im * im
        };
        (0..=n / 2).map(bin).collect()
    }

    #[test]
    fn both_spectra_are_those_of_the_definition() {
        for len in [2, 6, 8, 10, 26, 30, 400, 512] {
            let frames = [frame(len, 3), frame(len, 58)];
            let spectra = Fft::new(len).power(&frames[0], &frames[1]);
            for (spectrum, frame) in spectra.iter().zip(&frames) {
                for (k, (bin, expected)) in spectrum.iter().zip(direct(frame)).enumerate() {
                    assert!((bin - expected).abs() < 1e-9 * (1.0 + expected), "{len}, bin {k}: {bin}, {expected}");
                }
            }
        }
    }

    #[test]
    fn lengths_with_a_large_prime_are_not_handled() {
        assert!(Fft::handles(400) && Fft::handles(512) && Fft::handles(26));
        assert!(!Fft::handles(2 * 17) && !Fft::handles(4093));
    }
}
