//! A configuration as written: a tree of values, each with the place it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use toml::de::{DeArray, DeTable, DeValue};

use crate::ConfigIssue;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A preset inside the program.
    Preset {
        /// Its name.
        name: Arc<str>,
        /// The line of the key, from 1.
        line: usize,
    },
    /// A file.
    File {
        /// The path as the user gave it or as it was found.
        path: Arc<str>,
        /// The line of the key, from 1.
        line: usize,
    },
    /// `--set key=value` on the command line.
    Set,
    /// `--data NAME|DIR` on the command line.
    Data,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset { name, .. } => write!(f, "preset {name}"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Set => f.write_str("--set"),
            Self::Data => f.write_str("--data"),
        }
    }
}

impl Origin {
    /// File and line for a message; `None` for a default.
    pub(crate) fn place(&self) -> Option<(String, Option<usize>)> {
        match self {
            Self::Default => None,
            Self::Preset { line, .. } => Some((self.to_string(), Some(*line))),
            Self::File { path, line } => Some((path.to_string(), Some(*line))),
            Self::Set | Self::Data => Some((self.to_string(), None)),
        }
    }

    fn at_line(&self, line: usize) -> Self {
        match self.clone() {
            Self::Preset { name, .. } => Self::Preset { name, line },
            Self::File { path, .. } => Self::File { path, line },
            other => other,
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    pub(crate) origin: Origin,
}

/// The entries of a table.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    /// Legal TOML that no key takes: a date, or an integer beyond 64 bits. Holds a description.
    Odd(String),
    List(Vec<Entry>),
    Table(Entries),
    /// In a layer: the place in a list that the layer changes (`--set data.sources.0.path=…`).
    Item(usize, Box<Entry>),
    /// In a merged tree: `Item` beyond the end of a list of `len` items.
    Beyond {
        index: usize,
        len: usize,
    },
}

impl Entry {
    /// A table without entries.
    pub(crate) fn empty(origin: Origin) -> Self {
        Self { node: Node::Table(Entries::new()), origin }
    }

    /// A table with one entry, or the place in a list if `name` is a number.
    pub(crate) fn nested(name: &str, inner: Entry) -> Self {
        let origin = inner.origin.clone();
        let node = match name.parse() {
            Ok(index) => Node::Item(index, Box::new(inner)),
            Err(_) => Node::Table([(name.to_owned(), inner)].into()),
        };
        Self { node, origin }
    }

    /// A default, as the schema states it.
    pub(crate) fn from_json(value: &Value, origin: &Origin) -> Self {
        let node = match value {
            Value::String(text) => Node::Text(text.clone()),
            Value::Bool(flag) => Node::Flag(*flag),
            Value::Number(number) => {
                number.as_i64().map_or_else(|| Node::Float(number.as_f64().unwrap_or(f64::NAN)), Node::Integer)
            }
            Value::Array(items) => Node::List(items.iter().map(|item| Self::from_json(item, origin)).collect()),
            Value::Object(map) => {
                Node::Table(map.iter().map(|(key, value)| (key.clone(), Self::from_json(value, origin))).collect())
            }
            Value::Null => Node::Odd("nothing".to_owned()),
        };
        Self { node, origin: origin.clone() }
    }

    /// The value for serde; numbers that JSON does not have become null.
    pub(crate) fn to_json(&self) -> Value {
        match &self.node {
            Node::Text(text) => Value::String(text.clone()),
            Node::Integer(value) => Value::from(*value),
            Node::Float(value) => Value::from(*value),
            Node::Flag(value) => Value::Bool(*value),
            Node::List(items) => items.iter().map(Self::to_json).collect(),
            Node::Table(entries) => entries.iter().map(|(key, entry)| (key.clone(), entry.to_json())).collect(),
            Node::Odd(_) | Node::Item(..) | Node::Beyond { .. } => Value::Null,
        }
    }

    /// The entries, if it is a table.
    pub(crate) fn entries(&self) -> Option<&Entries> {
        match &self.node {
            Node::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entry `name` of a table, or of a list if `name` is a number.
    pub(crate) fn child(&self, name: &str) -> Option<&Entry> {
        match &self.node {
            Node::Table(entries) => entries.get(name),
            Node::List(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The entry at a dotted path.
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        path.split('.').try_fold(self, |entry, name| entry.child(name))
    }

    /// Takes the key `name` out of the table `table`.
    pub(crate) fn remove(&mut self, table: &str, name: &str) {
        if let Node::Table(entries) = &mut self.node
            && let Some(Node::Table(inner)) = entries.get_mut(table).map(|entry| &mut entry.node)
        {
            inner.remove(name);
        }
    }

    /// The place of the value at `path`, or of the nearest table around it; the file alone if that is the whole file.
    pub(crate) fn place(&self, path: &str) -> Option<(String, Option<usize>)> {
        let mut at = self;
        let mut found = self.origin.place().map(|(file, _)| (file, None));
        for name in path.split('.').filter(|name| !name.is_empty()) {
            let Some(next) = at.child(name) else { break };
            found = next.origin.place().or(found);
            at = next;
        }
        found
    }
}

/// Parses TOML text; `origin` says which file it is, lines are filled in. All syntax errors at once.
pub(crate) fn parse(text: &str, origin: &Origin) -> Result<Entry, Vec<ConfigIssue>> {
    let breaks = line_breaks(text);
    if let Some(at) = deep_key(text) {
        let message = format!("a key of more than {MAX_KEY_PARTS} parts");
        return Err(vec![syntax_issue(origin, &message, Some(line_of(&breaks, at)))]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let lines = Lines { breaks: &breaks, origin };
        return Ok(Entry { node: lines.table(table.get_ref()), origin: origin.at_line(1) });
    }
    let mut issues: Vec<_> = errors
        .iter()
        .map(|error| syntax_issue(origin, error.message(), error.span().map(|span| line_of(&breaks, span.start))))
        .collect();
    issues.sort_by_key(|issue| issue.line);
    Err(issues)
}

fn syntax_issue(origin: &Origin, message: &str, line: Option<usize>) -> ConfigIssue {
    let issue = ConfigIssue { line, ..ConfigIssue::new(format!("not valid TOML: {message}")) };
    match origin.place() {
        Some((file, _)) => issue.in_file(file),
        None => issue,
    }
}

/// Most parts of a dotted key: each is a table in a table, which whoever walks over them has to have room for.
const MAX_KEY_PARTS: usize = 256;

/// Where a key of more parts stands. What looks like one in a text of several lines is taken for one.
fn deep_key(text: &str) -> Option<usize> {
    let (mut dots, mut quote) = (0, None);
    text.bytes().enumerate().find_map(|(at, byte)| {
        let goes_on = byte.is_ascii_alphanumeric() || b"_- \t".contains(&byte);
        match (quote, byte) {
            (_, b'\n') => (dots, quote) = (0, None),
            (Some(open), _) => quote = Some(open).filter(|&open| open != byte),
            (None, b'"' | b'\'') => quote = Some(byte),
            // A comment ends with its line.
            (None, b'#') => quote = Some(b'\n'),
            (None, b'.') => dots += 1,
            (None, _) => dots = if goes_on { dots } else { 0 },
        }
        (dots >= MAX_KEY_PARTS).then_some(at)
    })
}

/// Parses one TOML value, such as the right side of `--set`.
pub(crate) fn parse_value(text: &str, origin: &Origin) -> Result<Entry, String> {
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    Ok(Entry { node: Lines { breaks: &line_breaks(text), origin }.value(value.get_ref()), origin: origin.clone() })
}

/// Where lines end.
fn line_breaks(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

/// Line of a place, from 1.
fn line_of(breaks: &[usize], at: usize) -> usize {
    1 + breaks.partition_point(|&end| end < at)
}

/// Converts parsed TOML, turning byte offsets into lines.
struct Lines<'a> {
    breaks: &'a [usize],
    origin: &'a Origin,
}

impl Lines<'_> {
    fn entry(&self, value: &DeValue<'_>, span: &Range<usize>) -> Entry {
        Entry { node: self.value(value), origin: self.origin.at_line(line_of(self.breaks, span.start)) }
    }

    fn table(&self, table: &DeTable<'_>) -> Node {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            (name.to_string(), self.entry(value.get_ref(), &key.span()))
        };
        Node::Table(table.iter().map(entry).collect())
    }

    fn list(&self, items: &DeArray<'_>) -> Node {
        Node::List(items.iter().map(|item| self.entry(item.get_ref(), &item.span())).collect())
    }

    fn value(&self, value: &DeValue<'_>) -> Node {
        match value {
            DeValue::String(text) => Node::Text(text.to_string()),
            DeValue::Boolean(flag) => Node::Flag(*flag),
            DeValue::Datetime(date) => Node::Odd(format!("the date {date}")),
            DeValue::Array(items) => self.list(items),
            DeValue::Table(table) => self.table(table),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Node::Odd(format!("{number}, which is beyond 64 bits")), Node::Integer),
            DeValue::Float(number) => {
                number.as_str().parse().map_or_else(|_| Node::Odd(format!("the number {number}")), Node::Float)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(line: usize) -> Origin {
        Origin::File { path: "x.toml".into(), line }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "a.b = 1\n[c]\nd = [\n 1,\n 2,\n]\n[[e]]\n\nf = { g = 0x1_0 }\n";
        let tree = parse(text, &file(0)).expect("valid");
        let line = |path: &str| tree.get(path).map(|entry| entry.origin.clone());
        assert_eq!(line("a.b"), Some(file(1)));
        assert_eq!(line("c.d"), Some(file(3)));
        assert_eq!(line("c.d.1"), Some(file(5)));
        assert_eq!(line("e.0.f.g"), Some(file(9)));
        assert_eq!(tree.get("e.0.f.g").map(|entry| entry.node.clone()), Some(Node::Integer(16)));
        assert_eq!(tree.place("c.nothing.there"), Some(("x.toml".to_owned(), Some(2))));
        assert_eq!(tree.place("nothing"), Some(("x.toml".to_owned(), None)));
    }

    #[test]
    fn syntax_errors_are_all_reported_with_their_lines() {
        let issues = parse("a = \nb = 1\nc = [1\nd = \"x\n", &file(0)).expect_err("three errors");
        let lines: Vec<_> = issues.iter().map(|issue| issue.line).collect();
        assert!(lines.contains(&Some(1)) && lines.iter().any(|line| *line > Some(2)), "{issues:?}");
        assert!(issues[0].to_string().starts_with("x.toml:1: not valid TOML: "), "{}", issues[0]);
    }

    #[test]
    fn keys_without_end_are_refused_with_their_line() {
        for text in
            [format!("a = 1\n{}b = 2", "a.".repeat(50_000)), format!("a = 1\nb = {{ {}b = 2 }}", "a . ".repeat(50_000))]
        {
            let issues = parse(&text, &file(0)).expect_err("refused");
            assert_eq!(
                issues[0].to_string().lines().next(),
                Some("x.toml:2: not valid TOML: a key of more than 256 parts")
            );
        }
        for text in [format!("a = \"{}\"", ".".repeat(1000)), format!("# it's\n#{}\na = 1.5", ".".repeat(1000))] {
            assert!(parse(&text, &file(0)).is_ok(), "{text}");
        }
    }

    #[test]
    fn many_mistakes_take_no_longer_than_their_number() {
        let started = std::time::Instant::now();
        let issues = parse(&"a = \n".repeat(20_000), &file(0)).expect_err("mistakes");
        assert!(issues.len() > 10_000 && started.elapsed().as_secs_f32() < 5.0, "{:?}", started.elapsed());
    }

    #[test]
    fn numbers_beyond_64_bits_and_dates_are_kept_as_what_they_are() {
        let tree = parse("a = 99999999999999999999\nb = 2024-01-02", &file(0)).expect("valid");
        assert_eq!(
            tree.get("a").map(|entry| entry.node.clone()),
            Some(Node::Odd("99999999999999999999, which is beyond 64 bits".to_owned()))
        );
        assert_eq!(tree.get("b").map(|entry| entry.node.clone()), Some(Node::Odd("the date 2024-01-02".to_owned())));
    }
}
