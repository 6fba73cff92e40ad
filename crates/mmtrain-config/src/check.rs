//! Compares a merged tree with the shape of a configuration: unknown keys, missing keys, wrong types, values out of range.

use std::collections::BTreeSet;

use crate::ConfigIssue;
use crate::hint;
use crate::shape::{Bounds, Field, Shape, TAG, Table, is_word, join};
use crate::tree::{Entries, Entry, Node, Origin};

/// The problems of a tree, and the keys they are at.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) issues: Vec<ConfigIssue>,
    pub(crate) keys: BTreeSet<String>,
}

/// Problems for which a name that is meant is looked for: beyond that nobody reads them, and looking takes time.
const HINTS: usize = 100;

/// Every place where `root` is not of the given shape.
pub(crate) fn check(root: &Entry, shape: &Shape) -> Findings {
    let mut checker = Checker { root, findings: Findings::default() };
    checker.entry(root, shape, "");
    checker.findings
}

struct Checker<'a> {
    root: &'a Entry,
    findings: Findings,
}

impl Checker<'_> {
    fn report(&mut self, key: &str, message: String, hint: Option<String>) {
        let (file, line) = self.root.place(key).map_or((None, None), |(file, line)| (Some(file), line));
        self.findings.keys.insert(key.to_owned());
        self.findings.issues.push(ConfigIssue { file, line, key: Some(key.to_owned()), message, hint });
    }

    fn entry(&mut self, entry: &Entry, shape: &Shape, path: &str) {
        match (&entry.node, shape) {
            (Node::Table(entries), Shape::Table(table)) => self.table(entries, (table, &[]), path),
            (Node::Table(entries), Shape::Kinds(kinds)) => self.kinds(entries, kinds, path),
            (Node::Table(entries), Shape::Keyed { tables, .. }) => self.keyed(entries, tables, path),
            (Node::List(items), Shape::List(item)) => {
                for (index, entry) in items.iter().enumerate() {
                    self.entry(entry, item, &join(path, &index.to_string()));
                }
            }
            (Node::Beyond { index, len }, Shape::List(_)) => {
                let last = len.checked_sub(1).map(|last| format!("the last one is `{path}.{last}`"));
                let last = last.unwrap_or_else(|| format!("`{path}` is empty"));
                let message = format!("`{path}.{index}` is not there: {last}");
                self.report(path, message, None);
            }
            _ => self.value(entry, shape, path),
        }
    }

    fn value(&mut self, entry: &Entry, shape: &Shape, path: &str) {
        if fits(&entry.node, shape) {
            return;
        }
        let hint = hint_for_value(entry, shape, path);
        let message = format!("`{path}` must be {}, found {}", expected(shape), found(&entry.node));
        self.report(path, message, hint);
    }

    /// `kinds` are all that the table might be, where there are several.
    fn table(&mut self, entries: &Entries, (table, kinds): (&Table, &[(String, Table)]), path: &str) {
        for name in entries.keys().filter(|name| table.field(name).is_none()) {
            let key = join(path, name);
            let near = || of_other_kinds(kinds, name, path).or_else(|| hint::for_unknown_key(path, name, table));
            let hint = if self.findings.issues.len() < HINTS { near() } else { None };
            self.report(&key, format!("unknown key `{key}`"), hint);
        }
        for field in &table.fields {
            self.field(entries, field, &join(path, &field.name));
        }
        for group in &table.groups {
            self.group(entries, &group.keys, group.required, path);
        }
    }

    fn field(&mut self, entries: &Entries, field: &Field, path: &str) {
        match (entries.get(&field.name), &field.shape) {
            (Some(entry), shape) => self.entry(entry, shape, path),
            (None, Shape::Table(table)) if field.required => self.table(&Entries::new(), (table, &[]), path),
            (None, shape) if field.required => {
                let hint = Some(format!("`{path}` must be {}", expected(shape)));
                self.report(path, format!("`{path}` is missing"), hint);
            }
            (None, _) => {}
        }
    }

    fn group(&mut self, entries: &Entries, keys: &[String], required: bool, path: &str) {
        let set: Vec<_> = keys.iter().filter(|key| entries.contains_key(*key)).collect();
        let paths: Vec<_> = keys.iter().map(|key| format!("`{}`", join(path, key))).collect();
        match set.as_slice() {
            [] if required => {
                let message = format!("one of {} is needed", hint::one_of(&paths));
                self.report(&join(path, &keys[0]), message, hint::for_nothing_set(path));
            }
            [first, _, ..] => {
                let hint = format!("keep one of {}", hint::one_of(&paths));
                self.report(&join(path, first), format!("{} exclude each other", paths.join(" and ")), Some(hint));
            }
            _ => {}
        }
    }

    fn kinds(&mut self, entries: &Entries, kinds: &[(String, Table)], path: &str) {
        let key = join(path, TAG);
        let names: Vec<_> = kinds.iter().map(|(name, _)| name.clone()).collect();
        let Some(kind) = entries.get(TAG) else {
            let hint = format!("`{key}` must be {}", expected(&Shape::Choice(names)));
            return self.report(&key, format!("`{key}` is missing"), Some(hint));
        };
        match kinds.iter().find(|(name, _)| kind.text() == Some(name)) {
            Some((_, table)) => self.table(entries, (table, kinds), path),
            None => self.value(kind, &Shape::Choice(names), &key),
        }
    }

    fn keyed(&mut self, entries: &Entries, tables: &Table, path: &str) {
        self.table(entries, (tables, &[]), path);
        let known: Vec<_> = entries.keys().filter(|name| tables.field(name).is_some()).collect();
        if known.len() != 1 && entries.len() == known.len() {
            let names: Vec<_> = tables.fields.iter().map(|field| format!("`{}`", field.name)).collect();
            let message =
                format!("`{path}` must have exactly one key: {}, found {}", hint::one_of(&names), known.len());
            self.report(path, message, None);
        }
    }
}

/// Says so where a key is right, but of another kind.
fn of_other_kinds(kinds: &[(String, Table)], name: &str, path: &str) -> Option<String> {
    let having = kinds.iter().filter(|(_, table)| table.field(name).is_some());
    let having = having.map(|(kind, _)| format!("\"{kind}\"")).collect::<Vec<_>>();
    (!having.is_empty()).then(|| format!("`{name}` goes with `{}` {}", join(path, TAG), hint::one_of(&having)))
}

/// Whether a single value is of the shape and in its range.
fn fits(node: &Node, shape: &Shape) -> bool {
    match (node, shape) {
        (Node::Text(_), Shape::Text) | (Node::Flag(_), Shape::Flag) => true,
        (Node::Text(word), Shape::Choice(words) | Shape::Keyed { words, .. }) => {
            words.iter().any(|known| is_word(known, word))
        }
        (Node::Integer(value), Shape::Integer { min, max }) => (*min..=*max).contains(value),
        (Node::Integer(value), Shape::Number(bounds)) => bounds.contain(*value as f64),
        (Node::Float(value), Shape::Number(bounds)) => bounds.contain(*value),
        _ => false,
    }
}

/// What may stand at a place, for a message: "`train.steps` must be …".
pub(crate) fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Table(_) => "a table".to_owned(),
        Shape::Kinds(_) => format!("a table with a `{TAG}`"),
        Shape::List(item) => format!("a list, each item {}", expected(item)),
        Shape::Choice(words) => quoted(words),
        Shape::Keyed { words, tables } => {
            let forms: Vec<_> =
                tables.fields.iter().map(|field| format!("{{ {} = {} }}", field.name, form(&field.shape))).collect();
            format!("{} or {}", quoted(words), hint::one_of(&forms))
        }
        Shape::Integer { min, max } => expected_integer(*min, *max),
        Shape::Number(bounds) => expected_number(bounds),
        Shape::Text => "a string".to_owned(),
        Shape::Flag => "true or false".to_owned(),
    }
}

fn quoted(words: &[String]) -> String {
    hint::one_of(&words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>())
}

/// The required keys of a table as one would write them: `{ lr = … }`.
fn form(shape: &Shape) -> String {
    let fields = shape.table(None).map(|table| table.fields.as_slice()).unwrap_or_default();
    let fields: Vec<_> =
        fields.iter().filter(|field| field.required).map(|field| format!("{} = …", field.name)).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn expected_integer(min: i64, max: i64) -> String {
    match (min, max) {
        (_, i64::MAX) => format!("an integer of at least {min}"),
        (min, max) if min == i64::from(i32::MIN) => format!("an integer of at most {max}"),
        (min, max) => format!("an integer from {min} to {max}"),
    }
}

fn expected_number(bounds: &Bounds) -> String {
    let low = bounds.min.map(|min| format!("at least {min}")).or(bounds.above.map(|above| format!("above {above}")));
    let high = bounds.max.map(|max| format!("at most {max}")).or(bounds.below.map(|below| format!("below {below}")));
    match (low, high) {
        (Some(low), Some(high)) => format!("a number that is {low} and {high}"),
        (Some(end), None) | (None, Some(end)) => format!("a finite number that is {end}"),
        (None, None) => "a finite number".to_owned(),
    }
}

fn found(node: &Node) -> String {
    match node {
        Node::Text(text) => format!("the string \"{text}\""),
        Node::Integer(value) => value.to_string(),
        Node::Float(value) => format!("{value:?}"),
        Node::Flag(value) => value.to_string(),
        Node::Odd(description) => description.clone(),
        Node::List(_) => "a list".to_owned(),
        Node::Table(_) => "a table".to_owned(),
        Node::Item(index, _) | Node::Beyond { index, .. } => format!("a list with an item {index}"),
    }
}

fn hint_for_value(entry: &Entry, shape: &Shape, path: &str) -> Option<String> {
    match (&entry.node, shape) {
        (Node::Text(word), Shape::Choice(words)) => {
            hint::nearest(word, words.iter().map(String::as_str)).map(|known| format!("did you mean \"{known}\"?"))
        }
        (Node::Text(word), Shape::Keyed { words, tables }) => hint_for_keyed(word, words, tables, path),
        (Node::Text(text), Shape::Integer { .. } | Shape::Number(_)) if text.parse::<f64>().is_ok() => {
            Some(format!("write it without quotes: {text}"))
        }
        (Node::Float(value), Shape::Integer { min, max }) if value.fract() == 0.0 => {
            let whole = *value as i64;
            (*min..=*max).contains(&whole).then(|| format!("write it as an integer: {whole}"))
        }
        (Node::Integer(_) | Node::Float(_) | Node::Flag(_) | Node::Odd(_), Shape::Text)
            if entry.origin == Origin::Set =>
        {
            Some(format!("quote it, also for the shell: --set '{path}=\"…\"'"))
        }
        (Node::Table(_), Shape::List(_)) => Some(format!("write [[{path}]], with double brackets, for each item")),
        _ => None,
    }
}

fn hint_for_keyed(word: &str, words: &[String], tables: &Table, path: &str) -> Option<String> {
    let names = tables.fields.iter().map(|field| field.name.as_str());
    let known = hint::nearest(word, words.iter().map(String::as_str).chain(names))?;
    match tables.field(known) {
        Some(field) => Some(format!("write `{path} = {{ {known} = {} }}`", form(&field.shape))),
        None => Some(format!("did you mean \"{known}\"?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::fill_defaults;
    use crate::shape;
    use crate::tree::parse;

    const GOOD: &str = "
[model]
encoder.weights = 'e'
decoder.weights = 'd'
[train]
steps = 1
global_batch_size = 2
micro_batch_size = 1
";

    #[track_caller]
    fn check_text(text: &str, expected: &str) {
        let origin = Origin::File { path: "x.toml".into(), line: 0 };
        let mut tree = parse(&format!("{text}\n{GOOD}"), &origin).expect("valid TOML");
        fill_defaults(&mut tree, shape::root());
        let lines: Vec<_> = check(&tree, shape::root()).issues.iter().map(ToString::to_string).collect();
        assert_eq!(lines.join("\n"), expected.trim());
    }

    #[test]
    fn a_right_file_has_no_issues() {
        check_text("", "");
    }

    #[test]
    fn wrong_types_name_place_key_and_both_sides() {
        check_text(
            "data.max_seq = '64'",
            "
x.toml:1: `data.max_seq` must be an integer from 2 to 16777216, found the string \"64\"
hint: write it without quotes: 64",
        );
        check_text(
            "data.max_seq = 1e3",
            "
x.toml:1: `data.max_seq` must be an integer from 2 to 16777216, found 1000.0
hint: write it as an integer: 1000",
        );
        check_text("data.shuffle = 1", "x.toml:1: `data.shuffle` must be true or false, found 1");
        check_text(
            "data.workers = 99999999999999999999",
            "x.toml:1: `data.workers` must be an integer from 0 to 4096, found 99999999999999999999, which is beyond 64 bits",
        );
        check_text("data.eval = ['a']", "x.toml:1: `data.eval` must be a table, found a list");
        check_text(
            "[data.sources]\nname = 'a'",
            "
x.toml:1: `data.sources` must be a list, each item a table, found a table
hint: write [[data.sources]], with double brackets, for each item",
        );
    }

    #[test]
    fn a_key_of_another_kind_is_answered_with_that_kind() {
        check_text(
            "objective = { kind = 'preference', reduction = 'answer' }",
            "
x.toml:1: unknown key `objective.reduction`
hint: `reduction` goes with `objective.kind` \"next_token\"",
        );
    }

    #[test]
    fn values_out_of_range_name_the_range() {
        check_text(
            "data.max_skip_ratio = 1.5",
            "x.toml:1: `data.max_skip_ratio` must be a number that is at least 0 and at most 1, found 1.5",
        );
        check_text(
            "data.sources = [{ name = 'a', weight = nan }]",
            "x.toml:1: `data.sources.0.weight` must be a finite number that is above 0, found NaN",
        );
        check_text(
            "data.sources = [{ name = 'a', weight = 0 }]",
            "x.toml:1: `data.sources.0.weight` must be a finite number that is above 0, found 0",
        );
    }
}
