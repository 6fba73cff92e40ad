//! Finds the records of a CSV file, whose quoted fields may hold line breaks.

use memchr::{memchr, memchr2};

use super::text_file::{Extents, Found, Scan};
use crate::sample::Reject;

/// A scan for records, following the `csv` crate: a quote opens a quoted field only where a field begins.
pub(crate) struct RecordScan {
    delimiter: u8,
    quoting: bool,
    at: u64,
    /// Start of the record that is gone through.
    start: u64,
    state: State,
    /// Whether the record begins with the first half of a CRLF.
    returns: bool,
    extents: Extents,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: its end, or the first of two that stand for one.
    QuoteSeen,
}

impl RecordScan {
    pub(crate) fn new(delimiter: u8, quoting: bool) -> Self {
        Self {
            delimiter,
            quoting,
            at: 0,
            start: 0,
            state: State::FieldStart,
            returns: false,
            extents: Extents::default(),
        }
    }

    /// Goes on to the next byte that matters; returns how many were gone over.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Quoted => {
                let Some(quote) = memchr(b'"', bytes) else {
                    return bytes.len();
                };
                self.state = State::QuoteSeen;
                quote + 1
            }
            State::Plain => {
                let Some(end) = memchr2(self.delimiter, b'\n', bytes) else {
                    return bytes.len();
                };
                self.field_end(bytes[end], end);
                end + 1
            }
            State::FieldStart | State::QuoteSeen => {
                self.at_boundary(bytes[0]);
                1
            }
        }
    }

    fn at_boundary(&mut self, byte: u8) {
        if self.at == self.start {
            self.returns = byte == b'\r';
        }
        let opens = byte == b'"' && (self.state == State::QuoteSeen || self.quoting);
        if opens {
            self.state = State::Quoted;
        } else if byte == self.delimiter || byte == b'\n' {
            self.field_end(byte, 0);
        } else {
            self.state = State::Plain;
        }
    }

    fn field_end(&mut self, byte: u8, ahead: usize) {
        self.state = State::FieldStart;
        if byte == b'\n' {
            let end = self.at + ahead as u64;
            self.close(end);
            self.start = end + 1;
        }
    }

    fn close(&mut self, end: u64) {
        let is_blank = end == self.start || end == self.start + 1 && self.returns;
        if !is_blank {
            self.extents.push(self.start, end);
        }
    }
}

impl Scan for RecordScan {
    fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        if self.at == 0 {
            rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
            self.at = (piece.len() - rest.len()) as u64;
            self.start = self.at;
        }
        while !rest.is_empty() {
            let n = self.step(rest);
            self.at += n as u64;
            rest = &rest[n..];
        }
    }

    fn finish(mut self) -> Result<Found, String> {
        let fault = (self.state == State::Quoted).then(|| {
            let detail = format!("ends inside quotes, in the record that begins at byte {}", self.start);
            Reject::new("rows_cut_short", detail)
        });
        if fault.is_none() {
            self.close(self.at);
        }
        if self.extents.len() == 0 && fault.is_none() {
            return Err("is an empty file".into());
        }
        Ok(Found { extents: self.extents, fault })
    }

    fn rows(&self) -> usize {
        self.extents.len()
    }
}
