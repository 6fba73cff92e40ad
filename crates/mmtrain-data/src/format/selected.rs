//! Some rows of others: a split, one row a medium, without those on a list.

use crate::ShardProblem;
use crate::cell::Cell;
use crate::rows::{RowPlace, Rows};
use crate::sample::Reject;

/// The rows at some indices, in their order; a row may be there several times.
pub struct Selected {
    rows: Box<dyn Rows>,
    indices: Vec<u32>,
    fingerprint: String,
}

impl Selected {
    /// The rows that are at `indices`.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn new(rows: Box<dyn Rows>, indices: Vec<u32>) -> Self {
        assert!(indices.iter().all(|&index| (index as usize) < rows.len()), "indices of rows");
        let mut hasher = blake3::Hasher::new();
        hasher.update(rows.fingerprint().as_bytes());
        for index in &indices {
            hasher.update(&index.to_le_bytes());
        }
        Self { rows, indices, fingerprint: hasher.finalize().to_hex().to_string() }
    }

    /// The rows that `keep` wants. A row that cannot be read is kept, to be rejected when its turn comes.
    pub fn filter(rows: Box<dyn Rows>, mut keep: impl FnMut(RowPlace<'_>, &Cell) -> bool) -> Self {
        let wanted = |index: &u32| {
            let index = *index as usize;
            rows.row(index).map_or(true, |row| keep(rows.place(index), &row))
        };
        let indices = (0..rows.len() as u32).filter(wanted).collect();
        Self::new(rows, indices)
    }

    /// The rows `times` over; a fraction is a part of them from the front: 2.5 of 10 rows are 25.
    pub fn repeat(rows: Box<dyn Rows>, times: f64) -> Self {
        let len = rows.len();
        let wanted = (len as f64 * times.max(0.0)).round_ties_even() as usize;
        let indices = (0..wanted).map(|at| (at % len.max(1)) as u32).collect();
        Self::new(rows, indices)
    }
}

impl Rows for Selected {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        self.rows.row(self.indices[index] as usize)
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        self.rows.place(self.indices[index] as usize)
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn problems(&self) -> &[ShardProblem] {
        self.rows.problems()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Json;
    use super::*;

    fn numbers(rows: &Selected) -> Vec<i64> {
        (0..rows.len()).filter_map(|index| rows.row(index).ok()?.get("n").as_int()).collect()
    }

    fn four() -> Box<dyn Rows> {
        Json::boxed(&[r#"{"n": 0}"#, r#"{"n": 1}"#, r#"{"n": 2}"#, "broken"])
    }

    #[test]
    fn filtered_rows_keep_their_places_and_broken_rows_stay() {
        let rows = Selected::filter(four(), |_, row| row.get("n").as_int() != Some(1));
        assert_eq!((rows.len(), numbers(&rows)), (3, vec![0, 2]));
        assert_eq!(rows.place(1).row, 2);
        assert_ne!(rows.fingerprint(), Selected::filter(four(), |_, _| true).fingerprint());
    }

    #[test]
    fn rows_repeat_by_whole_and_broken_numbers() {
        assert_eq!(numbers(&Selected::repeat(four(), 1.5)), [0, 1, 2, 0, 1]);
        assert_eq!(numbers(&Selected::repeat(four(), 0.5)), [0, 1]);
        assert_eq!(Selected::repeat(four(), -1.0).len(), 0);
    }
}
