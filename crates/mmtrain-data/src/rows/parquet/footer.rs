//! The footer of a Parquet file, and where it says that pages stand.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use super::pread::Pread;
use super::thrift::{fields, look_at};

/// Behind it stand its length and the format's name.
const BEHIND: u64 = 8;

/// Reads what a file says of itself.
pub(super) fn read(file: &Pread) -> Result<ArrowReaderMetadata> {
    let look = |at: Range<u64>, bytes: &[u8]| {
        if at.end.saturating_add(BEHIND) == file.bytes() {
            look_at("footer", bytes, fields::FILE)?;
        }
        Ok(())
    };
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&LookedAt { file, look })?;

    let indexes = offset_indexes(&metadata);
    // Each is decoded by itself, also where all are said to stand in one place.
    let all = indexes.iter().fold(0_u64, |all, index| all.saturating_add(index.end - index.start));
    if all > file.bytes() {
        return Err(ParquetError::General(format!("its indexes of pages have {all} bytes, more than the file")));
    }
    let look = |at: Range<u64>, bytes: &[u8]| {
        let here = |index: &Range<u64>| {
            let offset = |place: u64| place.checked_sub(at.start).map(|offset| offset as usize);
            bytes.get(offset(index.start)?..offset(index.end)?)
        };
        indexes.iter().filter_map(here).try_for_each(|index| look_at("index of pages", index, fields::OFFSET_INDEX))
    };
    let mut pages =
        ParquetMetaDataReader::new_with_metadata(metadata).with_offset_index_policy(PageIndexPolicy::Optional);
    pages.read_page_indexes(&LookedAt { file, look })?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::try_new(Arc::new(pages.finish()?), options)
}

/// Where the places of pages stand.
fn offset_indexes(metadata: &ParquetMetaData) -> Vec<Range<u64>> {
    let chunks = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let place = |offset: Option<i64>, bytes: Option<i32>| {
        let start = u64::try_from(offset?).ok()?;
        Some(start..start.checked_add(u64::try_from(bytes?).ok()?)?)
    };
    chunks.filter_map(|chunk| place(chunk.offset_index_offset(), chunk.offset_index_length())).collect()
}

/// A file, of which what is read is looked at first.
struct LookedAt<'a, L> {
    file: &'a Pread,
    look: L,
}

impl<L: Send + Sync> Length for LookedAt<'_, L> {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl<L: Fn(Range<u64>, &[u8]) -> Result<()> + Send + Sync> ChunkReader for LookedAt<'_, L> {
    type T = <Pread as ChunkReader>::T;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.file.get_bytes(start, length)?;
        (self.look)(start..start.saturating_add(length as u64), &bytes)?;
        Ok(bytes)
    }
}
