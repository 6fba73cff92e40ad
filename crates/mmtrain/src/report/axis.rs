//! Linear axes with round ticks.

use super::text::{grouped, scientific};

/// A linear axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Lower end.
    pub(super) min: f64,
    /// Upper end, above `min`.
    pub(super) max: f64,
    /// Distance between ticks.
    pub(super) tick: f64,
}

impl Axis {
    /// An axis from tick to tick around the values, with about that many ticks; from 0 where that is near.
    pub(super) fn around(values: impl Iterator<Item = f64>, ticks: f64) -> Self {
        let (min, max) = bounds(values);
        let tick = round_step((max - min) / ticks);
        Self { min: (min / tick + 1e-6).floor() * tick, max: (max / tick - 1e-6).ceil() * tick, tick }
    }

    /// An axis of whole numbers that ends where the values end.
    pub(super) fn counts(values: impl Iterator<Item = f64>, ticks: f64) -> Self {
        let (min, max) = bounds(values);
        Self { min, max, tick: round_step((max - min) / ticks).max(1.0) }
    }

    /// An axis of shares, 0 to 1.
    pub(super) fn shares() -> Self {
        Self { min: 0.0, max: 1.0, tick: 0.25 }
    }

    /// The ticks on it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (first, last) = ((self.min / self.tick - 1e-6).ceil() as i64, (self.max / self.tick + 1e-6).floor() as i64);
        (first..=last).map(|index| index as f64 * self.tick).collect()
    }

    /// Where a value lies on it, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.min) / (self.max - self.min)
    }

    /// A tick as text, with as many places as the distance between ticks asks for.
    pub(super) fn label(&self, tick: f64) -> String {
        if tick == 0.0 {
            "0".into()
        } else if self.tick < 1e-3 || self.max.abs().max(self.min.abs()) >= 1e9 {
            scientific(tick)
        } else if self.tick < 1.0 {
            format!("{tick:.*}", -self.tick.log10().floor() as usize)
        } else {
            format!("{}{}", if tick < 0.0 { "-" } else { "" }, grouped(tick.abs().round() as u64))
        }
    }
}

/// Between numbers that differ by less there are no ticks that are numbers.
const LEAST: f64 = 1e-290;

/// Lowest and highest value, widened so that an axis can lie around them; from 0 where that is near.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let least_and_most = |(min, max): (f64, f64), value: f64| (min.min(value), max.max(value));
    let (mut min, mut max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), least_and_most);
    if min > max {
        return (0.0, 1.0);
    }
    if min >= 0.0 && (min <= 0.6 * max || max <= min) {
        min = 0.0;
    }
    if max - min <= (1e-9 * max.abs()).max(LEAST) {
        max = min + min.abs().max(1.0);
    }
    (min, max)
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `distance`.
fn round_step(distance: f64) -> f64 {
    let power = 10f64.powf(distance.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= distance * 0.999);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(values: &[f64]) -> Axis {
        Axis::around(values.iter().copied(), 5.0)
    }

    fn labels(values: &[f64]) -> Vec<String> {
        let axis = axis(values);
        axis.ticks().into_iter().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn axes_have_round_ticks() {
        assert_eq!(labels(&[0.3, 6.2]), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(&[2.31, 2.38]), ["2.30", "2.32", "2.34", "2.36", "2.38"]);
        assert_eq!(labels(&[0.0, 0.001]), ["0", "2e-4", "4e-4", "6e-4", "8e-4", "1e-3"]);
        assert_eq!(labels(&[100.0, 52_000.0]), ["0", "20,000", "40,000", "60,000"]);
        assert_eq!(labels(&[-0.7, 0.4]), ["-1.0", "-0.5", "0", "0.5"]);
    }

    #[test]
    fn axes_stand_without_values_and_around_one() {
        assert_eq!((axis(&[]).min, axis(&[]).max), (0.0, 1.0));
        for value in [0.0, 2.5, -3.0, 1e29, -1e29, 1e-12] {
            let axis = axis(&[value]);
            assert!((0.0..=1.0).contains(&axis.share(value)), "{value} on {axis:?}");
            assert!((2..20).contains(&axis.ticks().len()), "{value}: {:?}", axis.ticks());
        }
    }

    /// Numbers that differ by nothing, by little and by much, as a damaged log may hold them.
    #[test]
    fn axes_lie_around_any_two_numbers() {
        let sizes = [0.0, 5e-324, 1e-310, 1e-300, 1e-12, 1.0, 1.0 + 1e-15, 1.0 + 1e-8, 1e9, 1.8e19, 1e20 + 3e4, 9.9e29];
        let numbers = sizes.into_iter().flat_map(|size| [size, -size]).collect::<Vec<_>>();
        for (&a, &b) in numbers.iter().flat_map(|a| numbers.iter().map(move |b| (a, b))) {
            let around = Axis::around([a, b].into_iter(), 5.0);
            let counts = Axis::counts([a.abs(), b.abs()].into_iter(), 8.0);
            for (axis, values) in [(around, [a, b]), (counts, [a.abs(), b.abs()])] {
                assert!((1..20).contains(&axis.ticks().len()), "{values:?}: {axis:?}");
                assert!(
                    values.iter().all(|&value| (-1e-6..=1.0 + 1e-6).contains(&axis.share(value))),
                    "{values:?}: {axis:?}"
                );
                axis.ticks().into_iter().for_each(|tick| drop(axis.label(tick)));
            }
        }
    }

    #[test]
    fn steps_get_whole_ticks_and_no_empty_end() {
        let axis = Axis::counts([1.0, 3.0].into_iter(), 8.0);
        assert_eq!((axis.max, axis.ticks()), (3.0, vec![0.0, 1.0, 2.0, 3.0]));
    }
}
