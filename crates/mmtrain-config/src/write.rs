//! A configuration as TOML text and as a list of leaves, in the order of the structs.

use serde_json::{Map, Value};

use crate::RunConfig;
use crate::shape::{self, Shape, TAG, Table, join};

impl RunConfig {
    /// The whole configuration as a TOML file; parsing it gives the same configuration.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        if let Value::Object(map) = self.to_value() {
            write_table(&mut out, "", &map, shape::root(), "");
        }
        out.trim_start().to_owned()
    }

    /// Every value that is set, as a dotted key and a JSON value.
    pub fn leaves(&self) -> Vec<(String, Value)> {
        let mut leaves = Vec::new();
        collect_leaves("", self.to_value(), Some(shape::root()), &mut leaves);
        leaves
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self)
            .expect("keys are strings, numbers finite and paths UTF-8: all of it comes from checked text")
    }
}

/// The keys of a table that a file would hold: set, and not standing behind another key that takes its place.
fn written(map: Map<String, Value>, table: Option<&Table>) -> Map<String, Value> {
    let set: Map<_, _> = map.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let behind = |name: &String| {
        let groups = table.map(|table| table.groups.as_slice()).unwrap_or_default();
        groups.iter().any(|group| {
            group.keys.contains(name) && group.keys.iter().find(|key| set.contains_key(*key)) != Some(name)
        })
    };
    let hidden: Vec<_> = set.keys().filter(|name| behind(name)).cloned().collect();
    set.into_iter().filter(|(name, _)| !hidden.contains(name)).collect()
}

fn table_of<'a>(shape: &'a Shape, map: &Map<String, Value>) -> Option<&'a Table> {
    shape.table(map.get(TAG).and_then(Value::as_str))
}

fn write_table(out: &mut String, path: &str, map: &Map<String, Value>, shape: &Shape, header: &str) {
    let table = table_of(shape, map);
    let below = |name: &str| table.and_then(|table| table.field(name)).map(|field| &field.shape);
    let (tables, values): (Map<_, _>, Map<_, _>) =
        written(map.clone(), table).into_iter().partition(|(name, value)| is_section(value, below(name)));
    if !values.is_empty() || header.starts_with("[[") {
        out.push('\n');
        out.push_str(header);
        out.push('\n');
    }
    for (name, value) in values {
        out.extend([name.as_str(), " = ", to_text(&value).as_str(), "\n"]);
    }
    for (name, value) in tables {
        let path = join(path, &name);
        match (value, below(&name)) {
            (Value::Object(map), Some(shape)) => write_table(out, &path, &map, shape, &format!("[{path}]")),
            (Value::Array(items), Some(Shape::List(shape))) => {
                for map in items.iter().filter_map(Value::as_object) {
                    write_table(out, &path, map, shape, &format!("[[{path}]]"));
                }
            }
            (value, _) => unreachable!("`{path}` is no section: {value}"),
        }
    }
}

/// Whether a value is written under a `[header]` of its own instead of behind `key =`.
fn is_section(value: &Value, shape: Option<&Shape>) -> bool {
    match (value, shape) {
        (Value::Object(_), Some(Shape::Table(_) | Shape::Kinds(_))) => true,
        (Value::Array(items), Some(Shape::List(_))) => items.iter().any(Value::is_object),
        _ => false,
    }
}

fn collect_leaves(path: &str, value: Value, shape: Option<&Shape>, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            let table = shape.and_then(|shape| table_of(shape, &map));
            for (name, value) in written(map, table) {
                let below = table.and_then(|table| table.field(&name)).map(|field| &field.shape);
                collect_leaves(&join(path, &name), value, below, leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let below = match shape {
                Some(Shape::List(item)) => Some(&**item),
                _ => None,
            };
            for (index, value) in items.into_iter().enumerate() {
                collect_leaves(&join(path, &index.to_string()), value, below, leaves);
            }
        }
        value => leaves.push((path.to_owned(), value)),
    }
}

/// A value as one line of TOML.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => "(not set)".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => format!("{float:?}"),
            None => number.to_string(),
        },
        // JSON's escapes are legal in TOML, which besides wants the delete character escaped.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007F"),
        Value::Array(items) => format!("[{}]", items.iter().map(to_text).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let set = map.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<_> = set.map(|(name, value)| format!("{name} = {}", to_text(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_toml_that_reads_back() {
        for value in [
            json!(1),
            json!(-3),
            json!(1e-8),
            json!(10000.0),
            json!(1e300),
            json!(true),
            json!("a \"b\"\n\\ \u{7f}é\u{1}"),
            json!(["x", "y"]),
        ] {
            let text = to_text(&value);
            assert!(!text.contains('\n'), "{text}");
            let read = crate::tree::parse_value(&text, &crate::Origin::Set).expect(&text);
            assert_eq!(read.to_json(), value, "{text}");
        }
        assert_eq!(to_text(&json!(1e-8)), "1e-8");
        assert_eq!(to_text(&json!({ "full": { "lr": 1e-3 } })), "{ full = { lr = 0.001 } }");
        assert_eq!(to_text(&json!({ "lora": { "rank": 8, "targets": null } })), "{ lora = { rank = 8 } }");
    }
}
