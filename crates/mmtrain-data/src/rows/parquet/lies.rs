//! Files that say of themselves what is not so, and would take time or memory without an end.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;

use super::page_header::Paged;
use super::pread::Pread;
use super::{Parquet, Rows};
use crate::sample::Reject;

const VALUES: usize = 100;

/// A file of one column, in one row group, which may say where its pages stand.
struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
    chunk: ColumnChunkMetaData,
}

fn written(column: ArrayRef, is_indexed: bool) -> Written {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.parquet");
    let batch = RecordBatch::try_from_iter([("column", column)]).expect("a batch");
    let mut file = fs_err::File::create(&path).expect("a file").into_file();
    let properties = WriterProperties::builder().set_offset_index_disabled(!is_indexed).build();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let file = fs_err::File::open(&path).expect("a file").into_file();
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).expect("a footer");
    Written { _dir: dir, path, chunk: metadata.metadata().row_group(0).column(0).clone() }
}

fn numbers() -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..VALUES as i64))
}

impl Written {
    fn change(&self, at: usize, bytes: &[u8]) {
        let mut file = fs_err::read(&self.path).expect("bytes");
        file[at..at + bytes.len()].copy_from_slice(bytes);
        fs_err::write(&self.path, file).expect("written");
    }

    fn open(&self) -> Result<Parquet, String> {
        Parquet::open(self.path.clone(), None).map_err(|error| error.to_string())
    }

    /// Why the first row is not there.
    fn fault(&self) -> Reject {
        self.open().expect("rows").row(0).expect_err("a lie")
    }

    fn is_whole(&self) -> bool {
        let rows = self.open().expect("rows");
        (0..VALUES).all(|row| rows.row(row).is_ok())
    }
}

#[test]
fn a_dictionary_that_says_more_values_than_it_can_hold_is_an_error() {
    // As they stand in a header: seven bits a byte, the sign in the lowest.
    let (hundred, more, lie) = ([0xc8, 0x01], 8191, [0xfe, 0x7f]);
    let floats = Float32Array::from_iter_values((0..VALUES).map(|n| n as f32));
    let texts = StringArray::from_iter_values((0..VALUES).map(|n| format!("{n:03}")));
    let columns: [(ArrayRef, usize); 3] = [(numbers(), 8), (Arc::new(floats), 4), (Arc::new(texts), 7)];
    for ((column, bytes), is_indexed) in
        columns.into_iter().flat_map(|column| [(column.clone(), false), (column, true)])
    {
        let file = written(column, is_indexed);
        assert!(file.is_whole());
        let at = file.chunk.dictionary_page_offset().expect("a dictionary") as usize;
        let header = &fs_err::read(&file.path).expect("bytes")[at..at + 32];
        let count = header.windows(2).position(|two| two == hundred).expect("a count of values");
        file.change(at + count, &lie);
        let says = format!("a dictionary of {} bytes says that it has {more} values", VALUES * bytes);
        let fault = file.fault();
        assert!(fault.reason == "bad_parquet" && fault.detail.contains(&says), "{}", fault.detail);
    }
}

/// A field that nobody knows, a list of two thousand million booleans.
const ENDLESS: [u8; 7] = [0x99, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07];

#[test]
fn a_header_of_a_page_whose_reading_would_not_end_is_an_error() {
    for is_indexed in [false, true] {
        let file = written(numbers(), is_indexed);
        assert!(file.is_whole() && file.chunk.offset_index_offset().is_some() == is_indexed);
        let places = [file.chunk.dictionary_page_offset().expect("a dictionary"), file.chunk.data_page_offset()];
        for place in places {
            file.change(place as usize, &ENDLESS);
            let fault = file.fault();
            let says = "header of a page";
            let is_said = fault.detail.contains(says) && fault.detail.contains("a list of booleans");
            assert!(fault.reason == "bad_parquet" && is_said, "{}", fault.detail);
        }
    }
}

#[test]
fn an_index_that_says_more_pages_than_it_can_hold_is_an_error() {
    let index = [[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07], ENDLESS];
    for lie in index {
        let file = written(numbers(), true);
        assert!(file.is_whole());
        file.change(file.chunk.offset_index_offset().expect("an index") as usize, &lie);
        let fault = file.open().err().expect("refused");
        assert!(fault.contains("its index of pages"), "{fault}");
    }
}

#[test]
fn a_header_of_any_size_is_read_as_it_is() {
    for bytes in [10, 5000, 100_000] {
        let statistics = vec![7; bytes];
        let length = [0x80 | (bytes & 0x7f) as u8, 0x80 | (bytes >> 7 & 0x7f) as u8, (bytes >> 14) as u8];
        let header = [&[0x15, 0, 0x15, 0, 0x15, 0, 0x2c, 0x5c, 0x18][..], &length, &statistics, &[0, 0, 0]].concat();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("header");
        let read = |bytes: &[u8]| {
            fs_err::write(&path, bytes).expect("written");
            let file = Pread::new(Arc::new(fs_err::File::open(&path).expect("a file").into_file())).expect("a file");
            let mut read = vec![0; header.len()];
            let mut reader = Paged { file: Arc::new(file), is_indexed: false }.get_read(0).expect("a header");
            reader.read_exact(&mut read).map(|()| read)
        };
        assert_eq!(read(&[&header[..], &vec![9; 50_000]].concat()).expect("a header"), header);
        let error = read(&header[..header.len() - 2]).expect_err("cut short").to_string();
        assert!(error.contains("the header of a page at byte 0 is cut short"), "{error}");
    }
}
