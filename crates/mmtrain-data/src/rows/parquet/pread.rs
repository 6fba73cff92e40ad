//! A file as the Parquet reader wants it, read by offset, so that threads do not move each other's place.

use std::io::{self, BufReader};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::reading::{From, ReadAt, bytes_at};

/// An open file and its length.
#[derive(Debug, Clone)]
pub(crate) struct Pread {
    file: Arc<dyn ReadAt>,
    bytes: u64,
}

impl Pread {
    pub(crate) fn new(file: Arc<dyn ReadAt>) -> io::Result<Self> {
        Ok(Self { bytes: file.len()?, file })
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
    type T = BufReader<From<Arc<dyn ReadAt>>>;

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
