//! Rows of Arrow files: what `datasets` keeps in its cache and writes with `save_to_disk`, as a stream or with a footer.
//!
//! Both are the same messages one behind the other (Arrow columnar format, "Encapsulated message format"), a schema first,
//! then dictionaries and batches of rows. On opening their headers are gone through, no batch is read. To get a row, its
//! batch is decoded; the last ones are kept.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::MetadataVersion;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_schema::{ArrowError, SchemaRef};

use super::arrow_cell::{is_read, row_of, unread};
use super::kept::{Decoded, Kept};
use super::message_scan::{Message, header_of, scan};
use super::text_file::problem;
use super::{RowPlace, Rows, cut};
use crate::cell::Cell;
use crate::panics::confined;
use crate::reading::{ReadAt, bytes_at, unreadable};
use crate::sample::Reject;
use crate::source::ShardProblem;
use crate::{DataError, Place, content};

/// Rows of an Arrow file.
pub struct Arrow {
    place: Place,
    name: String,
    file: Arc<dyn ReadAt>,
    schema: SchemaRef,
    /// The columns that are read.
    projection: Vec<usize>,
    dictionaries: HashMap<i64, ArrayRef>,
    batches: Vec<Message>,
    /// First row of each batch, and the number of rows at the end.
    starts: Vec<usize>,
    kept: Kept<usize>,
    fingerprint: String,
    problems: Vec<ShardProblem>,
}

impl Arrow {
    /// Goes through the headers of a file.
    pub fn open(file: impl Into<Place>) -> Result<Self, DataError> {
        let place = file.into();
        let file = place.open_file()?;
        let refuse = |detail: String| DataError::Rows { path: place.path().to_path_buf(), detail };
        let len = file.len()?;
        let found = scan(file.as_ref(), len).map_err(refuse)?;
        let schema = confined(|| schema_of(&found.schema)).and_then(|schema| schema).map_err(refuse)?;
        let dictionaries = confined(|| dictionaries(file.as_ref(), &found.dictionaries, &schema))
            .and_then(|read| read)
            .map_err(|detail| refuse(format!("its dictionaries: {detail}")))?;
        let mut starts = vec![0];
        starts.extend(found.batches.iter().scan(0, |sum, batch| {
            *sum += batch.rows;
            Some(*sum)
        }));
        let name = place.name();
        let unread = unread(schema.fields().iter());
        let rows = starts.last().copied().unwrap_or(0);
        let problems = found.fault.into_iter().chain(unread).map(|fault| problem(&name, rows, fault)).collect();
        let fields = schema.fields().iter().enumerate();
        let projection = fields.filter(|(_, field)| is_read(field.data_type())).map(|(at, _)| at).collect();
        let fingerprint = content::fingerprint(file.as_ref(), len)?;
        let (batches, kept) = (found.batches, Kept::default());
        Ok(Self { place, name, file, schema, projection, dictionaries, batches, starts, kept, fingerprint, problems })
    }

    fn batch(&self, number: usize) -> Decoded {
        if let Some(known) = self.kept.get(&number) {
            return known;
        }
        let decoded = self.decode(&self.batches[number]).map(Arc::new).map_err(Arc::new);
        self.kept.put(number, self.batches[number].bytes(), decoded.clone());
        decoded
    }

    fn decode(&self, message: &Message) -> Result<RecordBatch, Reject> {
        let bad = |detail: String| Reject::new("bad_arrow", format!("`{}`: {}", self.place, cut(&detail)));
        let bytes =
            read(self.file.as_ref(), message).map_err(|error| unreadable(&self.place, message.end(), &error))?;
        let batch = confined(|| {
            with_message(message, &bytes, |header, body, version| {
                let batch = header.header_as_record_batch().ok_or_else(|| damaged("no batch of rows"))?;
                let columns = Some(self.projection.as_slice());
                read_record_batch(body, batch, self.schema.clone(), &self.dictionaries, columns, &version)
            })
        });
        let batch = batch.map_err(bad)?.map_err(|error| bad(error.to_string()))?;
        if batch.num_rows() == message.rows {
            Ok(batch)
        } else {
            Err(bad("a batch has other rows than it says".into()))
        }
    }
}

fn damaged(detail: &str) -> ArrowError {
    ArrowError::IpcError(detail.to_owned())
}

/// Header and body of a message.
fn read(file: &dyn ReadAt, message: &Message) -> std::io::Result<Vec<u8>> {
    bytes_at(file, message.header, message.bytes() as usize)
}

/// Takes a message apart.
fn with_message<T>(
    message: &Message,
    bytes: &[u8],
    work: impl FnOnce(arrow_ipc::Message<'_>, &Buffer, MetadataVersion) -> Result<T, ArrowError>,
) -> Result<T, ArrowError> {
    let (header, body) = bytes.split_at(message.header_bytes as usize);
    let header = header_of(header).map_err(|error| damaged(&error.to_string()))?;
    work(header, &Buffer::from(body), header.version())
}

fn schema_of(header: &[u8]) -> Result<SchemaRef, String> {
    let message = header_of(header).map_err(|error| error.to_string())?;
    let schema = message.header_as_schema().ok_or("has no schema")?;
    Ok(Arc::new(try_fb_to_schema(schema).map_err(|error| error.to_string())?))
}

fn dictionaries(file: &dyn ReadAt, messages: &[Message], schema: &SchemaRef) -> Result<HashMap<i64, ArrayRef>, String> {
    let mut read_so_far = HashMap::new();
    for message in messages {
        let bytes = read(file, message).map_err(|error| error.to_string())?;
        let added = with_message(message, &bytes, |header, body, version| {
            let batch = header.header_as_dictionary_batch().ok_or_else(|| damaged("no dictionary"))?;
            if read_so_far.contains_key(&batch.id()) {
                return Err(damaged("one that changes from batch to batch is not read"));
            }
            read_dictionary(body, batch, schema, &mut read_so_far, &version)
        });
        added.map_err(|error| error.to_string())?;
    }
    Ok(read_so_far)
}

impl Rows for Arrow {
    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        assert!(index < self.len(), "row {index} of {}", self.len());
        let number = self.starts.partition_point(|&start| start <= index) - 1;
        let batch = self.batch(number).map_err(|reject| Reject::clone(&reject))?;
        confined(|| row_of(&batch, index - self.starts[number]))
            .map_err(|panic| Reject::new("bad_arrow", format!("`{}`: {panic}", self.place)))
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

    use arrow_ipc::writer::StreamWriter;
    use arrow_ipc::{
        Field, FieldArgs, KeyValue, KeyValueArgs, MessageArgs, MessageHeader, Null, NullArgs, Schema, SchemaArgs, Type,
    };
    use flatbuffers::FlatBufferBuilder;

    use super::*;
    use crate::rows::Parquet;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name)
    }

    #[test]
    fn a_stream_and_a_file_have_the_rows_of_the_same_table_as_parquet() {
        let parquet = Parquet::open(fixture("tables/snappy_v1.parquet"), None).expect("rows");
        for name in ["stream", "file"] {
            let rows = Arrow::open(fixture(&format!("tables/{name}.arrow"))).expect("rows");
            assert_eq!((rows.len(), rows.starts.clone()), (1000, vec![0, 300, 600, 900, 1000]));
            for step in 0..1000 {
                let index = step * 617 % 1000;
                assert_eq!(rows.row(index).expect("a row"), parquet.row(index).expect("a row"), "{name} {index}");
            }
            let reasons: Vec<_> = rows.problems().iter().map(|problem| problem.reason).collect();
            assert_eq!(reasons, ["rows_unread_column"]);
        }
    }

    #[test]
    fn a_file_that_breaks_off_keeps_its_complete_batches() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.arrow");
        let whole = fs_err::read(fixture("tables/stream.arrow")).expect("bytes");
        let third = Arrow::open(fixture("tables/stream.arrow")).expect("rows").batches[2].end() as usize;
        for (len, rows, reasons) in [(third - 1, 600, 1), (third, 900, 0), (whole.len() - 8, 1000, 0)] {
            fs_err::write(&path, &whole[..len]).expect("written");
            let cut = Arrow::open(&path).expect("rows");
            let cuts = cut.problems().iter().filter(|problem| problem.reason == "rows_cut_short").count();
            assert_eq!((cut.len(), cuts), (rows, reasons), "{len}");
            assert!(cut.row(rows - 1).is_ok());
        }
    }

    #[test]
    fn a_file_of_something_else_says_so() {
        for name in ["README.md", "tables/snappy_v1.parquet", "messages/images/1.jpg"] {
            let error = Arrow::open(fixture(name)).err().expect("refused").to_string();
            assert!(error.ends_with("is no Arrow file"), "{error}");
        }
    }

    /// A schema whose columns share name and metadata, of so many characters.
    fn shared(columns: usize, characters: usize) -> Vec<u8> {
        let mut to = FlatBufferBuilder::new();
        let text = Some(to.create_string(&"x".repeat(characters)));
        let pair = KeyValue::create(&mut to, &KeyValueArgs { key: text, value: text });
        let custom_metadata = Some(to.create_vector(&[pair]));
        let type_ = Some(Null::create(&mut to, &NullArgs {}).as_union_value());
        let args = FieldArgs { name: text, type_type: Type::Null, type_, custom_metadata, ..FieldArgs::default() };
        let field = Field::create(&mut to, &args);
        let fields = Some(to.create_vector(&vec![field; columns]));
        let schema = Schema::create(&mut to, &SchemaArgs { fields, ..SchemaArgs::default() });
        let (header_type, header) = (MessageHeader::Schema, Some(schema.as_union_value()));
        let version = MetadataVersion::V5;
        let message = arrow_ipc::Message::create(
            &mut to,
            &MessageArgs { version, header_type, header, ..MessageArgs::default() },
        );
        to.finish(message, None);
        let header = to.finished_data();
        [&[0xff; 4][..], &(header.len() as u32).to_le_bytes(), header].concat()
    }

    fn open(bytes: &[u8]) -> Result<Arrow, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.arrow");
        fs_err::write(&path, bytes).expect("written");
        Arrow::open(path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_schema_whose_parts_are_shared_is_not_made_larger_than_it_is() {
        assert_eq!(open(&shared(3, 4000)).expect("rows").schema.fields().len(), 3);
        for shared in [shared(1000, 4000), shared(1_500_000, 1)] {
            let fault = open(&shared).err().expect("refused");
            assert!(fault.contains("says more than 8 times what it has bytes for"), "{fault}");
        }
    }

    #[test]
    fn a_batch_whose_columns_share_bytes_is_none() {
        let column = || -> ArrayRef { Arc::new(arrow_array::Int64Array::from_iter_values(0..1000)) };
        let batch = RecordBatch::try_from_iter([("a", column()), ("b", column())]).expect("a batch");
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
        writer.write(&batch).and_then(|()| writer.finish()).expect("written");
        assert_eq!(open(&bytes).expect("rows").len(), 1000);
        let length = bytes.windows(8).position(|word| word == 8000_i64.to_le_bytes()).expect("how long a column is");
        bytes[length..length + 8].copy_from_slice(&16_000_i64.to_le_bytes());
        let rows = open(&bytes).expect("rows");
        let fault = &rows.problems()[0];
        assert_eq!((rows.len(), fault.reason), (0, "rows_damaged"));
        assert!(fault.detail.contains("its parts are larger than it is"), "{}", fault.detail);
    }

    #[test]
    fn a_schema_of_many_columns_is_read() {
        let fields = (0..20_000).map(|n| {
            let said = HashMap::from([("about".to_owned(), format!("column {n}"))]);
            arrow_schema::Field::new(format!("{n}"), arrow_schema::DataType::Int32, true).with_metadata(said)
        });
        let schema = arrow_schema::Schema::new(fields.collect::<Vec<_>>());
        let mut bytes = Vec::new();
        StreamWriter::try_new(&mut bytes, &schema).expect("a writer").finish().expect("written");
        assert_eq!(*open(&bytes).expect("rows").schema, schema);
    }

    #[test]
    fn of_a_long_kind_of_column_the_beginning_is_shown() {
        let parts: Vec<_> =
            (0..1000).map(|n| arrow_schema::Field::new(format!("part {n}"), duration(), true)).collect();
        let kind = arrow_schema::DataType::Struct(parts.into());
        let column = Arc::new(arrow_schema::Field::new("long", kind, true));
        let fault = unread(std::iter::once(&column)).expect("a fault");
        assert!(
            fault.detail.starts_with("column `long` is of the kind `Struct(\"part 0\"") && fault.detail.len() < 260
        );
    }

    fn duration() -> arrow_schema::DataType {
        arrow_schema::DataType::Duration(arrow_schema::TimeUnit::Second)
    }
}
