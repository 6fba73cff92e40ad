//! Reading forward through a large file in small steps.
//!
//! Indexing a shard looks at a few hundred bytes around each header. A window reads the page that a place
//! is in and the one behind it, so that what lies close together costs one read, and what lies far apart
//! costs no more than the disk reads anyway.

use std::io;

use crate::reading::{ReadAt, fill};

const PAGE: u64 = 4096;
/// Bytes of a usual read.
const WINDOW: u64 = 2 * PAGE;

/// A file with the bytes around the last place that was looked at.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    file: &'a dyn ReadAt,
    /// Where `bytes` stand in the file.
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn ReadAt) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// The `len` bytes from `offset` on; an error where the file ends before.
    pub(crate) fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        if self.inside(offset, len).is_none() {
            self.load(offset, len)?;
        }
        let range = self.inside(offset, len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(&self.bytes[range])
    }

    fn inside(&self, offset: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(len)?;
        (to <= self.bytes.len()).then_some(from..to)
    }

    fn load(&mut self, offset: u64, len: usize) -> io::Result<()> {
        self.start = offset / PAGE * PAGE;
        let wanted = (offset - self.start + len as u64).max(WINDOW) as usize;
        self.bytes.resize(wanted, 0);
        let filled = fill(self.file, &mut self.bytes, self.start);
        self.bytes.truncate(*filled.as_ref().unwrap_or(&0));
        filled.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn every_place_reads_as_it_stands_in_the_file() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i / 7) as u8).collect();
        let file = file(&bytes);
        let mut window = Window::new(&file);
        for (offset, len) in [(0, 512), (4095, 2), (8191, 4096), (3, 30_000), (39_999, 1), (100, 0), (12_345, 1536)] {
            assert_eq!(window.read(offset as u64, len).expect("read"), &bytes[offset..offset + len], "{offset}+{len}");
        }
    }

    #[test]
    fn what_is_behind_the_end_is_an_error_and_the_rest_can_still_be_read() {
        let file = file(&[7; 5000]);
        let mut window = Window::new(&file);
        for (offset, len) in [(4999, 2), (5000, 1), (1 << 40, 512), (0, 9000)] {
            let error = window.read(offset, len).expect_err("beyond the end");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{offset}+{len}");
        }
        assert_eq!(window.read(4998, 2).expect("read"), [7, 7]);
    }
}
