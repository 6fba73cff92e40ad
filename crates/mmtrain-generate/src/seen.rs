//! Media that were seen before: what comes again, in another prompt or in the next turn, is not encoded again.

use std::collections::VecDeque;

use burn::prelude::*;
use mmtrain_model::connector::Bridge;
use mmtrain_model::media::{BatchView, PlacedMedium};
use mmtrain_model::{ModelError, Vlm};

/// Bytes of rows that are kept at most, beside those of the batch at hand.
const KEPT: usize = 128 << 20;

/// blake3 of a medium and of what else its rows depend on.
type Key = [u8; 32];

/// Rows that the decoder gets of media, those that were wanted last at the end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// `[tokens, hidden]` each
    rows: VecDeque<(Key, Tensor<2>)>,
    bytes: usize,
}

impl Seen {
    /// As [`Vlm::encode`], of which each medium is encoded once. A memory for cross-attention is made of all media of a batch
    /// at once, and not kept.
    pub(crate) fn encode(&mut self, model: &Vlm, batch: &BatchView<'_>) -> Result<Option<Bridge>, ModelError> {
        if batch.media.is_empty() || model.config.cross_attention().is_some() {
            return model.encode(batch);
        }
        let keys = batch.media.iter().map(key).collect::<Vec<_>>();
        let is_new = |index: &usize| !keys[..*index].contains(&keys[*index]) && self.find(keys[*index]).is_none();
        let new = (0..keys.len()).filter(is_new).collect::<Vec<_>>();
        let media = new.iter().map(|&index| batch.media[index]).collect::<Vec<_>>();
        if let Some(bridge) = model.encode(&BatchView { media, ..batch.clone() })? {
            let counts = new.iter().map(|&index| tokens(&batch.media[index])).collect::<Vec<_>>();
            let Bridge::Tokens(rows) = bridge else { return model.encode(batch) };
            if rows.dims()[0] != counts.iter().sum::<usize>() {
                // Placeholders that are not those of the media: the error says so where they are spliced.
                return model.encode(batch);
            }
            for (&index, rows) in new.iter().zip(rows.split_with_sizes(counts, 0)) {
                self.keep(keys[index], rows);
            }
        }
        let wanted = keys.iter().map(|key| self.want(*key)).collect::<Option<Vec<_>>>();
        self.shrink();
        Ok(wanted.map(|rows| Bridge::Tokens(Tensor::cat(rows, 0))))
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn media(&self) -> usize {
        self.rows.len()
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.rows.iter().position(|(other, _)| *other == key)
    }

    /// The rows of a medium, which are then those wanted last.
    fn want(&mut self, key: Key) -> Option<Tensor<2>> {
        let found = self.rows.remove(self.find(key)?)?;
        let rows = found.1.clone();
        self.rows.push_back(found);
        Some(rows)
    }

    fn keep(&mut self, key: Key, rows: Tensor<2>) {
        self.bytes += bytes(&rows);
        self.rows.push_back((key, rows));
    }

    /// Forgets those that were not wanted for longest.
    fn shrink(&mut self) {
        while self.bytes > KEPT
            && let Some((_, rows)) = self.rows.pop_front()
        {
            self.bytes -= bytes(&rows);
        }
    }
}

fn bytes(rows: &Tensor<2>) -> usize {
    rows.dims().iter().product::<usize>() * rows.dtype().size()
}

/// Placeholders of a medium.
fn tokens(medium: &PlacedMedium<'_>) -> usize {
    medium.spans.iter().map(|(_, len)| len).sum()
}

fn key(medium: &PlacedMedium<'_>) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?} {:?} {}", medium.layout, medium.instruction, medium.group_seconds).as_bytes());
    for values in medium.values.chunks(4096) {
        hasher.update(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_wanted_for_longest_is_forgotten_first() {
        let device = Device::flex();
        let rows = |value: f32| Tensor::<2>::full([KEPT / 3 / 4, 1], value, &device);
        let mut seen = Seen::default();
        for number in 0..3_u8 {
            seen.keep([number; 32], rows(f32::from(number)));
        }
        assert!(seen.want([0; 32]).is_some());
        seen.keep([3; 32], rows(3.0));
        seen.shrink();
        let kept = seen.rows.iter().map(|(key, _)| key[0]).collect::<Vec<_>>();
        assert_eq!(kept, [2, 0, 3]);
        assert_eq!(seen.bytes, seen.rows.iter().map(|(_, rows)| bytes(rows)).sum::<usize>());
    }
}
