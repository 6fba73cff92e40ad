//! Keys of another sequence, in runs that are seen or hidden as a whole.
//!
//! A run is what one medium, or one tile of it, gives; saying what is seen for runs keeps the host's part small.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_kernels::Seen;

/// Which runs of keys each query sees.
#[derive(Debug, Clone)]
pub struct KeyRuns {
    /// Row-major `[batch, queries, runs]`
    pub seen: Vec<bool>,
    /// Rows, at least one.
    pub batch: usize,
    /// Runs of a row's keys, at least one.
    pub runs: usize,
    /// Length of every run, at least one.
    pub keys_per_run: usize,
}

impl KeyRuns {
    /// Queries of a row.
    pub fn queries(&self) -> usize {
        self.seen.len() / (self.batch * self.runs).max(1)
    }

    /// Keys of a row.
    pub fn keys(&self) -> usize {
        self.runs * self.keys_per_run
    }

    /// The runs of one query of one row.
    fn of(&self, row: usize, query: usize) -> &[bool] {
        let start = (row * self.queries() + query) * self.runs;
        &self.seen[start..start + self.runs]
    }

    /// From the first to the last key that one of these queries sees; the first run if they see none.
    pub(super) fn seen_by(&self, queries: Range<usize>) -> Range<usize> {
        let sees = |run: &usize| (0..self.batch).any(|row| queries.clone().any(|query| self.of(row, query)[*run]));
        let first = (0..self.runs).find(sees).unwrap_or(0);
        let last = (first..self.runs).rfind(sees).unwrap_or(first);
        first * self.keys_per_run..(last + 1) * self.keys_per_run
    }

    /// The keys that each query sees.
    pub(super) fn seen(&self) -> Seen {
        let sees = |row: usize, query: usize, key: usize| self.of(row, query)[key / self.keys_per_run];
        Seen::new([self.batch, self.queries(), self.keys()], |_, _| 0..self.keys(), sees)
    }

    /// Whether a query does not see a key; `keys` are whole runs. `[batch, 1, queries, keys]`
    pub(super) fn hidden(&self, queries: Range<usize>, keys: Range<usize>, device: &Device) -> Tensor<4, Bool> {
        let runs = keys.start / self.keys_per_run..keys.end / self.keys_per_run;
        let rows = (0..self.batch).flat_map(|row| queries.clone().map(move |query| self.of(row, query)));
        let hidden = rows.flat_map(|seen| seen[runs.clone()].iter().map(|seen| !seen)).collect::<Vec<_>>();
        let shape = [self.batch, queries.len(), runs.len()];
        let hidden = Tensor::<4, Bool>::from_data(TensorData::new(hidden, [shape[0], shape[1], shape[2], 1]), device);
        hidden.expand([shape[0], shape[1], shape[2], self.keys_per_run]).reshape([shape[0], 1, shape[1], keys.len()])
    }
}
