//! The order of an epoch: a permutation of 0..n that can be entered anywhere.
//!
//! A keyed bijection instead of a shuffled list: position `i` of epoch `e` is computed from
//! `(seed, e, n, i)` alone, so a resume needs two integers and an epoch of any size no memory. It is a
//! balanced Feistel network on the smallest even number of bits that covers n, applied again until the
//! result falls below n (cycle walking; fewer than four applications on average).

use serde::{Deserialize, Serialize};

/// Where in the data a run stands: samples before it have been consumed.
///
/// Where rows are made of several samples at a time, it names the place where their window begins and how many of its
/// rows have been consumed; what rows the window has follows from the place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// Whole passes over the mixture.
    pub epoch: u64,
    /// Position in the epoch, bad samples included.
    pub position: u64,
    /// Rows consumed of the window that begins there; 0 where each sample is a row of its own, in its order.
    #[serde(default)]
    pub rows: u64,
}

impl Cursor {
    /// At the beginning of a window.
    pub fn at(epoch: u64, position: u64) -> Self {
        Self { epoch, position, rows: 0 }
    }

    /// The position behind this one.
    pub(crate) fn next(self, epoch_len: u64) -> Self {
        if self.position + 1 < epoch_len {
            Self::at(self.epoch, self.position + 1)
        } else {
            Self::at(self.epoch + 1, 0)
        }
    }
}

const ROUNDS: usize = 8;

/// Position `i` of the permutation of `0..n` that `seed` and `epoch` choose.
///
/// # Panics
///
/// If `i >= n`.
pub fn permute(seed: u64, epoch: u64, n: u64, i: u64) -> u64 {
    assert!(i < n, "position {i} of {n}");
    let keys = round_keys(seed, epoch, n);
    let half_bits = half_bits(n);
    let mut at = i;
    loop {
        at = feistel(at, half_bits, &keys);
        if at < n {
            return at;
        }
    }
}

/// Half of the smallest even number of bits, two at least, that numbers 0..n.
fn half_bits(n: u64) -> u32 {
    let bits = u64::BITS - (n - 1).leading_zeros();
    bits.div_ceil(2).max(1)
}

fn feistel(value: u64, half_bits: u32, keys: &[u64; ROUNDS]) -> u64 {
    let mask = (1_u64 << half_bits) - 1;
    let (mut left, mut right) = (value >> half_bits, value & mask);
    for &key in keys {
        (left, right) = (right, left ^ (mix(right ^ key) & mask));
    }
    left << half_bits | right
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn round_keys(seed: u64, epoch: u64, n: u64) -> [u64; ROUNDS] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"mmtrain order 1");
    for part in [seed, epoch, n] {
        hasher.update(&part.to_le_bytes());
    }
    let mut bytes = [0; 8 * ROUNDS];
    hasher.finalize_xof().fill(&mut bytes);
    let mut keys = [0; ROUNDS];
    for (key, bytes) in keys.iter_mut().zip(bytes.as_chunks().0) {
        *key = u64::from_le_bytes(*bytes);
    }
    keys
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(seed: u64, epoch: u64, n: u64) -> Vec<u64> {
        (0..n).map(|i| permute(seed, epoch, n, i)).collect()
    }

    #[test]
    fn the_order_never_changes_between_versions() {
        // A run that is resumed with a newer version must see the data in the old order.
        // The numbers were computed by an independent restatement in Python.
        assert_eq!(epoch(7, 0, 10), [6, 5, 4, 0, 7, 8, 1, 2, 9, 3]);
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let base = epoch(1, 0, 1000);
        for other in [epoch(1, 1, 1000), epoch(2, 0, 1000)] {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 20, "{same} of 1000 at the same place");
        }
    }

    #[test]
    fn every_place_is_about_equally_likely() {
        // Sample 0 of 10 over 2000 epochs: 200 times at each place, give or take five deviations.
        let mut counts = [0_u32; 10];
        for e in 0..2000 {
            counts[permute(3, e, 10, 0) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (135..=265).contains(&count)), "{counts:?}");
    }

    #[test]
    fn the_largest_datasets_fit() {
        let n = 1 << 40;
        assert!((0..100).all(|i| permute(1, 2, n, i * 9_999_999_999) < n));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn each_sample_comes_once_an_epoch(seed: u64, e: u64, n in 1_u64..2000) {
            let mut order = epoch(seed, e, n);
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..n));
        }
    }
}
