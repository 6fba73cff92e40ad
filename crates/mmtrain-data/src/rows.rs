//! Files of rows, by index: what is kept in memory is where the rows stand.
//!
//! - [`Json`]: an array, also one under keys of an object, or a value a line.
//! - [`Delimited`]: CSV and TSV.
//! - [`Parquet`]: by row groups.
//! - [`Arrow`]: by batches.
//! - [`ClassFolder`]: files by the directories that they are in.
//! - [`Chained`], [`Joined`]: several files as one, and a table with what another says of its rows.

mod array_scan;

mod arrow;

mod arrow_cell;

mod chained;

mod class_folder;

mod delimited;

mod fields;

mod joined;

mod json;

mod kept;

mod line_scan;

mod message_scan;

mod parquet;

mod record_scan;

mod reworded;

mod text_file;

pub use arrow::Arrow;
pub use chained::Chained;
pub use class_folder::ClassFolder;
pub(crate) use class_folder::classes;
pub use delimited::{Delimited, Dialect, Encoding};
pub use joined::{Joined, Lookup};
pub use json::Json;
pub use parquet::Parquet;
pub use reworded::Reworded;

use crate::cell::Cell;
use crate::reading::UNREADABLE;
use crate::sample::Reject;
use crate::{DataError, ShardProblem};

/// Rows that are tried for one that can be read. A small file may say that it has millions.
const TRIED_ROWS: usize = 100_000;
/// Rows that the disk does not give until one is looked for no longer: each takes its time.
const TRIED_READS: usize = 100;
/// Characters of a fault of a row that are shown.
const SHOWN_DETAIL: usize = 500;

/// Rows of one or several files, one after the other.
pub trait Rows: Send + Sync {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row at `index`, read from its file.
    fn row(&self, index: usize) -> Result<Cell, Reject>;

    /// File and key of the row at `index`, without reading it.
    fn place(&self, index: usize) -> RowPlace<'_>;

    /// Changes when rows are added, removed or changed; in hexadecimal.
    fn fingerprint(&self) -> &str;

    /// What is wrong with the files, beyond single rows.
    fn problems(&self) -> &[ShardProblem] {
        &[]
    }
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowPlace<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Number of the row in it, from 0.
    pub row: usize,
}

/// Of what is wrong, as much as is shown: libraries name all of a column, whose parts may be many.
fn cut(detail: &str) -> String {
    detail.chars().take(SHOWN_DETAIL).collect()
}

/// The first row that can be read, of those in front and of some all over; none where no row can. An error where so many cannot that the
/// file is none of a dataset, or where the disk does not give them.
pub(crate) fn first_readable(rows: &dyn Rows) -> Result<Option<Cell>, DataError> {
    let spread = (0..TRIED_ROWS).map(|n| (n as u128 * rows.len() as u128 / TRIED_ROWS as u128) as usize);
    let front = 0..rows.len().min(TRIED_ROWS);
    let (mut first, mut unreadable) = (None, 0);
    for index in front.chain(spread.filter(|_| rows.len() > TRIED_ROWS)) {
        let fault = match rows.row(index) {
            Ok(row) => return Ok(Some(row)),
            Err(fault) => fault,
        };
        unreadable += usize::from(fault.reason == UNREADABLE);
        let fault = first.get_or_insert(fault);
        if unreadable == TRIED_READS {
            return Err(refused(rows, format!("cannot be read: {}", fault.detail)));
        }
    }
    match first.filter(|_| rows.len() > TRIED_ROWS) {
        Some(fault) => {
            let tried = format!("none of its first {TRIED_ROWS} rows can be read, nor of as many all over it");
            Err(refused(rows, format!("{tried}; the first: {}", fault.detail)))
        }
        None => Ok(None),
    }
}

fn refused(rows: &dyn Rows, detail: String) -> DataError {
    DataError::Rows { path: rows.place(0).file.into(), detail }
}
