//! A file as the Parquet reader wants it, read by offset, so that threads do not move each other's place.

use std::io::{self, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::reading::{From, ReadAt, bytes_at};

/// A file whose reads that failed are counted: `parquet` makes texts of errors, and damage is to be told from a fault of the disk.
#[derive(Debug)]
pub(crate) struct Counted {
    file: Arc<dyn ReadAt>,
    failed: AtomicUsize,
}

impl ReadAt for Counted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset).inspect_err(|_| {
            self.failed.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn version(&self) -> Option<&str> {
        self.file.version()
    }
}

/// An open file and its length.
#[derive(Debug, Clone)]
pub(crate) struct Pread {
    file: Arc<Counted>,
    bytes: u64,
}

impl Pread {
    pub(crate) fn new(file: Arc<dyn ReadAt>) -> io::Result<Self> {
        Ok(Self { bytes: file.len()?, file: Arc::new(Counted { file, failed: AtomicUsize::new(0) }) })
    }

    /// Reads that failed so far, in all threads.
    pub(crate) fn failed(&self) -> usize {
        self.file.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn file(&self) -> &dyn ReadAt {
        self.file.as_ref()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Length for Pread {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Pread {
    type T = BufReader<From<Arc<Counted>>>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(From { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // Before memory is taken: a damaged footer may say any length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!("{length} bytes from byte {start} on are not in the file")));
        }
        Ok(bytes_at(self.file.as_ref(), start, length)?.into())
    }
}
