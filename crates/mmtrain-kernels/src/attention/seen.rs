//! Which keys queries see.

use std::ops::Range;

/// Which keys each query sees, as runs of keys.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Rows of the batch that are spoken of; a single one speaks for all.
    pub(super) rows: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    runs: Vec<Range<u32>>,
    /// Where the runs of each query end in `runs`. `[rows][queries]`
    ends: Vec<usize>,
}

impl Seen {
    /// Asks which of `keys` a query of a row of the batch sees.
    pub fn new(
        [rows, queries, keys]: [usize; 3],
        candidates: impl Fn(usize, usize) -> Range<usize>,
        sees: impl Fn(usize, usize, usize) -> bool,
    ) -> Self {
        let (mut runs, mut ends) = (Vec::<Range<u32>>::new(), Vec::with_capacity(rows * queries));
        for row in 0..rows {
            for query in 0..queries {
                let first = runs.len();
                for key in candidates(row, query) {
                    if !sees(row, query, key) {
                        continue;
                    }
                    let key = key as u32;
                    match runs.get_mut(first..).and_then(<[_]>::last_mut) {
                        Some(run) if run.end == key => run.end += 1,
                        _ => runs.push(key..key + 1),
                    }
                }
                ends.push(runs.len());
            }
        }
        Self { rows, queries, keys, runs, ends }
    }

    /// Runs of keys that a query sees, ascending.
    pub fn of(&self, row: usize, query: usize) -> &[Range<u32>] {
        let at = if self.rows == 1 { query } else { row * self.queries + query };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.runs[start..self.ends[at]]
    }

    /// From the first to the last key that one of these queries sees; all where they see none.
    pub(super) fn by(&self, row: usize, queries: Range<usize>) -> Range<usize> {
        let seen = queries.filter_map(|query| {
            let runs = self.of(row, query);
            runs.first().zip(runs.last()).map(|(first, last)| first.start..last.end)
        });
        let all = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        all.map_or(0..self.keys, |all| all.start as usize..all.end as usize)
    }
}

/// Runs of keys.
#[derive(Clone, Copy)]
pub(super) enum Runs<'a> {
    All,
    Some(&'a [Range<u32>]),
}

impl Runs<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::All => 1,
            Self::Some(runs) => runs.len(),
        }
    }

    /// Where one of them lies in the scores of `keys`.
    pub(super) fn at(self, number: usize, keys: &Range<usize>) -> Range<usize> {
        match self {
            Self::All => 0..keys.len(),
            Self::Some(runs) => {
                let run = &runs[number];
                run.start as usize - keys.start..run.end as usize - keys.start
            }
        }
    }
}
