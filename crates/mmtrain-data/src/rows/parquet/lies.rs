//! Files that say of themselves what is not so, and would take time or memory without an end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, Float32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Encoding;
use parquet::file::metadata::{ColumnChunkMetaData, FileMetaData, ParquetMetaData};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::reader::ChunkReader;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

use super::Kept;
use super::page_header::Paged;
use super::pread::Pread;
use super::thrift::{fields, walk};
use super::{Parquet, Rows};
use crate::cell::Cell;
use crate::reading::ReadAt;
use crate::sample::Reject;

const VALUES: usize = 100;

/// A file of one column, in one row group, which may say where its pages stand.
struct Written {
    _dir: tempfile::TempDir,
    path: PathBuf,
    chunk: ColumnChunkMetaData,
}

fn written(column: ArrayRef, is_indexed: bool) -> Written {
    let properties = WriterProperties::builder().set_offset_index_disabled(!is_indexed).build();
    written_with(column, properties)
}

fn written_with(column: ArrayRef, properties: WriterProperties) -> Written {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.parquet");
    let batch = RecordBatch::try_from_iter([("column", column)]).expect("a batch");
    let mut file = fs_err::File::create(&path).expect("a file").into_file();
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
        (0..rows.len()).all(|row| rows.row(row).is_ok())
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

#[test]
fn texts_whose_lengths_are_differences_are_read() {
    let texts = || (0..5000).map(|n| (n % 7 != 0).then(|| format!("{}{n}", "text ".repeat(n % 40))));
    let column: ArrayRef = Arc::new(texts().collect::<StringArray>());
    for encoding in [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = WriterProperties::builder()
                .set_writer_version(version)
                .set_dictionary_enabled(false)
                .set_encoding(encoding)
                .set_data_page_row_count_limit(700)
                .build();
            let rows = written_with(column.clone(), properties).open().expect("rows");
            for (row, text) in texts().enumerate() {
                let text = text.map_or(Cell::Null, Cell::Text);
                assert_eq!(rows.row(row).expect("a row").get("column"), &text, "{encoding} {version:?} {row}");
            }
        }
    }
}

#[test]
fn wide_columns_are_read_a_row_at_a_time_and_too_wide_ones_are_not() {
    let wide =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size([None, Some(vec![7; 3 << 20]), None].into_iter(), 3 << 20);
    let file = written(Arc::new(wide.expect("a column")), false);
    let rows = file.open().expect("rows");
    assert_eq!(rows.block_rows, 1);
    assert_eq!(rows.row(1).expect("a row").get("column"), &Cell::Bytes(vec![7; 3 << 20]));
    assert!(rows.row(2).expect("a row").get("column").is_null());

    let schema = parse_message_type("message m { optional fixed_len_byte_array(67108865) a; }").expect("a schema");
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let metadata = ParquetMetaData::new(FileMetaData::new(1, 1000, None, None, schema, None), Vec::new());
    let fault = super::block_rows(&metadata).expect_err("too wide");
    assert_eq!(fault, "its rows have 67108865 bytes of fixed width, at most 67108864 are read");
}

#[test]
fn indexes_that_have_more_bytes_than_the_file_are_an_error() {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_write_batch_size(1)
        .set_data_page_row_count_limit(1)
        .build();
    let file = written_with(numbers(), properties);
    assert!(file.is_whole());
    let bytes = fs_err::read(&file.path).expect("bytes");
    let length = file.chunk.offset_index_length().expect("an index");
    // The length of the index, the fifth field of a column chunk: seven bits a byte, the sign in the lowest.
    let field = [0x15, (length << 1) as u8 | 0x80, (length >> 6) as u8];
    let at = bytes.windows(3).rposition(|three| three == field).expect("how long the index is");
    file.change(at + 1, &[0xfe, 0x7f]);
    let fault = file.open().err().expect("refused");
    assert!(fault.contains("its indexes of pages have 8191 bytes, more than the file"), "{} {fault}", bytes.len());
}

#[test]
fn a_type_that_takes_no_bytes_cannot_be_said_to_take_some() {
    // A column of the type that `parquet` knows as 19, said to be of 16 bytes, of which it would read one.
    let column = |said: &[u8]| [&[0x29, 0x1c, 0xac][..], said, &[0x00, 0x00, 0x00]].concat();
    let lie = walk(&column(&[&[0x0d, 38][..], &[0; 16]].concat()), fields::FILE);
    assert_eq!(lie, Err("says of a field that it is what it cannot be"));
    assert_eq!(walk(&column(&[0x0c, 38, 0x00]), fields::FILE), Ok(()));
}

/// A file of which some reads fail, and all are counted.
#[derive(Debug)]
struct Flaky {
    file: File,
    reads: Arc<AtomicUsize>,
    fails: Arc<AtomicUsize>,
}

impl ReadAt for Flaky {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let fails = self.fails.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { Err(io::Error::other("the disk is gone")) } else { ReadAt::read_at(&self.file, buffer, offset) }
    }

    fn len(&self) -> io::Result<u64> {
        ReadAt::len(&self.file)
    }
}

#[test]
fn damage_is_remembered_and_a_fault_of_the_disk_is_not() {
    let file = written(numbers(), false);
    let mut rows = file.open().expect("rows");
    let (reads, fails) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
    let opened = fs_err::File::open(&file.path).expect("a file").into_file();
    let flaky = Flaky { file: opened, reads: Arc::clone(&reads), fails: Arc::clone(&fails) };
    rows.file = Arc::new(Pread::new(Arc::new(flaky)).expect("a file"));
    let fault = rows.row(0).expect_err("no disk");
    assert!(fault.reason == "unreadable" && fault.detail.contains("the disk is gone"), "{}", fault.detail);
    fails.store(0, Ordering::Relaxed);
    rows.kept = Kept::default();
    file.change(file.chunk.data_page_offset() as usize, &ENDLESS);
    assert_eq!(rows.row(0).expect_err("damage").reason, "bad_parquet");
    let before = reads.load(Ordering::Relaxed);
    for row in 0..VALUES {
        assert_eq!(rows.row(row).expect_err("damage").reason, "bad_parquet");
    }
    assert_eq!(reads.load(Ordering::Relaxed), before);
}

#[test]
fn damage_costs_the_same_rows_in_whatever_order_they_are_read() {
    const ROWS: usize = 400;
    let values: Vec<_> = (0..ROWS).map(|row| vec![(row % 251) as u8; 100_000]).collect();
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(&values));
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_offset_index_disabled(true)
        .set_write_batch_size(1)
        .set_data_page_size_limit(1 << 20)
        .build();
    let file = written_with(column, properties);
    let before = [&values[199][..], &100_000_u32.to_le_bytes()].concat();
    let bytes = fs_err::read(&file.path).expect("bytes");
    let at = bytes.windows(before.len()).position(|window| window == before).expect("the length of a value");
    file.change(at + values[199].len(), &[0xff; 4]);
    let lost = |order: Vec<usize>| {
        let rows = file.open().expect("rows");
        assert!(rows.reads_on(0));
        let lost: BTreeSet<_> = order.into_iter().filter(|&row| rows.row(row).is_err()).collect();
        lost
    };
    let alone: BTreeSet<_> = (0..ROWS).filter(|&row| !lost(vec![row]).is_empty()).collect();
    assert!(alone.contains(&200) && alone.len() < 40, "{alone:?}");
    for step in [1, 7, 31, 237, 399] {
        assert_eq!(lost((0..ROWS).map(|n| n * step % ROWS).collect()), alone, "{step}");
    }
}
