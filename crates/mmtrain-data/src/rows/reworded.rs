//! Rows in which media are marked by other words than `<image>`, `<video>` and `<audio>`.

use mmtrain_text::MediaKind;

use super::{RowPlace, Rows};
use crate::cell::Cell;
use crate::sample::Reject;
use crate::source::ShardProblem;

/// Rows with the usual words in the place of others.
pub struct Reworded {
    rows: Box<dyn Rows>,
    words: Vec<(String, MediaKind)>,
}

impl Reworded {
    /// In all texts of the rows, each of these words becomes that of its kind.
    pub fn new(rows: Box<dyn Rows>, words: Vec<(String, MediaKind)>) -> Self {
        Self { rows, words }
    }

    fn reword(&self, cell: &mut Cell) {
        match cell {
            Cell::Text(text) => {
                for (word, kind) in self.words.iter().filter(|(word, _)| !word.is_empty()) {
                    if text.contains(word.as_str()) {
                        *text = text.replace(word.as_str(), mark(*kind));
                    }
                }
            }
            Cell::List(items) => items.iter_mut().for_each(|item| self.reword(item)),
            Cell::Struct(fields) => fields.iter_mut().for_each(|(_, value)| self.reword(value)),
            _ => {}
        }
    }
}

/// The word that formats know.
fn mark(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "<image>",
        MediaKind::Video => "<video>",
        MediaKind::Audio => "<audio>",
    }
}

impl Rows for Reworded {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        let mut row = self.rows.row(index)?;
        self.reword(&mut row);
        Ok(row)
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        self.rows.place(index)
    }

    fn fingerprint(&self) -> &str {
        self.rows.fingerprint()
    }

    fn problems(&self) -> &[ShardProblem] {
        self.rows.problems()
    }
}
