//! Headers of pages, looked at before they are read.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use super::pread::Pread;
use super::thrift::{CUT_SHORT, fields, look_at, walk};
use crate::reading::retrying;

/// Bytes that are read for a header at first.
const FIRST_BYTES: usize = 4 << 10;
/// More than a header has, with the statistics of a page in it (the limit of Arrow's C++, `kDefaultMaxPageHeaderSize`).
const MOST_BYTES: usize = 16 << 20;

/// A file that pages are read from.
pub(super) struct Paged {
    pub(super) file: Arc<Pread>,
    /// Whether an index says where pages stand, so that they are read with their headers. Without one, headers are read first.
    pub(super) is_indexed: bool,
}

impl Length for Paged {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Paged {
    type T = Header;

    fn get_read(&self, start: u64) -> Result<Header> {
        Ok(Header { file: Arc::clone(&self.file), start, bytes: None })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.file.get_bytes(start, length)?;
        if self.is_indexed {
            look_at("header of a page", &bytes, fields::PAGE_HEADER)?;
        }
        Ok(bytes)
    }
}

/// A header, which is read when it is asked for: where none is, nothing is.
pub(super) struct Header {
    file: Arc<Pread>,
    start: u64,
    bytes: Option<Cursor<Vec<u8>>>,
}

impl Header {
    /// The header and some of what is behind it.
    fn looked_at(&self) -> io::Result<Vec<u8>> {
        let fault = |what: &str| {
            let fault = format!("the header of a page at byte {} {what}", self.start);
            Err(io::Error::new(io::ErrorKind::InvalidData, fault))
        };
        let (mut bytes, mut filled) = (vec![0; FIRST_BYTES], 0);
        loop {
            let place = self.start.saturating_add(filled as u64);
            let read = retrying(|| self.file.file().read_at(&mut bytes[filled..], place))?;
            filled += read;
            match walk(&bytes[..filled], fields::PAGE_HEADER) {
                Ok(()) => {
                    bytes.truncate(filled);
                    return Ok(bytes);
                }
                Err(CUT_SHORT) if read > 0 && filled < bytes.len() => {}
                Err(CUT_SHORT) if read > 0 && filled < MOST_BYTES => bytes.resize(filled * 2, 0),
                Err(CUT_SHORT) if read > 0 => return fault(&format!("is longer than {MOST_BYTES} bytes")),
                Err(what) => return fault(what),
            }
        }
    }
}

impl Read for Header {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_none() {
            self.bytes = Some(Cursor::new(self.looked_at()?));
        }
        self.bytes.as_mut().map_or(Ok(0), |bytes| bytes.read(buffer))
    }
}
