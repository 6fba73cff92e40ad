//! Column chunks of a row group, whose pages are looked at before they are decoded.
//!
//! `parquet` takes memory for as many values as the header of a dictionary's page says there are, before it looks how many the page can
//! hold (`encodings/decoding.rs`, `DictDecoder::set_dict`, version 60): a few bytes of a header are gigabytes. A dictionary is written
//! plainly, so that its values have a least size.

use std::sync::Arc;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Type;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::delta;
use super::page_header::Paged;
use super::pread::Pread;

/// One row group of a file.
pub(super) struct Group<'a> {
    pub(super) file: &'a Arc<Pread>,
    pub(super) metadata: &'a ParquetMetaData,
    pub(super) index: usize,
}

impl RowGroups for Group<'_> {
    fn num_rows(&self) -> usize {
        self.metadata.row_group(self.index).num_rows() as usize
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let chunk = self.metadata.row_group(self.index).column(column);
        let places = self.metadata.page_index().and_then(|index| index.page_locations(self.index, column)).cloned();
        let file = Paged { file: Arc::clone(self.file), is_indexed: places.is_some() };
        let pages = SerializedPageReader::new(Arc::new(file), chunk, self.num_rows(), places)?;
        let column = chunk.column_descr_ptr();
        Ok(Box::new(Chunk(Some(Pages { pages, column }))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.index)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// Bits that a plainly written value takes at least (`Encodings.md` of the format, `PLAIN`).
fn least_bits(column: &ColumnDescriptor) -> usize {
    match column.physical_type() {
        Type::BOOLEAN => 1,
        // Byte arrays begin with their length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 32,
        Type::INT64 | Type::DOUBLE => 64,
        Type::INT96 => 96,
        Type::FIXED_LEN_BYTE_ARRAY => column.type_length().max(0) as usize * 8,
    }
}

/// The only chunk of a column in a row group.
struct Chunk(Option<Pages>);

impl Iterator for Chunk {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|pages| Ok(Box::new(pages) as _))
    }
}

impl PageIterator for Chunk {}

/// Pages of a chunk.
struct Pages {
    pages: SerializedPageReader<Paged>,
    column: ColumnDescPtr,
}

impl Pages {
    fn looked_at(&self, page: Option<Page>) -> Result<Option<Page>> {
        match &page {
            Some(Page::DictionaryPage { buf, num_values, .. }) => {
                let least = (*num_values as usize).saturating_mul(least_bits(&self.column));
                if least > buf.len().saturating_mul(8) {
                    let fault = format!("a dictionary of {} bytes says that it has {num_values} values", buf.len());
                    return Err(ParquetError::General(fault));
                }
            }
            Some(data) => delta::look_at(data, &self.column)?,
            None => {}
        }
        Ok(page)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        self.looked_at(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        self.looked_at(page)
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
