//! Arithmetic that a compiler turns into vector instructions: sums in lanes, and functions without branches.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into a task is compiled for the machine's instructions"
)]

use std::array::from_fn;

/// Sums side by side. The order of a sum depends on this, and on nothing of the machine.
const LANES: usize = 16;

/// `Σ value(a)`
#[inline(always)]
pub(crate) fn sum(a: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = a.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for a in chunks {
        lanes = from_fn(|lane| lanes[lane] + value(a[lane]));
    }
    total(&lanes) + rest.iter().map(|&a| value(a)).sum::<f32>()
}

/// `Σ value(a, b)`
#[inline(always)]
pub(crate) fn sum2(a: &[f32], b: &[f32], value: impl Fn(f32, f32) -> f32) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        lanes = from_fn(|lane| lanes[lane] + value(a[lane], b[lane]));
    }
    total(&lanes) + a_rest.iter().zip(b_rest).map(|(&a, &b)| value(a, b)).sum::<f32>()
}

/// `Σ value(a, b, c)`
#[inline(always)]
pub(crate) fn sum3(a: &[f32], b: &[f32], c: &[f32], value: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let ((a, a_rest), (b, b_rest), (c, c_rest)) =
        (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        lanes = from_fn(|lane| lanes[lane] + value(a[lane], b[lane], c[lane]));
    }
    let rest = a_rest.iter().zip(b_rest).zip(c_rest).map(|((&a, &b), &c)| value(a, b, c));
    total(&lanes) + rest.sum::<f32>()
}

/// The largest value.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let (chunks, rest) = a.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for a in chunks {
        for lane in 0..LANES {
            lanes[lane] = if a[lane] > lanes[lane] { a[lane] } else { lanes[lane] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &a| if a > most { a } else { most })
}

/// The sum of lanes. Inlined, it would have the compiler keep the lanes of the loop before it in pairs, as it adds them up, instead of
/// in whole vectors.
#[inline(never)]
fn total(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `eˣ`, to two units in the last place; 0 below -87.3, and no more than that of 88.3.
///
/// `2ⁿ` times a polynomial in what is left of `x`, as in Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let kept = x.clamp(-87.3, 88.3);
    let power = (kept * std::f32::consts::LOG2_E).round_ties_even();
    let left = power.mul_add(-LN2_LOW, power.mul_add(-LN2_HIGH, kept));
    let mut series = 1.987_569_1e-4_f32;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series.mul_add(left, factor);
    }
    let series = series.mul_add(left * left, left) + 1.0;
    let scaled = series * f32::from_bits(((power as i32 + 127) as u32) << 23);
    if x < -87.3 { 0.0 } else { scaled }
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh`
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// The error function, to 3e-7: the quotient of polynomials of Eigen's `erf_float`.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let kept = x.clamp(-4.0, 4.0);
    let square = kept * kept;
    let mut above = -2.726_142_4e-10_f32;
    for factor in [2.770_681_5e-8, -2.101_024e-6, -5.692_506_3e-5, -7.349_906_5e-4, -2.954_6e-3, -1.609_603_4e-2] {
        above = above.mul_add(square, factor);
    }
    let mut below = -1.456_607_2e-5_f32;
    for factor in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329_3e-3, -1.426_473_9e-2] {
        below = below.mul_add(square, factor);
    }
    kept * above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |i| from + (to - from) * i as f32 / 20_000.0)
    }

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for x in grid(-87.0, 88.0) {
            let (ours, theirs) = (exp(x), f64::from(x).exp());
            assert!((f64::from(ours) / theirs - 1.0).abs() < 3e-7, "{x}: {ours} {theirs}");
        }
        let exact = [exp(-1e9), exp(f32::NEG_INFINITY), exp(0.0)].map(f32::to_bits);
        assert_eq!(exact, [0.0_f32, 0.0, 1.0].map(f32::to_bits));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_and_tanh_are_those_of_the_library() {
        for x in grid(-30.0, 30.0) {
            let x64 = f64::from(x);
            assert!((f64::from(tanh(x)) - x64.tanh()).abs() < 2e-7, "{x}");
            assert!((f64::from(sigmoid(x)) - 1.0 / (1.0 + (-x64).exp())).abs() < 1e-7, "{x}");
        }
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }

    /// Abramowitz and Stegun, table 7.1.
    #[test]
    fn the_error_function_is_that_of_the_tables() {
        let table = [
            (0.0, 0.0),
            (0.1, 0.112_462_916),
            (0.5, 0.520_499_878),
            (1.0, 0.842_700_793),
            (1.5, 0.966_105_146),
            (2.0, 0.995_322_265),
            (3.0, 0.999_977_91),
        ];
        for (x, value) in table {
            assert!((f64::from(erf(x)) - value).abs() < 3e-7, "{x}: {}", erf(x));
            assert!((erf(x) + erf(-x)).abs() < 1e-9);
        }
        assert!((erf(7.0) - 1.0).abs() < 3e-7 && erf(f32::NAN).is_nan());
    }

    /// Square roots added up in the order that is promised, one by one.
    fn in_lanes(values: &[f32]) -> f32 {
        let whole = values.len() / LANES * LANES;
        let mut lanes = [0.0_f32; LANES];
        values[..whole].iter().enumerate().for_each(|(at, value)| lanes[at % LANES] += value.sqrt());
        let mut half = LANES / 2;
        while half > 0 {
            (0..half).for_each(|lane| lanes[lane] += lanes[lane + half]);
            half /= 2;
        }
        lanes[0] + values[whole..].iter().map(|value| value.sqrt()).sum::<f32>()
    }

    #[test]
    fn sums_take_every_value_once_and_in_the_same_order_everywhere() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values = (1..=len).map(|i| i as f32).collect::<Vec<_>>();
            let expected = (len * (len + 1) / 2) as f32;
            assert!((sum(&values, |a| a) - expected).abs() < 1e-3, "{len}");
            assert!((sum2(&values, &values, |a, b| 2.0 * a - b) - expected).abs() < 1e-3, "{len}");
            assert!((sum3(&values, &values, &values, |a, b, c| a + b - c) - expected).abs() < 1e-3, "{len}");
            assert_eq!(sum(&values, f32::sqrt).to_bits(), in_lanes(&values).to_bits(), "{len}");
            assert!(len == 0 || (max(&values) - len as f32).abs() < f32::EPSILON, "{len}");
        }
    }
}
