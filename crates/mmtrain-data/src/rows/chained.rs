//! Several files of rows, one after the other.

use super::{RowPlace, Rows};
use crate::cell::Cell;
use crate::sample::Reject;
use crate::source::ShardProblem;

/// The rows of several files in the order of the files.
pub struct Chained {
    parts: Vec<Box<dyn Rows>>,
    /// First row of each part, and the number of rows at the end.
    starts: Vec<usize>,
    fingerprint: String,
    problems: Vec<ShardProblem>,
}

impl Chained {
    /// Puts files together.
    pub fn new(parts: Vec<Box<dyn Rows>>) -> Self {
        let mut starts = vec![0];
        starts.extend(parts.iter().scan(0, |sum, part| {
            *sum += part.len();
            Some(*sum)
        }));
        let problems = parts.iter().flat_map(|part| part.problems()).cloned().collect();
        let fingerprint = fingerprint(parts.iter().map(|part| part.fingerprint()));
        Self { parts, starts, fingerprint, problems }
    }

    fn locate(&self, index: usize) -> (&dyn Rows, usize) {
        assert!(index < self.len(), "row {index} of {}", self.len());
        let part = self.starts.partition_point(|&start| start <= index) - 1;
        (self.parts[part].as_ref(), index - self.starts[part])
    }
}

/// One fingerprint of several, which follow each other.
pub(crate) fn fingerprint<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

impl Rows for Chained {
    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        let (part, row) = self.locate(index);
        part.row(row)
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        let (part, row) = self.locate(index);
        part.place(row)
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn problems(&self) -> &[ShardProblem] {
        &self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Json;

    #[test]
    fn rows_follow_in_the_order_of_the_files_and_keep_their_own_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let part = |name: &str, content: &str| -> Box<dyn Rows> {
            let path = dir.path().join(name);
            fs_err::write(&path, content).expect("written");
            Box::new(Json::open(&path, &[]).expect("rows"))
        };
        let parts = |order: [(&str, &str); 3]| Chained::new(order.map(|(name, content)| part(name, content)).into());
        let rows = parts([("a.json", "[1, 2]"), ("b.json", "[]"), ("c.json", "[3")]);
        assert_eq!(rows.len(), 2);
        let rows = parts([("a.json", "[1, 2]"), ("b.json", "[]"), ("c.json", "[3, 4]")]);
        let numbers: Vec<_> = (0..rows.len()).map(|index| rows.row(index).expect("a row").as_int()).collect();
        assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(rows.place(3), RowPlace { file: "c.json", row: 1 });
        let swapped = parts([("c.json", "[3, 4]"), ("b.json", "[]"), ("a.json", "[1, 2]")]);
        assert_ne!(rows.fingerprint(), swapped.fingerprint());
    }
}
