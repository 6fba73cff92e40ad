//! Finds the elements of one array in a JSON file, however large, in one pass over its bytes.
//!
//! Only brackets, strings and the commas between elements are looked at; an element is parsed when it is
//! asked for. So a row that is no JSON costs that row, as long as its end can be seen: a string with a line
//! break in it, which JSON does not allow, has lost its closing quote, and the row ends there.

use memchr::memchr3;

use super::text_file::{Extents, Found, Scan};
use crate::sample::Reject;

/// Longest key that is compared with the path.
const MAX_KEY_BYTES: usize = 256;
/// Keys that a message lists.
const MAX_LISTED: usize = 8;

/// A scan for the array under a path of keys; with no keys, for a file that is an array.
pub(crate) struct ArrayScan<'a> {
    path: &'a [&'a str],
    /// Offset of the next byte.
    at: u64,
    /// Open brackets.
    depth: u32,
    string: Quote,
    /// The last byte outside strings that is no blank; the quote of a string stands for it.
    last: u8,
    place: Place,
    /// How many keys of the path have been gone down; the object at depth `level + 1` is searched.
    level: usize,
    /// The last string of the object that is searched, without its quotes.
    key: Vec<u8>,
    /// Keys of the outermost object, for the message that the path is not among them.
    seen: Vec<String>,
    /// Start of the element that is gone through.
    element: Option<u64>,
    /// Depth right inside the array.
    inside: u32,
    extents: Extents,
    fault: Option<Reject>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    Outside,
    Inside,
    Escaped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the array.
    Before,
    /// In the array.
    Rows,
    /// Behind it.
    Behind,
    /// What comes is not looked at.
    Lost,
}

impl<'a> ArrayScan<'a> {
    pub(crate) fn new(path: &'a [&'a str]) -> Self {
        Self {
            path,
            at: 0,
            depth: 0,
            string: Quote::Outside,
            last: 0,
            place: Place::Before,
            level: 0,
            key: Vec::new(),
            seen: Vec::new(),
            element: None,
            inside: 0,
            extents: Extents::default(),
            fault: None,
        }
    }

    /// The first keys of the outermost object, once the file has been fed.
    pub(crate) fn into_keys(self) -> Vec<String> {
        self.seen
    }

    /// Goes on to the end of a string; returns how many bytes were gone over.
    fn string(&mut self, bytes: &[u8]) -> usize {
        if self.string == Quote::Escaped {
            self.note_key(&bytes[..1]);
            self.string = Quote::Inside;
            return 1;
        }
        let Some(end) = memchr3(b'"', b'\\', b'\n', bytes) else {
            self.note_key(bytes);
            return bytes.len();
        };
        self.note_key(&bytes[..end]);
        match bytes[end] {
            b'"' => self.string = Quote::Outside,
            b'\\' => {
                self.note_key(b"\\");
                self.string = Quote::Escaped;
            }
            _ => self.broken_string(self.at + end as u64),
        }
        end + 1
    }

    /// A line break in a string: in a row, the row ends here.
    fn broken_string(&mut self, at: u64) {
        if self.place == Place::Rows {
            self.string = Quote::Outside;
            self.depth = self.inside;
            self.close(at);
        }
    }

    fn note_key(&mut self, bytes: &[u8]) {
        if self.searching() && self.key.len() + bytes.len() <= MAX_KEY_BYTES {
            self.key.extend_from_slice(bytes);
        }
    }

    /// Whether the keys at this depth may be of the path.
    fn searching(&self) -> bool {
        self.place == Place::Before && self.depth as usize == self.level + 1
    }

    /// One byte outside strings.
    fn outside(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() {
            return;
        }
        match self.place {
            Place::Rows => self.row_byte(byte),
            Place::Before | Place::Behind => self.frame_byte(byte),
            Place::Lost => {}
        }
        self.last = byte;
    }

    fn row_byte(&mut self, byte: u8) {
        if self.depth == self.inside {
            match byte {
                b',' => return self.close(self.at),
                b']' => {
                    if self.element.is_some() {
                        self.close(self.at);
                    }
                    self.depth -= 1;
                    self.place = Place::Behind;
                    return;
                }
                _ => {}
            }
            self.element.get_or_insert(self.at);
        }
        match byte {
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' if self.depth > self.inside => self.depth -= 1,
            b'"' => self.string = Quote::Inside,
            _ => {}
        }
    }

    /// Ends an element; between two commas there may be none, which is a row that does not parse.
    fn close(&mut self, end: u64) {
        let start = self.element.take().unwrap_or(end);
        self.extents.push(start, end);
    }

    /// A byte around the array.
    fn frame_byte(&mut self, byte: u8) {
        match byte {
            _ if self.depth == 0 && self.last != 0 => self.data_behind(),
            b'"' => {
                if self.searching() {
                    self.key.clear();
                }
                self.string = Quote::Inside;
            }
            b':' => self.list_key(),
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.leave(),
            _ if self.depth == 0 => self.place = Place::Lost,
            _ => {}
        }
    }

    fn data_behind(&mut self) {
        if self.place == Place::Behind {
            let detail = format!("what comes from byte {} on, behind the end of the JSON, is not read", self.at);
            self.fault = Some(Reject::new("rows_data_after_end", detail));
        }
        self.place = Place::Lost;
    }

    fn list_key(&mut self) {
        if self.depth == 1 && self.level == 0 && self.seen.len() < MAX_LISTED && self.searching() {
            self.seen.push(String::from_utf8_lossy(&self.key).into_owned());
        }
    }

    fn open(&mut self, byte: u8) {
        let is_next = self.searching()
            && self.last == b':'
            && self.path.get(self.level).is_some_and(|key| key.as_bytes() == self.key);
        let is_last = self.level + 1 == self.path.len();
        let is_whole = self.depth == 0 && self.path.is_empty();
        self.depth = self.depth.saturating_add(1);
        if byte == b'[' && (is_whole || is_next && is_last) && self.place == Place::Before {
            self.place = Place::Rows;
            self.inside = self.depth;
        } else if byte == b'{' && is_next && !is_last {
            self.level += 1;
        }
    }

    fn leave(&mut self) {
        if self.searching() && self.level > 0 {
            self.level -= 1;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// At the end of a file that ends inside its array or behind it.
    fn cut(&mut self) {
        if self.place == Place::Rows {
            let whole = self.depth == self.inside && self.string == Quote::Outside;
            if whole && self.element.is_some() && matches!(self.last, b'}' | b']' | b'"') {
                self.close(self.at);
            }
        }
        if self.depth > 0 {
            let row = self.extents.len();
            let detail = match self.element {
                Some(start) => format!("breaks off at byte {} inside row {row}, which begins at byte {start}", self.at),
                None => format!("breaks off at byte {} behind {row} rows", self.at),
            };
            self.fault = Some(Reject::new("rows_cut_short", detail));
        }
    }

    /// Why there are no rows.
    fn nothing_found(&self) -> String {
        let wanted = self.path.join(".");
        match (self.seen.is_empty(), self.path.is_empty()) {
            _ if self.at == 0 => "is an empty file".to_owned(),
            (true, true) => "is no JSON array".to_owned(),
            (true, false) => format!("is no JSON object with an array `{wanted}`"),
            (false, true) => format!("is an object, not an array of rows; its keys are `{}`", self.seen.join("`, `")),
            (false, false) => {
                format!("has no array `{wanted}`; its keys are `{}`", self.seen.join("`, `"))
            }
        }
    }
}

impl Scan for ArrayScan<'_> {
    fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        if self.at == 0 {
            rest = rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest);
            self.at = (piece.len() - rest.len()) as u64;
        }
        while let Some(&byte) = rest.first() {
            let n = if self.string == Quote::Outside {
                self.outside(byte);
                1
            } else {
                self.string(rest)
            };
            self.at += n as u64;
            rest = &rest[n..];
        }
    }

    fn finish(mut self) -> Result<Found, String> {
        if matches!(self.place, Place::Rows | Place::Behind) {
            self.cut();
        } else if self.fault.is_none() {
            return Err(self.nothing_found());
        }
        Ok(Found { extents: self.extents, fault: self.fault })
    }

    fn rows(&self) -> usize {
        self.extents.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements of `json`, scanned in pieces of so many bytes, and the fault.
    fn scan(json: &str, path: &[&str], piece: usize) -> Result<(Vec<String>, Option<Reject>), String> {
        let mut scan = ArrayScan::new(path);
        json.as_bytes().chunks(piece).for_each(|piece| scan.feed(piece));
        let Found { extents, fault } = scan.finish()?;
        let element = |index: usize| {
            let (start, len) = extents.get(index);
            json[start as usize..start as usize + len as usize].trim_end().to_owned()
        };
        Ok(((0..extents.len()).map(element).collect(), fault))
    }

    #[track_caller]
    fn check(json: &str, path: &[&str], expected: &[&str], reason: Option<&str>) {
        for piece in [1024, 7] {
            let (rows, fault) = scan(json, path, piece).expect("rows");
            assert_eq!(rows, expected, "in pieces of {piece}");
            assert_eq!(fault.map(|fault| fault.reason), reason);
        }
    }

    #[test]
    fn elements_are_found_on_one_line_and_on_many() {
        check(r#"[{"a":1},{"b":[2,{"c":3}]}]"#, &[], &[r#"{"a":1}"#, r#"{"b":[2,{"c":3}]}"#], None);
        check("\u{feff} [\n  {\n    \"a\": 1\n  } ,\n  2\n]\n", &[], &["{\n    \"a\": 1\n  }", "2"], None);
        check("[]", &[], &[], None);
    }

    #[test]
    fn brackets_commas_and_quotes_in_strings_are_words() {
        check(r#"[{"a":"]},{\"[\\"},"x,y"]"#, &[], &[r#"{"a":"]},{\"[\\"}"#, r#""x,y""#], None);
    }

    #[test]
    fn arrays_are_found_under_their_keys_wherever_those_stand() {
        let json = r#"{"n":1,"data2":[9],"x":{"data":[8]},"s":"data","data":[{"a":1},{"b":2}],"end":[7]}"#;
        check(json, &["data"], &[r#"{"a":1}"#, r#"{"b":2}"#], None);
        check(r#"{"a":{"b":1},"c":{"a":[0]},"a":{"b":[1,2]}}"#, &["a", "b"], &["1", "2"], None);
    }

    #[test]
    fn what_has_no_such_array_says_what_it_has() {
        let message = |json: &str, path: &[&str]| scan(json, path, 1024).expect_err("no rows");
        let json = r#"{"info":{"x":[1]},"rows":{"data":[2]}}"#;
        assert_eq!(message(json, &["data"]), "has no array `data`; its keys are `info`, `rows`");
        assert_eq!(message(json, &[]), "is an object, not an array of rows; its keys are `info`, `rows`");
        assert_eq!(message("<!DOCTYPE html>", &[]), "is no JSON array");
        assert_eq!(message("[1]", &["data"]), "is no JSON object with an array `data`");
        assert_eq!(message("", &[]), "is an empty file");
    }

    #[test]
    fn a_row_that_is_no_json_costs_that_row() {
        check(r#"[{"a":nul},,{"b":2}}, 3]"#, &[], &[r#"{"a":nul}"#, "", r#"{"b":2}}"#, "3"], None);
        check("[\n{\"a\":\"no end},\n{\"b\":2},\n3]", &[], &["{\"a\":\"no end},", r#"{"b":2}"#, "3"], None);
    }

    #[test]
    fn an_array_that_breaks_off_keeps_its_complete_rows() {
        let whole = r#"[{"a":"x"},{"b":[2,3]}]"#;
        for len in 1..whole.len() {
            let complete = [10, 22].iter().filter(|&&end| end <= len).count();
            let (rows, fault) = scan(&whole[..len], &[], 1024).expect("rows");
            assert_eq!(rows.len(), complete, "{}", &whole[..len]);
            assert_eq!(fault.expect("a fault").reason, "rows_cut_short");
        }
        check(r#"{"data":[1,2]"#, &["data"], &["1", "2"], Some("rows_cut_short"));
    }

    #[test]
    fn what_comes_behind_the_end_is_named() {
        check("[1] [2]", &[], &["1"], Some("rows_data_after_end"));
        check(r#"{"data":[1]} x"#, &["data"], &["1"], Some("rows_data_after_end"));
    }

    #[test]
    fn brackets_without_end_are_no_trouble() {
        let (rows, fault) = scan(&"[".repeat(300_000), &[], 1024).expect("rows");
        assert_eq!((rows.len(), fault.map(|fault| fault.reason)), (0, Some("rows_cut_short")));
    }
}
