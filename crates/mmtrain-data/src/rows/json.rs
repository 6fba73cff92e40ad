//! Rows of JSON: the elements of an array, or one value a line.

use super::array_scan::ArrayScan;
use super::line_scan::LineScan;
use super::text_file::{Scan, TextFile, read_text};
use super::{RowPlace, Rows};
use crate::cell::Cell;
use crate::sample::Reject;
use crate::source::ShardProblem;
use crate::{DataError, Place, reading};

/// Bytes that are looked at to tell one kind of JSON file from another.
const HEAD_BYTES: usize = 64 << 10;

/// Rows of a JSON file.
#[derive(Debug)]
pub struct Json(TextFile);

impl Json {
    /// The elements of the array under the keys `path`; with no keys, of a file that is an array.
    ///
    /// The file may have any size and be on one line. In memory are 12 bytes a row.
    pub fn array(file: impl Into<Place>, path: &[&str]) -> Result<Self, DataError> {
        Ok(Self(TextFile::index(file.into(), ArrayScan::new(path))?))
    }

    /// The lines of a file, without blank ones.
    pub fn lines(file: impl Into<Place>) -> Result<Self, DataError> {
        Ok(Self(TextFile::index(file.into(), LineScan::new())?))
    }

    /// Whichever of both the file is, whatever its name says: POPE's `.json` files have a value a line.
    /// An object whose rows lie under keys is asked for by `path`.
    pub fn open(file: impl Into<Place>, path: &[&str]) -> Result<Self, DataError> {
        let file = file.into();
        if path.is_empty() && !begins_with_array(&file)? { Self::lines(file) } else { Self::array(file, path) }
    }

    /// The first keys of a file that is one object; none of any other file.
    pub fn keys(file: impl Into<Place>) -> Result<Vec<String>, DataError> {
        let file = file.into();
        if begins_with_array(&file)? {
            return Ok(Vec::new());
        }
        let mut scan = ArrayScan::new(&[]);
        read_text(&file, file.open()?.as_ref(), |piece| scan.feed(piece))?;
        Ok(scan.into_keys())
    }
}

/// Whether the rows of a file are one array, which is then not one value a line.
fn begins_with_array(file: &Place) -> Result<bool, DataError> {
    let head = reading::head(file.open_file()?.as_ref(), HEAD_BYTES)?;
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    Ok(head.trim_ascii_start().first().is_none_or(|&byte| byte == b'['))
}

impl Rows for Json {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        Cell::from_json(&self.0.read(index)?).map_err(|error| Reject::new("bad_json", error.to_string()))
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        RowPlace { file: self.0.name(), row: index }
    }

    fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    fn problems(&self) -> &[ShardProblem] {
        self.0.problems()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a file of that content, and its fingerprint.
    fn open(content: &str, path: &[&str]) -> Result<Json, DataError> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("rows.json");
        fs_err::write(&file, content).expect("written");
        Json::open(&file, path)
    }

    #[test]
    fn an_array_and_the_same_rows_as_lines_are_the_same_rows() {
        let array = open("[{\"a\": 1},\n {\"a\": \"é\"}, 7]", &[]).expect("rows");
        let lines = open("\u{feff}{\"a\": 1}\r\n\n{\"a\": \"é\"}\n7", &[]).expect("rows");
        assert_eq!((array.len(), lines.len()), (3, 3));
        for index in 0..3 {
            assert_eq!(array.row(index).expect("a row"), lines.row(index).expect("a row"));
        }
        assert_eq!(array.row(1).expect("a row").get("a").as_str(), Some("é"));
        assert_eq!(array.place(2), RowPlace { file: "rows.json", row: 2 });
    }

    #[test]
    fn one_bad_row_is_rejected_and_the_others_are_read() {
        for content in ["[{\"a\":1}, {\"a\":}, 3]", "{\"a\":1}\n{\"a\":}\n3\n"] {
            let rows = open(content, &[]).expect("rows");
            assert_eq!(rows.row(1).expect_err("rejected").reason, "bad_json");
            assert!(rows.row(0).is_ok() && rows.row(2).is_ok() && rows.problems().is_empty());
        }
        let deep = open(&format!("[{}1{}, 2]", "[".repeat(5000), "]".repeat(5000)), &[]).expect("rows");
        assert_eq!(deep.row(0).expect_err("rejected").reason, "bad_json");
        assert_eq!(deep.row(1).expect("a row").as_int(), Some(2));
    }

    #[test]
    fn a_cut_file_is_a_problem_and_a_file_of_something_else_an_error() {
        let cut = open("{\"data\": [{\"a\": 1}, {\"a\": 2", &["data"]).expect("rows");
        assert_eq!((cut.len(), cut.problems()[0].reason), (1, "rows_cut_short"));
        let error = open("<html>\n<body>", &[]).expect_err("no rows").to_string();
        assert!(error.ends_with("rows.json`: is neither an array nor has it a JSON value a line"), "{error}");
        let error = open("{\n  \"info\": 1\n}", &[]).expect_err("no rows").to_string();
        assert!(error.ends_with("a JSON value a line"), "{error}");
    }

    #[test]
    fn the_keys_of_an_object_are_told_before_its_rows_are_looked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = |content: &str| {
            let file = dir.path().join("rows.json");
            fs_err::write(&file, content).expect("written");
            Json::keys(&file).expect("read")
        };
        assert_eq!(
            keys("{\"info\": {\"x\": 1}, \"videos\": [{\"y\": 2}], \"sentences\": []}"),
            ["info", "videos", "sentences"]
        );
        assert!(keys("[{\"a\": 1}]").is_empty() && keys("<html>").is_empty());
    }

    #[test]
    fn the_fingerprint_is_that_of_the_content() {
        let print = |content: &str| open(content, &[]).expect("rows").fingerprint().to_owned();
        assert_eq!(print("[1]"), print("[1]"));
        assert_ne!(print("[1]"), print("[2]"));
    }

    #[test]
    fn a_row_beyond_all_bounds_is_rejected_unread() {
        let long = format!("[1, \"{}\", 2]", "x".repeat(65 << 20));
        let rows = open(&long, &[]).expect("rows");
        assert_eq!(rows.row(1).expect_err("rejected").reason, "row_too_large");
        assert_eq!(rows.row(2).expect("a row").as_int(), Some(2));
    }
}
