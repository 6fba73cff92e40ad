//! Rows of Parquet files, read a few at a time from wherever they stand.
//!
//! A file is opened by its footer alone. To get a row, a block of rows around it is decoded, of about
//! [`BLOCK_BYTES`]; the last blocks are kept, so that neighbours cost nothing. With a page index, which newer
//! writers add, that reads only the pages of the block; without one the pages before it in the row group are
//! passed over by their headers, or decoded where values repeat. Large row groups without one are therefore read on from
//! where the last block ended, if the next one is not far behind it.

mod column_chunk;
mod delta;
mod footer;
#[cfg(test)]
mod lies;
mod page_header;
mod pread;
mod thrift;

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowSelection, RowSelector};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use column_chunk::Group;
use pread::Pread;

use super::arrow_cell::{is_read, row_of, unread};
use super::kept::{Decoded, Kept};
use super::text_file::problem;
use super::{RowPlace, Rows, cut};
use crate::cell::Cell;
use crate::panics::confined;
use crate::reading::UNREADABLE;
use crate::sample::Reject;
use crate::source::ShardProblem;
use crate::{DataError, Place, content};

/// Bytes, before compression, that are decoded for one row.
const BLOCK_BYTES: u64 = 1 << 20;
const MAX_BLOCK_ROWS: u64 = 1024;
/// Bytes of a row that its columns of fixed width have: what `parquet` takes for each row of a block, whatever is in it.
const MAX_FIXED_BYTES: u64 = 64 << 20;
/// More than a file of a data set has; places of samples are kept in memory.
const MAX_ROWS: usize = 200_000_000;
/// From this size on, before compression, a row group without a page index is read on from where it was left.
const LARGE_GROUP: i64 = 16 << 20;
/// Blocks that are decoded on the way to one that is asked for, rather than to begin anew.
const AHEAD: usize = 64;
/// What `pandas` adds of its own.
const PANDAS: &str = "__index_level_0__";

/// Rows of a Parquet file.
pub struct Parquet {
    place: Place,
    name: String,
    file: Arc<Pread>,
    metadata: Arc<ParquetMetaData>,
    /// The columns that are read.
    columns: FieldLevels,
    /// First row of each row group, and the number of rows at the end.
    starts: Vec<usize>,
    block_rows: usize,
    /// By row group and number in it.
    kept: Kept<(usize, usize)>,
    /// Where a large row group was left.
    left: Mutex<Option<Left>>,
    fingerprint: String,
    problems: Vec<ShardProblem>,
}

/// A row group that is read from front to back.
struct Left {
    group: usize,
    /// The block that comes next.
    next: usize,
    reader: ParquetRecordBatchReader,
}

impl Parquet {
    /// Opens a file by its footer. With `columns`, only those of the outermost columns are read.
    pub fn open(file: impl Into<Place>, columns: Option<&[&str]>) -> Result<Self, DataError> {
        let place = file.into();
        let refuse = |detail: String| DataError::Rows { path: place.path().to_path_buf(), detail };
        let file = Pread::new(place.open_file()?)?;
        let metadata = confined(|| footer::read(&file))
            .map_err(|panic| format!("its footer is damaged: {panic}"))
            .and_then(|loaded| loaded.map_err(|error| format!("is no Parquet file that can be read: {error}")))
            .map_err(refuse)?;
        let starts = starts(metadata.metadata()).map_err(refuse)?;
        let (projection, unread) = project(&metadata, columns);
        let columns = parquet_to_arrow_field_levels(metadata.parquet_schema(), projection, None)
            .map_err(|error| refuse(format!("its columns cannot be read: {error}")))?;
        let name = place.name();
        let rows = starts.last().copied().unwrap_or(0);
        let problems = unread.map(|fault| problem(&name, rows, fault)).into_iter().collect();
        let fingerprint = content::fingerprint(file.file(), file.bytes())?;
        let block_rows = block_rows(metadata.metadata()).map_err(refuse)?;
        let (kept, left) = (Kept::default(), Mutex::default());
        let (file, metadata) = (Arc::new(file), Arc::clone(metadata.metadata()));
        Ok(Self { place, name, file, metadata, columns, starts, block_rows, kept, left, fingerprint, problems })
    }

    fn block(&self, group: usize, number: usize) -> Decoded {
        if let Some(known) = self.kept.get(&(group, number)) {
            return known;
        }
        let failed = self.file.failed();
        let decode = || if self.reads_on(group) { self.read_on(group, number) } else { self.decode(group, number) };
        let detail = match confined(decode) {
            Ok(Ok(batch)) => return Ok(batch),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic,
        };
        let reason = if self.file.failed() == failed { "bad_parquet" } else { UNREADABLE };
        let fault = Arc::new(Reject::new(reason, format!("`{}`: {}", self.place, cut(&detail))));
        self.kept.put((group, number), 0, Err(Arc::clone(&fault)));
        Err(fault)
    }

    fn reads_on(&self, group: usize) -> bool {
        self.metadata.page_index().is_none() && self.metadata.row_group(group).total_byte_size() > LARGE_GROUP
    }

    /// Reads on to a block, or begins at it where it lies before the place or far behind it.
    fn read_on(&self, group: usize, number: usize) -> parquet::errors::Result<Arc<RecordBatch>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have come past it in the meantime.
        if let Some(Ok(batch)) = self.kept.get(&(group, number)) {
            return Ok(batch);
        }
        let is_near = |left: &Left| left.group == group && (left.next..=left.next + AHEAD).contains(&number);
        let begun = left.take().filter(is_near);
        let mut here = begun.map_or_else(|| self.begin(group, number), Ok)?;
        loop {
            let at = here.next;
            here.next += 1;
            match here
                .reader
                .next()
                .transpose()
                .map_err(ParquetError::from)
                .and_then(|batch| self.whole(group, at, batch))
            {
                Ok(batch) if at == number => {
                    *left = Some(here);
                    return Ok(batch);
                }
                Err(fault) if at == number => return Err(fault),
                Ok(_) => {}
                // What lies on the way is not what was asked for.
                Err(_) => here = self.begin(group, number)?,
            }
        }
    }

    /// A row group from a block on.
    fn begin(&self, group: usize, number: usize) -> parquet::errors::Result<Left> {
        let rest = self.starts[group + 1] - self.starts[group] - number * self.block_rows;
        Ok(Left { group, next: number, reader: self.reader(group, number, rest)? })
    }

    /// Reads the rows of one block.
    fn decode(&self, group: usize, number: usize) -> parquet::errors::Result<Arc<RecordBatch>> {
        let mut reader = self.reader(group, number, self.len_of(group, number))?;
        self.whole(group, number, reader.next().transpose()?)
    }

    /// Rows of a block.
    fn len_of(&self, group: usize, number: usize) -> usize {
        let rows = self.starts[group + 1] - self.starts[group];
        self.block_rows.min(rows - number * self.block_rows)
    }

    /// Reads `rows` rows from the start of a block on, a block at a time.
    fn reader(&self, group: usize, number: usize, rows: usize) -> parquet::errors::Result<ParquetRecordBatchReader> {
        let first = number * self.block_rows;
        let batch_rows = self.block_rows.min(rows);
        let selection = RowSelection::from(vec![RowSelector::skip(first), RowSelector::select(rows)]);
        let group = Group { file: &self.file, metadata: &self.metadata, index: group };
        ParquetRecordBatchReader::try_new_with_row_groups(&self.columns, &group, batch_rows, Some(selection))
    }

    /// The rows of a block, if they are all there; they are kept.
    fn whole(
        &self,
        group: usize,
        number: usize,
        batch: Option<RecordBatch>,
    ) -> parquet::errors::Result<Arc<RecordBatch>> {
        let found = batch.as_ref().map_or(0, RecordBatch::num_rows);
        let batch = batch
            .filter(|_| found == self.len_of(group, number))
            .ok_or_else(|| ParquetError::General(format!("row group {group} has fewer rows than its footer says")))?;
        let batch = Arc::new(batch);
        self.kept.put((group, number), batch.get_array_memory_size() as u64, Ok(Arc::clone(&batch)));
        Ok(batch)
    }
}

/// Where row groups begin; an error where the counts of a footer cannot be true.
fn starts(metadata: &ParquetMetaData) -> Result<Vec<usize>, String> {
    let mut starts = vec![0_usize];
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = group.num_rows();
        let differs = group.columns().iter().any(|column| {
            let is_flat = column.column_descr().max_rep_level() == 0;
            let is_right = if is_flat { column.num_values() == rows } else { column.num_values() >= rows };
            !is_right
        });
        let end = usize::try_from(rows).ok().and_then(|rows| starts[index].checked_add(rows));
        match end.filter(|&end| !differs && end <= MAX_ROWS) {
            Some(end) => starts.push(end),
            None => return Err(format!("its footer is damaged: row group {index} cannot have {rows} rows")),
        }
    }
    Ok(starts)
}

/// The columns to read, and which of those that were asked for cannot be.
fn project(metadata: &ArrowReaderMetadata, columns: Option<&[&str]>) -> (ProjectionMask, Option<Reject>) {
    let fields = metadata.schema().fields();
    let is_wanted = |name: &str| name != PANDAS && columns.is_none_or(|columns| columns.contains(&name));
    let wanted = || fields.iter().enumerate().filter(|(_, field)| is_wanted(field.name()));
    let roots = wanted().filter(|(_, field)| is_read(field.data_type())).map(|(root, _)| root);
    let projection = ProjectionMask::roots(metadata.parquet_schema(), roots);
    (projection, unread(wanted().map(|(_, field)| field)))
}

/// So many rows that a block has about [`BLOCK_BYTES`]; an error where one row has too many.
fn block_rows(metadata: &ParquetMetaData) -> Result<usize, String> {
    let groups = metadata.row_groups();
    let bytes: u64 = groups.iter().map(|group| group.total_byte_size().max(0) as u64).fold(0, u64::saturating_add);
    let rows: u64 = groups.iter().map(|group| group.num_rows().max(0) as u64).sum();
    let columns = metadata.file_metadata().schema_descr().columns().iter();
    let widths = columns.filter(|column| column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY);
    let fixed = widths.map(|column| column.type_length().max(0) as u64).fold(0, u64::saturating_add);
    if fixed > MAX_FIXED_BYTES {
        return Err(format!("its rows have {fixed} bytes of fixed width, at most {MAX_FIXED_BYTES} are read"));
    }
    let row_bytes = (bytes / rows.max(1)).max(fixed) + 1;
    Ok((BLOCK_BYTES / row_bytes).clamp(1, MAX_BLOCK_ROWS) as usize)
}

impl Rows for Parquet {
    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        assert!(index < self.len(), "row {index} of {}", self.len());
        let group = self.starts.partition_point(|&start| start <= index) - 1;
        let row = index - self.starts[group];
        let batch = self.block(group, row / self.block_rows).map_err(|fault| Reject::clone(&fault))?;
        confined(|| row_of(&batch, row % self.block_rows))
            .map_err(|panic| Reject::new("bad_parquet", format!("`{}`: {panic}", self.place)))
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        RowPlace { file: &self.name, row: index }
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn problems(&self) -> &[ShardProblem] {
        &self.problems
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name)
    }

    fn open(name: &str) -> Parquet {
        Parquet::open(fixture(name), None).expect("rows")
    }

    #[test]
    fn every_row_is_read_from_wherever_it_stands_whatever_the_pages_are() {
        for name in ["snappy_v1", "zstd_v2_index", "gzip_plain"] {
            let mut rows = open(&format!("tables/{name}.parquet"));
            assert_eq!((rows.len(), rows.starts.clone()), (1000, vec![0, 300, 600, 900, 1000]));
            rows.block_rows = 7;
            for step in 0..1000 {
                let index = step * 617 % 1000;
                let row = rows.row(index).expect("a row");
                let n = index as i64;
                let text = if n % 7 == 0 { Cell::Null } else { Cell::Text(format!("row {n}")) };
                assert_eq!(row.get("text"), &text, "{name} {n}");
                let blob = Cell::Bytes(vec![n as u8; index % 5]);
                assert_eq!(row.get("blob"), &blob, "{name} {n}");
                assert_eq!(row.get("fixed").items(), [Cell::Int(n), Cell::Int(-n)]);
                assert_eq!(row.get("floats").items(), vec![Cell::Float(n as f64 / 2.0); index % 3]);
                let structs = row.get("structs").items();
                assert_eq!(structs.len(), index % 2);
                assert!(structs.iter().all(|item| item.get("a").as_int() == Some(n % 256)));
            }
        }
    }

    /// Lists of large values in one row group, as pandas writes them.
    fn one_large_group(rows: usize) -> (tempfile::TempDir, PathBuf) {
        use arrow_array::builder::{BinaryBuilder, ListBuilder};
        let mut lists = ListBuilder::new(BinaryBuilder::new());
        for row in 0..rows {
            lists.values().append_value(vec![(row % 251) as u8; 100_000]);
            lists.append(true);
        }
        let lists: arrow_array::ArrayRef = Arc::new(lists.finish());
        let batch = RecordBatch::try_from_iter([("images", lists)]).expect("a batch");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.parquet");
        let file = fs_err::File::create(&path).expect("a file").into_file();
        let properties = parquet::file::properties::WriterProperties::builder()
            .set_offset_index_disabled(true)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
            .build();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        (dir, path)
    }

    #[test]
    fn a_large_row_group_is_read_on_in_any_order() {
        let (_dir, path) = one_large_group(400);
        let rows = Parquet::open(path, None).expect("rows");
        assert!(rows.reads_on(0) && rows.block_rows < 20, "{} rows a block", rows.block_rows);
        let in_order = 0..400;
        let jumping = (0..60).map(|step| step * 237 % 400);
        for index in in_order.chain(jumping) {
            let row = rows.row(index).expect("a row");
            assert_eq!(row.get("images").items(), [Cell::Bytes(vec![(index % 251) as u8; 100_000])], "{index}");
        }
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let rows = &rows;
                scope.spawn(move || {
                    for index in (thread..400).step_by(4) {
                        let row = rows.row(index).expect("a row");
                        assert_eq!(row.get("images").items()[0], Cell::Bytes(vec![(index % 251) as u8; 100_000]));
                    }
                });
            }
        });
    }

    #[test]
    fn values_of_all_kinds_become_cells() {
        let row = open("tables/snappy_v1.parquet").row(4).expect("a row");
        assert_eq!(row.get("dict").as_str(), Some("b"));
        assert_eq!(row.get("when").as_int(), Some(4));
        assert_eq!(row.get("half").as_float(), Some(4.0));
        let entry = &row.get("map").items()[0];
        assert_eq!(entry.fields()[0].1.as_str().zip(entry.fields()[1].1.as_int()), Some(("k", 4)));
        assert!(row.get("none").is_null() && row.get("money").is_null());
    }

    #[test]
    fn a_column_that_is_not_read_is_named() {
        let rows = open("tables/snappy_v1.parquet");
        assert_eq!(rows.problems()[0].reason, "rows_unread_column");
        assert!(rows.problems()[0].detail.starts_with("column `money`"), "{}", rows.problems()[0].detail);
    }

    #[test]
    fn pictures_nested_lists_and_structs_of_lists_are_read() {
        let row = open("preference/data/train-00000-of-00001.parquet").row(0).expect("a row");
        assert!(
            row.get("images").items()[0].get("bytes").as_bytes().is_some_and(|bytes| bytes.starts_with(&[0xff, 0xd8]))
        );
        let parts = row.get("prompt").items()[0].get("content").items();
        assert_eq!((parts[0].get("type").as_str(), parts[0].get("text")), (Some("image"), &Cell::Null));
        let row = open("vlfeedback/data/train-00000-of-00001.parquet").row(1).expect("a row");
        let completions = row.get("completions");
        assert_eq!(completions.get("response").items()[1].as_str(), Some("There."));
        let ratings = completions.get("annotations").get("Ethical Considerations").get("Rating");
        assert_eq!(ratings.items()[0].as_str(), Some("N/A"));
    }

    #[test]
    fn the_index_of_pandas_is_no_column_and_others_can_be_chosen() {
        let file = "msr_vtt_parquet/data/train-00000-of-00001-60e50ff5fbbd1bb5.parquet";
        let row = open(file).row(0).expect("a row");
        assert!(
            row.fields().iter().all(|(name, _)| name != PANDAS) && row.get("start time").as_float() == Some(137.72)
        );
        let row = Parquet::open(fixture(file), Some(&["caption"])).expect("rows").row(1).expect("a row");
        assert_eq!(row, Cell::Struct(vec![("caption".into(), Cell::Text("a man sings".into()))]));
    }

    #[test]
    fn a_file_that_is_no_parquet_says_so() {
        let error = Parquet::open(fixture("README.md"), None).err().expect("refused").to_string();
        assert!(error.contains("README.md`: is no Parquet file that can be read"), "{error}");
    }

    #[test]
    fn threads_that_read_one_file_do_not_disturb_each_other() {
        let rows = open("tables/zstd_v2_index.parquet");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let rows = &rows;
                scope.spawn(move || {
                    for step in 0..300 {
                        let index = (step * 331 + thread * 97) % 1000;
                        assert_eq!(rows.row(index).expect("a row").get("when").as_int(), Some(index as i64));
                    }
                });
            }
        });
    }
}
