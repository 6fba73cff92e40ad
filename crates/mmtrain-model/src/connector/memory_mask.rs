//! What tokens see of the media that cross-attention layers read.
//!
//! A row of the batch has one memory: the keys of its media, one medium after the other, filled up to as many
//! media as the row with the most has. Filling is never seen. Where samples share a row, each sees its own media only.
//!
//! Dims: `batch`, `tokens`, `media` of a row, `keys` of its memory, `hidden`.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::attention::{KeyRuns, Mask};
use crate::config::Unseen;
use crate::error::ModelError;

/// Where the media of a batch stand among the tokens, and what each has in its row's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPlaces {
    rows: Vec<Vec<MediumPlace>>,
}

/// A medium of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediumPlace {
    /// Position of its marker; of what no token sees, behind all tokens.
    pub marker: usize,
    /// First position of its sample.
    pub from: usize,
    /// Position behind its sample; [`usize::MAX`] of the last one of a row, to which belongs what is generated.
    pub until: usize,
    /// What it has in the memory.
    pub runs: Runs,
}

/// Runs of keys that a medium has in a memory, such as one for each tile; all runs have as many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// All of them.
    pub count: usize,
    /// As many belong together: those of a picture, or of a frame of a clip.
    pub of_a_canvas: usize,
    /// How many of those can be seen; the ones behind them are padding.
    pub seen: usize,
}

impl Runs {
    /// Whether a run is no padding.
    fn is_seen(self, run: usize) -> bool {
        run % self.of_a_canvas.max(1) < self.seen
    }
}

impl MediumPlace {
    /// Whether a token is of the same sample.
    fn is_of(&self, position: usize) -> bool {
        (self.from..self.until).contains(&position)
    }

    /// Whether other samples share the row.
    fn is_packed(&self) -> bool {
        (self.from, self.until) != (0, usize::MAX)
    }
}

impl MediaPlaces {
    /// From the media of each row, whose markers are ascending.
    pub fn new(rows: Vec<Vec<MediumPlace>>) -> Result<Self, ModelError> {
        let unsorted = rows.iter().position(|row| !row.is_sorted_by_key(|place| place.marker));
        match unsorted {
            None => Ok(Self { rows }),
            Some(row) => Err(ModelError::Input {
                message: format!("the media of row {row} do not stand in the order of their markers"),
                hint: "give the media of a row as they come in the text".into(),
            }),
        }
    }

    /// Whether no row has a medium: then there is no memory, and the layers are left out.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
    }

    /// Runs in a row's memory. Where samples share a row there is filling behind them, for those without media to read.
    fn per_row(&self) -> usize {
        let needed = |row: &Vec<MediumPlace>| runs_of(row) + usize::from(row.iter().any(MediumPlace::is_packed));
        self.rows.iter().map(needed).max().unwrap_or(0).max(1)
    }

    /// Keys of each run of memories that [`memories`](Self::memories) made.
    pub fn keys_per_run(&self, memories: &Tensor<3>) -> usize {
        memories.dims()[1] / self.per_row()
    }

    /// One memory for each row, filled up with zeros.
    ///
    /// # Shapes
    ///
    /// - `runs`: `[runs of all media of all rows, keys, hidden]`; returns `[batch, runs * keys, hidden]`
    ///
    /// # Panics
    ///
    /// Panics if there are not as many runs as the places say; both follow from one batch.
    pub fn memories(&self, runs: Tensor<3>) -> Tensor<3> {
        let [count, keys, hidden] = runs.dims();
        assert_eq!(count, self.rows.iter().map(|row| runs_of(row)).sum::<usize>(), "runs of the media");
        let filling = Tensor::zeros([1, keys, hidden], (&runs.device().inner(), runs.dtype()));
        let slots = self.slots(count);
        let slots = Tensor::<1, Int>::from_data(slots.as_slice(), &runs.device().inner());
        let rows = Tensor::cat(vec![runs, filling], 0).select(0, slots);
        rows.reshape([self.rows.len(), self.per_row() * keys, hidden])
    }

    /// The run in each place of each row's memory; `filling` where there is none. `[batch * runs]`
    fn slots(&self, filling: usize) -> Vec<i64> {
        let mut next = 0..filling as i64;
        let row = |row: &Vec<MediumPlace>| {
            let own = next.by_ref().take(runs_of(row)).collect::<Vec<_>>();
            own.into_iter().chain(std::iter::repeat(filling as i64)).take(self.per_row()).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(row).collect()
    }

    /// Which runs of its row's memory the token at `position` sees. `[runs]`
    fn seen_at(&self, row: &[MediumPlace], position: usize) -> impl Iterator<Item = bool> {
        let latest = Self::latest(row, position);
        let runs = row.iter().enumerate().flat_map(|(index, place)| {
            let is_latest = latest.contains(&index);
            (0..place.runs.count).map(move |run| is_latest && place.runs.is_seen(run))
        });
        let runs = runs.collect::<Vec<_>>();
        runs.into_iter().chain(std::iter::repeat(false)).take(self.per_row())
    }

    /// All runs that a sample has in its row's memory, for its tokens that see no medium; filling where it has none.
    fn own_at(&self, row: &[MediumPlace], position: usize) -> Vec<bool> {
        if !row.iter().any(MediumPlace::is_packed) {
            return vec![true; self.per_row()];
        }
        let own = row.iter().flat_map(|place| std::iter::repeat_n(place.is_of(position), place.runs.count));
        let mut own = own.collect::<Vec<_>>();
        own.resize(self.per_row(), !row.iter().any(|place| place.is_of(position)));
        own
    }

    /// The media that the token at `position` sees: the latest of its sample at or before it, together with those
    /// whose markers stand directly before that one's.
    ///
    /// `get_cross_attention_token_mask` of `processing_mllama.py` says the same from the side of the media.
    fn latest(row: &[MediumPlace], position: usize) -> Range<usize> {
        let end = row.partition_point(|place| place.marker <= position);
        let first = row[..end].partition_point(|place| place.until <= position);
        let touches = |&index: &usize| index > first && row[index - 1].marker + 1 == row[index].marker;
        let start = (first..end).rev().find(|index| !touches(index)).unwrap_or(end);
        start..end
    }
}

fn runs_of(row: &[MediumPlace]) -> usize {
    row.iter().map(|place| place.runs.count).sum()
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
        keys_per_run: usize,
        tokens: Range<usize>,
        unseen: Unseen,
        device: &Device,
    ) -> Self {
        let rows = places.rows.iter().flat_map(|row| tokens.clone().map(move |position| (row, position)));
        let own = rows.clone().flat_map(|(row, position)| places.own_at(row, position)).collect::<Vec<_>>();
        let seen = rows.flat_map(|(row, position)| places.seen_at(row, position)).collect();
        let runs = KeyRuns { seen, batch: places.rows.len(), runs: places.per_row(), keys_per_run };
        Self::new(runs, &own, unseen, device)
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
        let own = vec![true; seen.len()];
        let runs = KeyRuns { seen, batch, runs: media * tiles, keys_per_run: keys_per_tile };
        Ok(Self::new(runs, &own, unseen, device))
    }

    /// `own` are the runs of each token's sample, which Mllama's tokens read that see nothing. As `runs.seen`
    fn new(mut runs: KeyRuns, own: &[bool], unseen: Unseen, device: &Device) -> Self {
        let (batch, queries) = (runs.batch, runs.queries());
        let sees = runs.seen.chunks_exact(runs.runs).map(|token| token.contains(&true)).collect::<Vec<_>>();
        if unseen == Unseen::MllamaAll {
            let tokens = runs.seen.chunks_exact_mut(runs.runs).zip(own.chunks_exact(runs.runs)).zip(&sees);
            let blind = tokens.filter(|(_, sees)| !**sees);
            blind.for_each(|((token, own), _)| token.copy_from_slice(own));
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
