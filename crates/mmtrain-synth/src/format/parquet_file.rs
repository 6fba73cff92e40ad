//! A Parquet file as the `datasets` library writes them: optional columns, Snappy, and the features in its metadata.
//!
//! Columns are written without Arrow; readers see the same schema either way.

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use crate::SynthError;
use crate::output::{Output, OutputFile};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    /// A struct of `bytes` and `path`, two leaves.
    Image,
}

/// Values of a leaf for one row group, none of them null.
pub(crate) enum Leaf {
    Text(Vec<String>),
    Bytes(Vec<Vec<u8>>),
    Int(Vec<i64>),
}

/// A file under construction.
pub(crate) struct ParquetFile(SerializedFileWriter<OutputFile>);

impl ParquetFile {
    /// Begins `name` with these columns.
    pub(crate) fn create(output: &Output<'_>, name: &str, columns: &[(&str, Kind)]) -> Result<Self, SynthError> {
        let schema = parse_message_type(&message_type(columns))?;
        let features = KeyValue::new("huggingface".to_owned(), features(columns).to_string());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![features]))
            // pictures hardly repeat within a row group
            .set_column_dictionary_enabled(ColumnPath::from("image.bytes"), false)
            .build();
        Ok(Self(SerializedFileWriter::new(output.create(name)?, schema.into(), properties.into())?))
    }

    /// Writes a row group: the leaves in the order of the columns, all of the same length.
    pub(crate) fn write(&mut self, leaves: Vec<Leaf>) -> Result<(), SynthError> {
        let mut group = self.0.next_row_group()?;
        for leaf in leaves {
            let mut column = group.next_column()?.ok_or_else(|| general("more leaves than columns"))?;
            write_leaf(column.untyped(), leaf)?;
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes the footer and hands the file back.
    pub(crate) fn end(self) -> Result<OutputFile, SynthError> {
        Ok(self.0.into_inner()?)
    }
}

fn write_leaf(column: &mut ColumnWriter<'_>, leaf: Leaf) -> Result<(), SynthError> {
    let binary = |values: Vec<Vec<u8>>| values.into_iter().map(ByteArray::from).collect::<Vec<_>>();
    match (column, leaf) {
        (ColumnWriter::Int64ColumnWriter(column), Leaf::Int(values)) => {
            let levels = vec![column.get_descriptor().max_def_level(); values.len()];
            column.write_batch(&values, Some(&levels), None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(column), leaf) => {
            let values = match leaf {
                Leaf::Text(values) => binary(values.into_iter().map(String::into_bytes).collect()),
                Leaf::Bytes(values) => binary(values),
                Leaf::Int(_) => return Err(general("numbers for a column of bytes")),
            };
            let levels = vec![column.get_descriptor().max_def_level(); values.len()];
            column.write_batch(&values, Some(&levels), None)?;
        }
        _ => return Err(general("a column of another type")),
    }
    Ok(())
}

fn general(message: &str) -> SynthError {
    ParquetError::General(message.to_owned()).into()
}

/// The schema in Parquet's own words.
fn message_type(columns: &[(&str, Kind)]) -> String {
    let columns = columns.iter().map(|(name, kind)| match kind {
        Kind::Text => format!("optional binary {name} (UTF8);"),
        Kind::Int => format!("optional int64 {name};"),
        Kind::Image => {
            format!("optional group {name} {{ optional binary bytes; optional binary path (UTF8); }}")
        }
    });
    format!("message schema {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

/// What the `datasets` library finds under `huggingface`.
fn features(columns: &[(&str, Kind)]) -> Value {
    let feature = |kind: &Kind| match kind {
        Kind::Text => json!({ "dtype": "string", "_type": "Value" }),
        Kind::Int => json!({ "dtype": "int64", "_type": "Value" }),
        Kind::Image => json!({ "_type": "Image" }),
    };
    let features: Map<_, _> = columns.iter().map(|(name, kind)| ((*name).to_owned(), feature(kind))).collect();
    json!({ "info": { "features": features } })
}
