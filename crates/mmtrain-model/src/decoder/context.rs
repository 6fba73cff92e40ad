//! Positions and masks of a forward pass.

use burn::prelude::*;

use super::positions::Positions;
use crate::attention::Mask;
use crate::config::TextConfig;
use crate::rope::{Rope, RopeTable};

/// What all blocks of a forward pass share.
#[derive(Debug, Clone)]
pub struct DecoderContext {
    /// Rotary tables of the positions at hand.
    rope: RopeTable,
    /// Which keys a query sees; none when a single new token sees the whole cache.
    mask: Option<Mask>,
    /// The same inside the window, where the model has one and something lies outside.
    windowed: Option<Mask>,
}

impl DecoderContext {
    /// For whole right-padded sequences: causal, padding never seen by real tokens.
    pub fn for_training(config: &TextConfig, seq: usize, device: &Device) -> Self {
        Self::with_mask(config, 0, seq, Some(Mask::causal(seq, seq, device)), device)
    }

    /// For `seq` new tokens after `past` cached ones.
    pub fn for_generation(config: &TextConfig, past: usize, seq: usize, device: &Device) -> Self {
        let mask = (seq > 1).then(|| Mask::causal(seq, past + seq, device));
        Self::with_mask(config, past, seq, mask, device)
    }

    /// With any mask on `seq` tokens at `start` and behind; none lets each of them see all keys, in blocks
    /// without a window.
    pub fn with_mask(config: &TextConfig, start: usize, seq: usize, mask: Option<Mask>, device: &Device) -> Self {
        let keys = start + seq;
        let windowed = windowed(config, keys, || mask.clone().unwrap_or_else(|| Mask::causal(seq, keys, device)));
        Self { rope: RopeTable::new(&Rope::of(config, keys), start, seq, device), mask, windowed }
    }

    /// For sequences that lie behind one another in rows of `seq` tokens: each starts at position 0 and sees
    /// itself only. `lengths` are those of each row, whose rest is padding.
    pub fn packed(config: &TextConfig, lengths: &[Vec<usize>], seq: usize, device: &Device) -> Self {
        let restarted = |lengths: &Vec<usize>| lengths.iter().flat_map(|&len| 0..len).collect::<Vec<_>>();
        let positions = lengths.iter().map(|lengths| placed([(0, restarted(lengths).as_slice())], seq));
        Self::at(config, &positions.collect::<Vec<_>>(), Mask::packed(lengths, seq, device), device)
    }

    /// For tokens at any positions of their sequences. `[batch][seq]` The mask is about places in the row.
    pub fn at(config: &TextConfig, positions: &[Vec<usize>], mask: Mask, device: &Device) -> Self {
        let longest = positions.iter().flatten().max().map_or(0, |&last| last + 1);
        let rope = RopeTable::at(&Rope::of(config, longest), positions, device);
        let windowed = windowed(config, mask.keys(), || mask.clone());
        Self { rope, mask: Some(mask), windowed }
    }

    /// For `seq` new tokens at positions in time, height and width. The tokens of each sample of a row begin at the
    /// column that stands before their positions; the rest is padding. The mask is about places in the row, not about
    /// these positions.
    ///
    /// # Panics
    ///
    /// Panics if the model has no sections of frequencies, which its configuration says.
    pub fn multimodal(
        config: &TextConfig,
        rows: &[Vec<(usize, Positions)>],
        seq: usize,
        mask: Mask,
        device: &Device,
    ) -> Self {
        let section = config.mrope_section.expect("callers ask whether the model has M-RoPE");
        let longest = rows.iter().flatten().map(|(_, sample)| sample.next()).max().unwrap_or(seq);
        let axis = |row: &Vec<(usize, Positions)>, axis: usize| {
            placed(row.iter().map(|(start, sample)| (*start, sample.axes()[axis].as_slice())), seq)
        };
        let positions = rows.iter().map(|row| [axis(row, 0), axis(row, 1), axis(row, 2)]).collect::<Vec<_>>();
        let rope = RopeTable::multimodal(&Rope::of(config, longest), section, &positions, device);
        let windowed = windowed(config, mask.keys(), || mask.clone());
        Self { rope, mask: Some(mask), windowed }
    }

    /// Rotary tables of the positions at hand.
    pub(super) fn rope(&self) -> &RopeTable {
        &self.rope
    }

    /// The mask of a block with or without a window.
    pub(super) fn mask(&self, has_window: bool) -> Option<&Mask> {
        self.windowed.as_ref().filter(|_| has_window).or(self.mask.as_ref())
    }
}

/// The mask of blocks with a window, where some of `keys` keys lie outside of it.
fn windowed(config: &TextConfig, keys: usize, mask: impl FnOnce() -> Mask) -> Option<Mask> {
    let size = config.sliding_window.as_ref()?.size;
    (keys > size).then(|| mask().with_window(size))
}

/// Positions of a row: of each sample from its column on. Those of padding do not matter.
fn placed<'a>(samples: impl IntoIterator<Item = (usize, &'a [usize])>, seq: usize) -> Vec<usize> {
    let mut row = Vec::with_capacity(seq);
    for (start, positions) in samples {
        row.resize(start, 0);
        row.extend_from_slice(positions);
    }
    row.resize(seq, 0);
    row
}
