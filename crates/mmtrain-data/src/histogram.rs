//! How often numbers of each size occur.

use serde::Serialize;

/// Bars of a histogram, at most.
const MOST_BARS: u64 = 24;

/// Counts of whole numbers in bars of equal width, from the smallest number to the largest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Where the first bar begins.
    pub start: u64,
    /// Numbers per bar.
    pub width: u64,
    /// How many numbers fall into each bar.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Of some numbers; no bars where there are none. Widths are 1, 2 or 5 times a power of ten.
    pub fn of(numbers: &[u64]) -> Self {
        let (Some(&least), Some(&most)) = (numbers.iter().min(), numbers.iter().max()) else { return Self::default() };
        let width = round_width((most - least + 1).div_ceil(MOST_BARS));
        let start = least / width * width;
        let mut counts = vec![0; ((most - start) / width + 1) as usize];
        for number in numbers {
            counts[((number - start) / width) as usize] += 1;
        }
        Self { start, width, counts }
    }

    /// First number of each bar and its count.
    pub fn bars(&self) -> impl Iterator<Item = (u64, u64)> {
        (0_u64..).zip(&self.counts).map(|(bar, &count)| (self.start + bar * self.width, count))
    }
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn round_width(least: u64) -> u64 {
    let mut power = 1;
    loop {
        if let Some(width) = [power, 2 * power, 5 * power].into_iter().find(|&width| width >= least) {
            return width;
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_every_number_once() {
        let numbers: Vec<u64> = (0..1000).map(|i| 37 + i * i % 613).collect();
        let histogram = Histogram::of(&numbers);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 1000);
        assert_eq!((histogram.start, histogram.width), (0, 50));
        assert!(histogram.counts.len() as u64 <= MOST_BARS + 1);
        for (start, count) in histogram.bars() {
            let inside = numbers.iter().filter(|&&n| (start..start + histogram.width).contains(&n)).count();
            assert_eq!(inside as u64, count);
        }
    }

    #[test]
    fn one_number_is_one_bar_and_none_are_none() {
        assert_eq!(Histogram::of(&[7, 7]), Histogram { start: 7, width: 1, counts: vec![2] });
        assert!(Histogram::of(&[]).counts.is_empty());
    }
}
