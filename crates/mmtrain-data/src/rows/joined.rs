//! Rows with what another table says of them, found by id.

use std::collections::HashMap;

use super::chained::fingerprint;
use super::{RowPlace, Rows};
use crate::cell::Cell;
use crate::sample::Reject;
use crate::source::ShardProblem;

/// Rows by their id. In memory are the ids and where their rows stand.
pub struct Lookup {
    rows: Box<dyn Rows>,
    by_id: HashMap<String, u32>,
    /// Rows that cannot be read or have no id.
    without: usize,
}

impl Lookup {
    /// Reads all of `rows` once for what they have under `key`; of several with one id the last is found.
    pub fn new(rows: Box<dyn Rows>, key: &str) -> Self {
        let ids = (0..rows.len()).map(|index| rows.row(index).ok().and_then(|row| row.get(key).to_id()));
        let by_id: HashMap<_, _> = (0_u32..).zip(ids).filter_map(|(index, id)| Some((id?, index))).collect();
        let without = rows.len().saturating_sub(by_id.len());
        Self { rows, by_id, without }
    }

    fn get(&self, id: &Cell) -> Result<Cell, Reject> {
        let index = id.to_id().and_then(|id| self.by_id.get(&id).copied());
        index.map_or(Ok(Cell::Null), |index| self.rows.row(index as usize))
    }

    fn problem(&self) -> Option<ShardProblem> {
        let samples = self.by_id.len();
        let detail = format!(
            "{} of its rows cannot be looked up: unreadable, without an id, or not the only ones",
            self.without
        );
        (self.without > 0).then(|| ShardProblem {
            shard: self.rows.place(0).file.to_owned(),
            reason: "rows_without_id",
            samples,
            detail,
        })
    }
}

/// Rows with a further column from a [`Lookup`].
pub struct Joined {
    rows: Box<dyn Rows>,
    /// The column that has the id, and the one that is added.
    by: &'static str,
    column: &'static str,
    lookup: Lookup,
    fingerprint: String,
    problems: Vec<ShardProblem>,
}

impl Joined {
    /// Adds to each row, as `column`, what `lookup` has under the row's `by`; nothing where it has nothing.
    pub fn new(rows: Box<dyn Rows>, by: &'static str, column: &'static str, lookup: Lookup) -> Self {
        let fingerprint = fingerprint([rows.fingerprint(), lookup.rows.fingerprint()].into_iter());
        let problems = rows.problems().iter().chain(lookup.rows.problems()).cloned().chain(lookup.problem()).collect();
        Self { rows, by, column, lookup, fingerprint, problems }
    }
}

impl Rows for Joined {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        let mut row = self.rows.row(index)?;
        let found = self.lookup.get(row.get(self.by))?;
        if let Cell::Struct(fields) = &mut row {
            fields.push((self.column.to_owned(), found));
        }
        Ok(row)
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        self.rows.place(index)
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

    fn rows(content: &str, path: &[&str]) -> Box<dyn Rows> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("rows.json");
        fs_err::write(&file, content).expect("written");
        Box::new(Json::open(&file, path).expect("rows"))
    }

    #[test]
    fn rows_get_what_the_other_table_says_of_their_id() {
        let json = r#"{"images": [{"id": 9, "file_name": "9.jpg"}, {"id": 7, "file_name": "7.jpg"}, {"x": 1}],
                       "annotations": [{"image_id": "7", "caption": "seven"}, {"image_id": 8, "caption": "eight"}]}"#;
        let lookup = Lookup::new(rows(json, &["images"]), "id");
        let joined = Joined::new(rows(json, &["annotations"]), "image_id", "image", lookup);
        let image = |index: usize| joined.row(index).expect("a row").get("image").get("file_name").clone();
        assert_eq!((image(0).as_str(), image(1).is_null()), (Some("7.jpg"), true));
        assert!(joined.problems()[0].detail.starts_with("1 of its rows"), "{}", joined.problems()[0].detail);
    }
}
