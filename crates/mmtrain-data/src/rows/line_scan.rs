//! Finds the lines of a file.

use memchr::memchr;
use serde::de::IgnoredAny;

use super::text_file::{Extents, Found, Scan};

/// Lines of which one has to be JSON for the file to be taken for rows.
const TRIED: usize = 16;
/// Longest of them that is looked at.
const MAX_TRIED_BYTES: usize = 64 << 20;

/// A scan for lines that are not blank.
#[derive(Default)]
pub(crate) struct LineScan {
    at: u64,
    /// Start of the line that is gone through.
    start: u64,
    /// Whether it holds more than blanks.
    filled: bool,
    /// The line, while it is not known whether any is JSON.
    line: Vec<u8>,
    is_json: bool,
    extents: Extents,
}

impl LineScan {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn part(&mut self, bytes: &[u8]) {
        self.filled |= !bytes.trim_ascii().is_empty();
        if self.is_tried() && self.line.len() + bytes.len() <= MAX_TRIED_BYTES {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, end: u64) {
        if self.filled {
            if self.is_tried() {
                self.is_json = serde_json::from_slice::<IgnoredAny>(&self.line).is_ok();
            }
            self.extents.push(self.start, end);
        }
        self.line.clear();
        self.filled = false;
    }

    fn is_tried(&self) -> bool {
        !self.is_json && self.extents.len() < TRIED
    }
}

impl Scan for LineScan {
    fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        if self.at == 0 {
            rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
            self.start = (piece.len() - rest.len()) as u64;
            self.at = self.start;
        }
        while let Some(len) = memchr(b'\n', rest) {
            self.part(&rest[..len]);
            self.end_line(self.at + len as u64);
            self.at += len as u64 + 1;
            self.start = self.at;
            rest = &rest[len + 1..];
        }
        self.part(rest);
        self.at += rest.len() as u64;
    }

    fn finish(mut self) -> Result<Found, String> {
        self.end_line(self.at);
        match (self.is_json, self.extents.len()) {
            (true, _) => Ok(Found { extents: self.extents, fault: None }),
            (false, 0) => Err("is an empty file".into()),
            (false, _) => Err("is neither an array nor has it a JSON value a line".into()),
        }
    }

    fn rows(&self) -> usize {
        self.extents.len()
    }
}
