//! A text file of rows: where each row stands in it, and what the file holds.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::reading::{ReadAt, bytes_at, read_through, unreadable};
use crate::sample::Reject;
use crate::source::ShardProblem;
use crate::{DataError, Place, content};

/// Longest row that is read, in bytes.
const MAX_ROW_BYTES: u32 = 64 << 20;
/// Bytes of zeros in a row that no text has: what was set up larger than it was written, or lost its pages in a crash.
const MOST_ZEROS: u64 = 64 << 20;
/// More rows than any published set has; a file that seems to hold more is something else.
const MAX_ROWS: usize = 200_000_000;

/// Where rows begin and how long they are: 12 bytes a row.
#[derive(Debug, Default)]
pub(crate) struct Extents {
    offsets: Vec<u64>,
    lens: Vec<u32>,
}

impl Extents {
    /// Adds a row. Of one of 4 GiB or more the length is cut, which is too much in any case.
    pub(crate) fn push(&mut self, start: u64, end: u64) {
        self.offsets.push(start);
        self.lens.push(u32::try_from(end - start).unwrap_or(u32::MAX));
    }

    /// Where a row begins, and its length.
    pub(crate) fn get(&self, index: usize) -> (u64, u32) {
        (self.offsets[index], self.lens[index])
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }
}

/// Finds rows in bytes that come piece by piece.
pub(crate) trait Scan {
    /// Looks at the next piece of the file.
    fn feed(&mut self, piece: &[u8]);

    /// What was found; an error where the file is something else altogether.
    fn finish(self) -> Result<Found, String>;

    /// How many rows there are so far.
    fn rows(&self) -> usize;
}

/// The rows of a file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) extents: Extents,
    /// What is wrong with the file beyond single rows.
    pub(crate) fault: Option<Reject>,
}

/// A file whose rows have been found.
#[derive(Debug)]
pub(crate) struct TextFile {
    place: Place,
    name: String,
    file: Arc<dyn ReadAt>,
    extents: Extents,
    fingerprint: String,
    problems: Vec<ShardProblem>,
}

impl TextFile {
    /// Reads the file once, from end to end: its rows are found and its bytes hashed, all of them.
    pub(crate) fn index(place: Place, mut scan: impl Scan) -> Result<Self, DataError> {
        let file = place.open_file()?;
        let mut hasher = blake3::Hasher::new();
        read_text(&place, file.as_ref(), |piece| {
            hasher.update(piece);
            if scan.rows() <= MAX_ROWS {
                scan.feed(piece);
            }
        })?;
        let refuse = |detail: String| DataError::Rows { path: place.path().to_path_buf(), detail };
        if scan.rows() > MAX_ROWS {
            return Err(refuse(format!("has more than {MAX_ROWS} rows")));
        }
        let Found { extents, fault } = scan.finish().map_err(refuse)?;
        let name = place.name();
        let problems = fault.map(|fault| problem(&name, extents.len(), fault)).into_iter().collect();
        let of_version = || Some(content::of_version(file.version()?, file.len().ok()?));
        let fingerprint = of_version().unwrap_or_else(|| hasher.finalize()).to_hex().to_string();
        Ok(Self { place, name, file, extents, fingerprint, problems })
    }

    /// The bytes of the row at `index`.
    pub(crate) fn read(&self, index: usize) -> Result<Vec<u8>, Reject> {
        let (offset, len) = self.extents.get(index);
        if len > MAX_ROW_BYTES {
            let detail = format!("the row at byte {offset} has {len} bytes, at most {MAX_ROW_BYTES} are read");
            return Err(Reject::new("row_too_large", detail));
        }
        bytes_at(self.file.as_ref(), offset, len as usize)
            .map_err(|error| unreadable(&self.place, offset + u64::from(len), &error))
    }

    pub(crate) fn len(&self) -> usize {
        self.extents.len()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn problems(&self) -> &[ShardProblem] {
        &self.problems
    }
}

/// Shows a text file piece by piece, up to where it is nothing but zeros.
pub(crate) fn read_text(place: &Place, file: &dyn ReadAt, mut see: impl FnMut(&[u8])) -> Result<(), DataError> {
    let mut zeros = Zeros::default();
    let read = read_through(file, |piece| {
        zeros.feed(piece)?;
        see(piece);
        Ok(())
    });
    read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => DataError::Rows { path: place.path().to_path_buf(), detail: error.to_string() },
        _ => error.into(),
    })
}

/// How many bytes of zeros end what was read so far.
#[derive(Debug, Default)]
struct Zeros {
    at: u64,
    count: u64,
}

impl Zeros {
    /// Fails where it is too many.
    fn feed(&mut self, piece: &[u8]) -> std::io::Result<()> {
        let ending = piece.iter().rev().take_while(|byte| **byte == 0).count();
        self.count = if ending == piece.len() { self.count + ending as u64 } else { ending as u64 };
        self.at += piece.len() as u64;
        if self.count <= MOST_ZEROS {
            return Ok(());
        }
        let start = self.at - self.count;
        let what = format!(
            "holds nothing but zeros from byte {start} on: it was set up larger than it was written, or is damaged"
        );
        Err(std::io::Error::new(ErrorKind::InvalidData, what))
    }
}

/// A fault of the file `name`, of which `rows` rows are used.
pub(crate) fn problem(name: &str, rows: usize, fault: Reject) -> ShardProblem {
    ShardProblem { shard: name.to_owned(), reason: fault.reason, samples: rows, detail: fault.detail }
}
