//! What tokens see of the media that cross-attention layers read.
//!
//! A row of the batch has one memory: the keys of its media, one medium after the other, filled up to as many
//! media as the row with the most has. Filling is never seen.
//!
//! Dims: `batch`, `tokens`, `media` of a row, `keys` of its memory, `hidden`.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::attention::{KeyRuns, Mask};
use crate::config::Unseen;
use crate::error::ModelError;

/// Where the media of a batch stand among the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPlaces {
    markers: Vec<Vec<usize>>,
}

impl MediaPlaces {
    /// From the positions of the media's markers, ascending in each row; the media are in the same order.
    pub fn new(markers: Vec<Vec<usize>>) -> Result<Self, ModelError> {
        match markers.iter().position(|row| !row.is_sorted_by(|a, b| a < b)) {
            None => Ok(Self { markers }),
            Some(row) => Err(ModelError::Input {
                message: format!("the media of row {row} stand at {:?}", markers[row]),
                hint: "give the position of each marker once, in ascending order".into(),
            }),
        }
    }

    /// Whether no row has a medium: then there is no memory, and the layers are left out.
    pub fn is_empty(&self) -> bool {
        self.markers.iter().all(Vec::is_empty)
    }

    /// Media in a row's memory.
    fn per_row(&self) -> usize {
        self.markers.iter().map(Vec::len).max().unwrap_or(0).max(1)
    }

    /// One memory for each row, filled up with zeros.
    ///
    /// # Shapes
    ///
    /// - `media`: `[media of all rows, keys, hidden]`; returns `[batch, media * keys, hidden]`
    pub fn memories(&self, media: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        let [count, keys, hidden] = media.dims();
        let expected = self.markers.iter().map(Vec::len).sum::<usize>();
        if count != expected {
            return Err(ModelError::Input {
                message: format!("{count} media for {expected} markers in the text"),
                hint: "give a medium for each marker, row after row".into(),
            });
        }
        let filling = Tensor::zeros([1, keys, hidden], (&media.device().inner(), media.dtype()));
        let slots = self.slots(count);
        let slots = Tensor::<1, Int>::from_data(slots.as_slice(), &media.device().inner());
        let rows = Tensor::cat(vec![media, filling], 0).select(0, slots);
        Ok(rows.reshape([self.markers.len(), self.per_row() * keys, hidden]))
    }

    /// The medium in each place of each row's memory; `filling` where there is none. `[batch * media]`
    fn slots(&self, filling: usize) -> Vec<i64> {
        let mut next = 0..filling as i64;
        let row = |row: &Vec<usize>| {
            let own = next.by_ref().take(row.len()).collect::<Vec<_>>();
            own.into_iter().chain(std::iter::repeat(filling as i64)).take(self.per_row()).collect::<Vec<_>>()
        };
        self.markers.iter().flat_map(row).collect()
    }

    /// The media that the token at `position` sees: the latest at or before it, together with those whose
    /// markers stand directly before that one's.
    ///
    /// `get_cross_attention_token_mask` of `processing_mllama.py` says the same from the side of the media.
    fn latest(markers: &[usize], position: usize) -> Range<usize> {
        let end = markers.partition_point(|&marker| marker <= position);
        let touches = |&index: &usize| index > 0 && markers[index - 1] + 1 == markers[index];
        let start = (0..end).rev().find(|index| !touches(index)).unwrap_or(end);
        start..end
    }
}

/// What each token of a batch sees of its row's memory.
#[derive(Debug, Clone)]
pub struct MemoryMask {
    attention: Mask,
    /// One for a token that sees a medium, else zero. `[batch, tokens, 1]`
    sees: Tensor<3>,
    unseen: Unseen,
}

impl MemoryMask {
    /// A token sees the latest media at or before it.
    ///
    /// `tokens` are positions that the queries have: all of a sequence, or the new ones in generation.
    pub fn latest(
        places: &MediaPlaces,
        keys_per_medium: usize,
        tokens: Range<usize>,
        unseen: Unseen,
        device: &Device,
    ) -> Self {
        let runs = places.per_row();
        let token = |(row, position): (&Vec<usize>, usize)| {
            let seen = MediaPlaces::latest(row, position);
            (0..runs).map(move |medium| seen.contains(&medium))
        };
        let rows = places.markers.iter().flat_map(|row| tokens.clone().map(move |position| (row, position)));
        let seen = rows.flat_map(token).collect();
        Self::new(KeyRuns { seen, batch: places.markers.len(), runs, keys_per_run: keys_per_medium }, unseen, device)
    }

    /// From a table such as `cross_attention_mask` of `processing_mllama.py`, row-major
    /// `[batch, tokens, media, tiles]`; a tile has `keys_per_tile` keys.
    pub fn from_dense(
        seen: Vec<bool>,
        [batch, tokens, media, tiles]: [usize; 4],
        keys_per_tile: usize,
        unseen: Unseen,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let expected = batch * tokens * media * tiles;
        if expected == 0 || seen.len() != expected || keys_per_tile == 0 {
            return Err(ModelError::Input {
                message: format!(
                    "a mask of {} values for [batch {batch}, tokens {tokens}, media {media}, tiles {tiles}] of \
                     {keys_per_tile} keys",
                    seen.len()
                ),
                hint: "a batch without media has no mask: leave the cross-attention layers out".into(),
            });
        }
        Ok(Self::new(KeyRuns { seen, batch, runs: media * tiles, keys_per_run: keys_per_tile }, unseen, device))
    }

    fn new(mut runs: KeyRuns, unseen: Unseen, device: &Device) -> Self {
        let (batch, queries) = (runs.batch, runs.queries());
        let sees = runs.seen.chunks_exact(runs.runs).map(|token| token.contains(&true)).collect::<Vec<_>>();
        if unseen == Unseen::MllamaAll {
            let blind = runs.seen.chunks_exact_mut(runs.runs).zip(&sees).filter(|(_, sees)| !**sees);
            blind.for_each(|(token, _)| token.fill(true));
        }
        let sees = sees.into_iter().map(f32::from).collect::<Vec<_>>();
        let sees = Tensor::from_data(TensorData::new(sees, [batch, queries, 1]), device);
        Self { attention: Mask::key_runs(runs, device), sees, unseen }
    }

    /// For [`attention`](crate::attention::attention).
    pub(super) fn attention(&self) -> &Mask {
        &self.attention
    }

    /// What the attention adds. `[batch, tokens, hidden]`
    pub(super) fn of_attention(&self, output: Tensor<3>) -> Tensor<3> {
        match self.unseen {
            Unseen::Zeroed => self.of_mlp(output),
            Unseen::MllamaAll => output,
        }
    }

    /// What the MLP adds. `[batch, tokens, hidden]`
    pub(super) fn of_mlp(&self, output: Tensor<3>) -> Tensor<3> {
        let sees = self.sees.clone().cast(output.dtype());
        output * sees
    }
}
