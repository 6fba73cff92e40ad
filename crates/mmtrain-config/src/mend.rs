//! A stand-in for what is missing or wrong, so that one mistake does not hide the next: only ever used to find more mistakes.

use std::collections::BTreeSet;

use crate::shape::{Field, Shape, TAG, Table, join};
use crate::tree::{Entries, Entry, Node, Origin};

/// `entry` without the keys in `wrong`: optional ones are left out, others get their default or some value of the right shape.
pub(crate) fn mended(entry: Option<&Entry>, shape: &Shape, path: &str, wrong: &BTreeSet<String>) -> Entry {
    let entry = entry.filter(|_| !wrong.contains(path) || shape.table(None).is_some());
    let entries = entry.and_then(Entry::entries);
    let node = match shape {
        Shape::Table(table) => mended_table(entries, table, path, wrong),
        Shape::Kinds(kinds) => {
            let kind = entries.and_then(|entries| entries.get(TAG)).and_then(Entry::text);
            match kinds.iter().find(|(name, _)| Some(name.as_str()) == kind) {
                Some((_, table)) => mended_table(entries, table, path, wrong),
                None => mended_table(None, &kinds[0].1, path, wrong),
            }
        }
        Shape::List(item) => Node::List(match entry.map(|entry| &entry.node) {
            Some(Node::List(items)) => {
                let item = |(index, entry)| mended(Some(entry), item, &join(path, &format!("{index}")), wrong);
                items.iter().enumerate().map(item).collect()
            }
            _ => Vec::new(),
        }),
        Shape::Keyed { words, .. } if entry.is_none() || wrong.iter().any(|key| key.starts_with(path)) => {
            Node::Text(words[0].clone())
        }
        shape => entry.map_or_else(|| some_value(shape), |entry| entry.node.clone()),
    };
    Entry { node, origin: Origin::Default }
}

fn mended_table(entries: Option<&Entries>, table: &Table, path: &str, wrong: &BTreeSet<String>) -> Node {
    let mut mended_entries = Entries::new();
    for field in &table.fields {
        let path = join(path, &field.name);
        if let Some(entry) = mended_field(entries.and_then(|entries| entries.get(&field.name)), field, &path, wrong) {
            mended_entries.insert(field.name.clone(), entry);
        }
    }
    Node::Table(mended_entries)
}

fn mended_field(entry: Option<&Entry>, field: &Field, path: &str, wrong: &BTreeSet<String>) -> Option<Entry> {
    let right = entry.filter(|_| !wrong.contains(path) || field.shape.table(None).is_some());
    match (right, &field.default) {
        (Some(entry), _) => Some(mended(Some(entry), &field.shape, path, wrong)),
        (None, Some(default)) => entry.map(|_| Entry::from_json(default, &Origin::Default)),
        (None, None) => field.required.then(|| mended(None, &field.shape, path, wrong)),
    }
}

/// Some value that the shape allows.
fn some_value(shape: &Shape) -> Node {
    match shape {
        Shape::Integer { min, max } => Node::Integer(1.clamp(*min, *max)),
        Shape::Number(bounds) => {
            let mut candidates = [1.0, 0.5, 0.0].into_iter();
            Node::Float(candidates.find(|value| bounds.contain(*value)).unwrap_or(1.0))
        }
        Shape::Choice(words) | Shape::Keyed { words, .. } => Node::Text(words[0].clone()),
        Shape::Flag => Node::Flag(false),
        Shape::Text | Shape::List(_) | Shape::Table(_) | Shape::Kinds(_) => Node::Text("?".to_owned()),
    }
}
