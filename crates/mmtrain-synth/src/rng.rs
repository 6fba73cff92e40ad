//! Random numbers that are a pure function of integers.
//!
//! Only integer arithmetic and exact float operations lie between the key and the value, so the draw is
//! the same on every machine and with every version of the random-number crates.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use crate::SceneKey;

/// What the numbers are for; a change in one domain does not shift the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Domain {
    Scene = 1,
    Background = 2,
    Objects = 3,
    Caption = 4,
    Talk = 5,
    Sound = 6,
    Wave = 7,
    Clip = 8,
    Motion = 9,
    Print = 10,
    Reading = 11,
}

/// A stream of numbers for one purpose of one scene. A clone draws the same numbers again.
#[derive(Clone)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    pub(crate) fn new(key: &SceneKey, domain: Domain) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&key.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&key.index.to_le_bytes());
        bytes[16..24].copy_from_slice(&(key.split as u64).to_le_bytes());
        bytes[24..].copy_from_slice(&(domain as u64).to_le_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// Uniform in `0..n` (`n` > 0; the bias of 2^-32 does not matter here).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Uniform in `low..high`, from 24 random bits.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32;
        low + unit * (high - low)
    }

    /// Bytes for per-pixel noise.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
