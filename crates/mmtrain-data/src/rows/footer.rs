//! The footer of a Parquet file, looked at before it is read.
//!
//! What `parquet` does not know it passes over in as many steps as a list is said to be long, and for booleans, which it takes for
//! nothing, without a look at what is left (`parquet_thrift.rs`, `skip_till_depth`, version 60): six bytes are two thousand million steps,
//! and lists may lie within lists. Known fields are read as what they should be, whatever type they say they are of, so a footer that lies
//! about those is not found out here. No footer has such a list (`parquet.thrift`, `FileMetaData`), so one that has is refused.
//!
//! Encoding: Thrift's compact protocol (`thrift-compact-protocol.md`).

use std::io::BufReader;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::pread::Pread;
use crate::reading::{From, ReadAt};

/// Behind it stand its length and the format's name.
const BEHIND: u64 = 8;

/// More than the structs of a footer lie within each other.
const MOST_DEPTH: usize = 64;

/// A file whose footer is looked at where it is read.
pub(super) struct Guarded<'a>(pub(super) &'a Pread);

impl Length for Guarded<'_> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Guarded<'_> {
    type T = BufReader<From<Arc<dyn ReadAt>>>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.0.get_bytes(start, length)?;
        if start.saturating_add(length as u64).saturating_add(BEHIND) == self.len() {
            check(&bytes).map_err(|fault| ParquetError::General(format!("its footer {fault}")))?;
        }
        Ok(bytes)
    }
}

/// Walks over a struct; what is behind it is not looked at.
fn check(footer: &[u8]) -> std::result::Result<(), &'static str> {
    Walk { left: footer }.fields(MOST_DEPTH)
}

/// The types of fields and elements.
mod kind {
    pub(super) const STOP: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const MAP: u8 = 11;
    pub(super) const STRUCT: u8 = 12;
    pub(super) const UUID: u8 = 13;
}

struct Walk<'a> {
    left: &'a [u8],
}

impl Walk<'_> {
    fn pass(&mut self, bytes: usize) -> std::result::Result<(), &'static str> {
        self.left = self.left.get(bytes..).ok_or("is cut short")?;
        Ok(())
    }

    fn byte(&mut self) -> std::result::Result<u8, &'static str> {
        let byte = *self.left.first().ok_or("is cut short")?;
        self.pass(1)?;
        Ok(byte)
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> std::result::Result<usize, &'static str> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|_| "has a number beyond all lengths");
            }
        }
        Err("has a number without an end")
    }

    fn fields(&mut self, depth: usize) -> std::result::Result<(), &'static str> {
        loop {
            let head = self.byte()?;
            if head & 0x0f == kind::STOP {
                return Ok(());
            }
            if head >> 4 == 0 {
                self.number()?;
            }
            self.value(head & 0x0f, depth)?;
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> std::result::Result<(), &'static str> {
        let depth = depth.checked_sub(1).ok_or("has values within values without an end")?;
        match kind {
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.pass(1),
            kind::I16 | kind::I32 | kind::I64 => self.number().map(drop),
            kind::DOUBLE => self.pass(8),
            kind::BINARY => {
                let bytes = self.number()?;
                self.pass(bytes)
            }
            kind::LIST | kind::SET => self.list(depth),
            kind::MAP => self.map(depth),
            kind::STRUCT => self.fields(depth),
            kind::UUID => self.pass(16),
            _ => Err("has a value of no type"),
        }
    }

    fn list(&mut self, depth: usize) -> std::result::Result<(), &'static str> {
        let head = self.byte()?;
        let many = if head >> 4 == 15 { self.number()? } else { usize::from(head >> 4) };
        self.elements(many, &[head & 0x0f], depth)
    }

    fn map(&mut self, depth: usize) -> std::result::Result<(), &'static str> {
        let many = self.number()?;
        if many == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        self.elements(many, &[kinds >> 4, kinds & 0x0f], depth)
    }

    /// Each takes a byte at least, so that the end of the footer is theirs.
    fn elements(&mut self, many: usize, kinds: &[u8], depth: usize) -> std::result::Result<(), &'static str> {
        if many > 0 && kinds.iter().any(|kind| [kind::TRUE, kind::FALSE].contains(kind)) {
            return Err("has a list of booleans, which no Parquet file has there");
        }
        for _ in 0..many {
            kinds.iter().try_for_each(|&kind| self.value(kind, depth))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_types_are_passed_over() {
        let fields: [&[u8]; 12] = [
            &[0x11],
            &[0x12],
            &[0x13, 0xff],
            &[0x04, 0x80, 0x01, 0xfe, 0xff, 0x03],
            &[0x17, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x18, 3, b'a', b'b', b'c'],
            &[0x19, 0x25, 0x01, 0x02],
            &[0x19, 0x00],
            &[0x1a, 0xf8, 0x01, 1, b'a'],
            &[0x1b, 0x00],
            &[0x1b, 0x01, 0x58, 0x07, 1, b'a'],
            &[0x1c, 0x15, 0x02, 0x00],
        ];
        let all = [fields.concat(), vec![0x1d], vec![0; 16], vec![0x00]].concat();
        assert_eq!(check(&all), Ok(()));
        for cut in 0..all.len() {
            assert!(check(&all[..cut]).is_err(), "cut behind {cut} bytes");
        }
        assert_eq!(check(&[0x1e, 0x00]), Err("has a value of no type"));
    }

    #[test]
    fn lists_that_take_no_bytes_are_refused() {
        let most = [0xff, 0xff, 0xff, 0xff, 0x07];
        for kind in [kind::TRUE, kind::FALSE] {
            let list = [&[0x19, 0xf0 | kind], &most[..], &[0x00]].concat();
            let map = [&[0x1b], &most[..], &[kind << 4 | kind, 0x00]].concat();
            let within = [&[0x1c, 0x19, 0xf9], &most[..], &[0xf0 | kind], &most[..], &[0x00, 0x00]].concat();
            for footer in [list, map, within] {
                let fault = check(&footer).expect_err("it would never end");
                assert!(fault.contains("a list of booleans"), "{fault}");
            }
        }
        let deep = [0x1c; 1000];
        assert_eq!(check(&deep), Err("has values within values without an end"));
    }
}
