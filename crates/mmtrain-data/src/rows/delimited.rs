//! Rows of CSV and TSV files: every value is text, nothing is trimmed.

use super::fields::fields;
use super::record_scan::RecordScan;
use super::text_file::TextFile;
use super::{RowPlace, Rows};
use crate::cell::Cell;
use crate::sample::Reject;
use crate::source::ShardProblem;
use crate::{DataError, Place};

/// How a file of separated values is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between two values.
    pub delimiter: u8,
    /// Whether values may be quoted; if not, `"` is a character like any other.
    pub quoting: bool,
    /// How the bytes are read.
    pub encoding: Encoding,
    /// Names of the columns; with none the first record has them.
    pub columns: Vec<String>,
}

/// How the bytes of a text are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8; a row of anything else is rejected.
    Utf8,
    /// ISO-8859-1, a character for every byte; Clotho's metadata are written in it.
    Latin1,
}

impl Dialect {
    /// Commas, quotes, a header, UTF-8.
    pub fn csv() -> Self {
        Self { delimiter: b',', quoting: true, encoding: Encoding::Utf8, columns: Vec::new() }
    }

    /// Tabs, no quotes, and columns of these names; with none the first line has them.
    pub fn tsv(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Self { delimiter: b'\t', quoting: false, encoding: Encoding::Utf8, columns }
    }
}

/// Rows of a CSV or TSV file.
#[derive(Debug)]
pub struct Delimited {
    file: TextFile,
    dialect: Dialect,
    /// Records before the first row: the header.
    skipped: usize,
}

impl Delimited {
    /// Finds the records of a file.
    pub fn open(file: impl Into<Place>, mut dialect: Dialect) -> Result<Self, DataError> {
        let place = file.into();
        let path = place.path().to_path_buf();
        let file = TextFile::index(place, RecordScan::new(dialect.delimiter, dialect.quoting))?;
        let skipped = usize::from(dialect.columns.is_empty());
        if dialect.columns.is_empty() {
            let refuse = |detail| DataError::Rows { path: path.clone(), detail };
            if file.len() == 0 {
                return Err(refuse("has no header".to_owned()));
            }
            let header = file.read(0).and_then(|bytes| values(&bytes, &dialect));
            dialect.columns = header.map_err(|reject| refuse(format!("its header: {}", reject.detail)))?;
        }
        Ok(Self { file, dialect, skipped })
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.dialect.columns
    }
}

/// The values of one record.
fn values(bytes: &[u8], dialect: &Dialect) -> Result<Vec<String>, Reject> {
    let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    fields(line, dialect.delimiter, dialect.quoting).map(|value| decode(&value, dialect.encoding)).collect()
}

fn decode(bytes: &[u8], encoding: Encoding) -> Result<String, Reject> {
    match encoding {
        Encoding::Utf8 => match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(Reject::new("text_not_utf8", error.to_string())),
        },
        Encoding::Latin1 => Ok(bytes.iter().copied().map(char::from).collect()),
    }
}

impl Rows for Delimited {
    fn len(&self) -> usize {
        self.file.len() - self.skipped
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        let values = values(&self.file.read(index + self.skipped)?, &self.dialect)?;
        let columns = &self.dialect.columns;
        if values.len() != columns.len() {
            let detail = format!("{} values in {} columns", values.len(), columns.len());
            return Err(Reject::new("bad_csv", detail));
        }
        Ok(Cell::Struct(columns.iter().cloned().zip(values.into_iter().map(Cell::Text)).collect()))
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        RowPlace { file: self.file.name(), row: index }
    }

    fn fingerprint(&self) -> &str {
        self.file.fingerprint()
    }

    fn problems(&self) -> &[ShardProblem] {
        self.file.problems()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(content: &[u8], dialect: Dialect) -> Result<Delimited, DataError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rows.csv");
        fs_err::write(&path, content).expect("written");
        Delimited::open(&path, dialect)
    }

    fn texts(row: &Cell) -> Vec<&str> {
        row.fields().iter().map(|(_, value)| value.as_str().expect("text")).collect()
    }

    #[test]
    fn quotes_hold_commas_line_breaks_and_quotes_and_blanks_stay() {
        let content =
            b"file_name,caption_1\r\n\" Ambience &amp; Birds.wav\",\"a, \"\"b\"\"\nc\"\n\r\n\nx .wav ,say \"hi\"\n";
        let rows = open(content, Dialect::csv()).expect("rows");
        assert_eq!(rows.columns(), ["file_name", "caption_1"]);
        assert_eq!(rows.len(), 2);
        assert_eq!(texts(&rows.row(0).expect("a row")), [" Ambience &amp; Birds.wav", "a, \"b\"\nc"]);
        assert_eq!(texts(&rows.row(1).expect("a row")), ["x .wav ", "say \"hi\""]);
        assert_eq!(rows.place(1), RowPlace { file: "rows.csv", row: 1 });
    }

    #[test]
    fn without_quoting_a_quote_is_a_character() {
        let content = "\"quoted\" to the end\thttp://a\nna\u{ef}ve \"\thttp://b\nonly\n";
        let rows = open(content.as_bytes(), Dialect::tsv(&["caption", "url"])).expect("rows");
        assert_eq!(texts(&rows.row(0).expect("a row")), ["\"quoted\" to the end", "http://a"]);
        assert_eq!(texts(&rows.row(1).expect("a row")), ["na\u{ef}ve \"", "http://b"]);
        let reject = rows.row(2).expect_err("rejected");
        assert_eq!((reject.reason, reject.detail.as_str()), ("bad_csv", "1 values in 2 columns"));
    }

    #[test]
    fn bytes_of_another_encoding_cost_a_row_unless_they_are_asked_for() {
        let content = b"name,by\na,Andr\xe9\nb,c\n";
        let rows = open(content, Dialect::csv()).expect("rows");
        assert_eq!(rows.row(0).expect_err("rejected").reason, "text_not_utf8");
        assert!(rows.row(1).is_ok());
        let rows = open(content, Dialect { encoding: Encoding::Latin1, ..Dialect::csv() }).expect("rows");
        assert_eq!(texts(&rows.row(0).expect("a row")), ["a", "André"]);
    }

    #[test]
    fn a_quote_that_does_not_end_keeps_the_rows_before_it() {
        let rows = open(b"a,b\n1,2\n3,\"4\n5,6\n", Dialect::csv()).expect("rows");
        assert_eq!((rows.len(), rows.problems()[0].reason), (1, "rows_cut_short"));
        assert!(open(b"", Dialect::csv()).is_err());
        assert!(open(b"\"a", Dialect::csv()).is_err());
    }

    #[test]
    fn records_are_those_that_the_csv_crate_finds() {
        let mut state = 1_u64;
        for _ in 0..2000 {
            let content: Vec<u8> = (0..24)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"ab,\"\"\n"[(state >> 33) as usize % 6]
                })
                .collect();
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .terminator(csv::Terminator::Any(b'\n'))
                .from_reader(&content[..]);
            let expected: Vec<Vec<String>> =
                reader.records().map(|record| record.expect("text").iter().map(str::to_owned).collect()).collect();
            let dialect = Dialect { columns: vec!["x".into()], ..Dialect::csv() };
            let Ok(rows) = open(&content, dialect.clone()) else {
                assert!(expected.is_empty(), "{content:?}");
                continue;
            };
            let found: Vec<_> =
                (0..rows.len()).map(|i| values(&rows.file.read(i).expect("bytes"), &dialect).expect("text")).collect();
            let complete = expected.len() - rows.problems().len();
            assert_eq!(found, expected[..complete], "{:?}", String::from_utf8_lossy(&content));
        }
    }
}
