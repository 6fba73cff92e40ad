//! The footer of a Parquet file, looked at before it is read.
//!
//! What `parquet` does not know it passes over in as many steps as a list is said to be long, and for booleans, which it takes for
//! nothing, without a look at what is left (`parquet_thrift.rs`, `skip_till_depth`, version 60): six bytes are two thousand million steps,
//! and lists may lie within lists. No footer has such a list (`parquet.thrift`), so one that has is refused. So is one that says of a
//! known field that it is something else: it would be read as what it should be, and what is behind it is not what it seems.

mod fields;
mod walk;

use std::io::BufReader;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::pread::Pread;
use crate::reading::{From, ReadAt};

/// Behind it stand its length and the format's name.
const BEHIND: u64 = 8;

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
            walk::walk(&bytes, fields::FILE).map_err(|fault| ParquetError::General(format!("its footer {fault}")))?;
        }
        Ok(bytes)
    }
}
