//! Layers: what a later layer sets wins over an earlier one.
//!
//! Tables merge key by key, lists and single values are replaced. Two rules keep a merged tree meaningful:
//! - a layer that picks another variant (`kind = …`, `tuning = { … }`) starts that variant afresh;
//! - a layer that sets one of several keys that exclude each other takes the place of the others
//!   (`--set train.steps=10` over `epochs = 1`).

use crate::shape::{Shape, TAG, Table};
use crate::tree::{Entries, Entry, Node, Origin};

/// `over` laid on `base`.
pub(crate) fn overlay(base: Option<Entry>, over: Entry, shape: Option<&Shape>) -> Entry {
    match over.node {
        Node::Table(entries) => overlay_table(base, entries, over.origin, shape),
        Node::Item(index, item) => overlay_item(base, index, *item, shape),
        _ => over,
    }
}

fn overlay_table(base: Option<Entry>, over: Entries, over_origin: Origin, shape: Option<&Shape>) -> Entry {
    let (mut merged, origin) = match base {
        Some(Entry { node: Node::Table(entries), origin }) if !switches(&entries, &over, shape) => (entries, origin),
        _ => (Entries::new(), Origin::Default),
    };
    let kind = over.get(TAG).or_else(|| merged.get(TAG)).and_then(Entry::text).map(str::to_owned);
    let table = shape.and_then(|shape| shape.table(kind.as_deref()));
    if let Some(table) = table {
        drop_excluded(&mut merged, &over, table);
    }
    for (key, entry) in over {
        let below = table.and_then(|table| table.field(&key)).map(|field| &field.shape);
        let entry = overlay(merged.remove(&key), entry, below);
        merged.insert(key, entry);
    }
    let origin = if origin == Origin::Default { over_origin } else { origin };
    Entry { node: Node::Table(merged), origin }
}

/// Whether `over` picks another variant of an enum than `base`.
fn switches(base: &Entries, over: &Entries, shape: Option<&Shape>) -> bool {
    match shape {
        Some(Shape::Kinds(_)) => over.get(TAG).is_some_and(|kind| base.get(TAG).and_then(Entry::text) != kind.text()),
        Some(Shape::Keyed { .. }) => over.keys().any(|key| !base.contains_key(key)),
        _ => false,
    }
}

/// Takes out of `base` what excludes a key of `over`.
fn drop_excluded(base: &mut Entries, over: &Entries, table: &Table) {
    for group in &table.groups {
        if group.keys.iter().any(|key| over.contains_key(key)) {
            base.retain(|key, _| !group.keys.contains(key) || over.contains_key(key));
        }
    }
}

fn overlay_item(base: Option<Entry>, index: usize, item: Entry, shape: Option<&Shape>) -> Entry {
    let (mut items, origin) = match base {
        Some(Entry { node: Node::List(items), origin }) if origin != Origin::Default => (items, origin),
        Some(Entry { node: Node::List(items), .. }) => (items, item.origin.clone()),
        // No list, or an item beyond its end already: `check` reports it.
        Some(wrong) => return wrong,
        None => (Vec::new(), item.origin.clone()),
    };
    if index > items.len() {
        return Entry { node: Node::Beyond { index, len: items.len() }, origin: item.origin };
    }
    let below = match shape {
        Some(Shape::List(item)) => Some(&**item),
        _ => None,
    };
    let old = (index < items.len()).then(|| items.remove(index));
    items.insert(index, overlay(old, item, below));
    Entry { node: Node::List(items), origin }
}

/// Adds the defaults of everything that nobody set.
pub(crate) fn fill_defaults(entry: &mut Entry, shape: &Shape) {
    match &mut entry.node {
        Node::List(items) => {
            if let Shape::List(item) = shape {
                for entry in items {
                    fill_defaults(entry, item);
                }
            }
        }
        Node::Table(entries) => {
            let kind = entries.get(TAG).and_then(Entry::text).map(str::to_owned);
            if let Some(table) = shape.table(kind.as_deref()) {
                fill_table(entries, table);
            }
        }
        _ => {}
    }
}

fn fill_table(entries: &mut Entries, table: &Table) {
    for field in &table.fields {
        if let Some(default) = &field.default
            && !excluded(entries, table, &field.name)
        {
            let default = Entry::from_json(default, &Origin::Default);
            let merged = match entries.remove(&field.name) {
                Some(entry) => overlay(Some(default), entry, Some(&field.shape)),
                None => default,
            };
            entries.insert(field.name.clone(), merged);
        }
        if let Some(entry) = entries.get_mut(&field.name) {
            fill_defaults(entry, &field.shape);
        }
    }
}

/// Whether another key that excludes `name` is set.
fn excluded(entries: &Entries, table: &Table, name: &str) -> bool {
    let mut groups = table.groups.iter().filter(|group| group.keys.iter().any(|key| key == name));
    groups.any(|group| {
        group.keys.iter().any(|key| key != name && entries.contains_key(key)) && !entries.contains_key(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;
    use crate::tree::parse;

    /// The layers, as TOML, merged and filled, at one path.
    #[track_caller]
    fn check(layers: &[&str], path: &str, expected: &str) {
        let origin = Origin::File { path: "x.toml".into(), line: 0 };
        let mut tree = Entry::empty(Origin::Default);
        for layer in layers {
            let layer = parse(layer, &origin).expect("valid TOML");
            tree = overlay(Some(tree), layer, Some(shape::root()));
        }
        fill_defaults(&mut tree, shape::root());
        let found = tree.get(path).map(|entry| entry.to_json().to_string());
        assert_eq!(found.as_deref().unwrap_or("nothing"), expected);
    }

    #[test]
    fn tables_merge_and_lists_are_replaced() {
        let base = "[data]\nmax_seq = 10\nworkers = 1\n[[data.sources]]\nname = 'a'\n[[data.sources]]\nname = 'b'";
        check(&[base, "data.workers = 3"], "data.max_seq", "10");
        check(&[base, "data.workers = 3"], "data.workers", "3");
        check(&[base, "data.sources = [{ name = 'c' }]"], "data.sources.0.name", "\"c\"");
        check(&[base, "data.sources = [{ name = 'c' }]"], "data.sources.1", "nothing");
    }

    #[test]
    fn a_key_of_the_default_variant_can_be_set_alone() {
        check(&["model.connector.depth = 1"], "model.connector", r#"{"depth":1,"kind":"mlp","pixel_shuffle":1}"#);
        check(&["train.connector.weight_decay = 0.5"], "train.connector.tuning", r#"{"full":{"lr":0.001}}"#);
    }

    #[test]
    fn another_variant_starts_afresh() {
        let full = "train.encoder.tuning.full.lr = 0.5";
        check(&[full, "train.encoder.tuning = 'frozen'"], "train.encoder.tuning", "\"frozen\"");
        check(&[full, "train.encoder.tuning.lora.rank = 4"], "train.encoder.tuning.lora.rank", "4");
        check(&[full, "train.encoder.tuning.lora.rank = 4"], "train.encoder.tuning.full", "nothing");
        check(&["model.connector.depth = 3", "model.connector.kind = 'other'"], "model.connector.depth", "nothing");
    }

    #[test]
    fn a_later_layer_takes_the_place_of_what_excludes_it() {
        check(&["train.epochs = 1.0", "train.steps = 10"], "train.epochs", "nothing");
        check(&["schedule.warmup_ratio = 0.5", "schedule.warmup_steps = 10"], "schedule.warmup_ratio", "nothing");
        check(&["schedule.warmup_steps = 10", "schedule.warmup_ratio = 0.5"], "schedule.warmup_steps", "nothing");
        check(&["train.epochs = 1.0\ntrain.steps = 10"], "train.epochs", "1.0");
    }
}
