//! Which keys exist, of which kind, with which range and default: read off the JSON schema of [`RunConfig`].
//!
//! Everything that walks a configuration (merging, checking, hints, printing) walks it beside its [`Shape`], so a new
//! field or variant in `keys` is known everywhere at once. The forms handled here are those that schemars makes of the
//! structs in `keys`; another form is a mistake in this crate and caught by every test.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::RunConfig;

/// Stands in a word of [`Shape::Choice`] for whatever the user writes behind it: `jinja:FILE`.
const ANY: &str = "FILE";

/// Whether `word` is the choice `known`.
pub(crate) fn is_word(known: &str, word: &str) -> bool {
    match known.strip_suffix(ANY) {
        Some(prefix) => word.len() > prefix.len() && word.starts_with(prefix),
        None => known == word,
    }
}

/// The key that names the variant of an internally tagged enum.
pub(crate) const TAG: &str = "kind";

/// The kind of value that is written at one place of the configuration.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A struct: named fields.
    Table(Table),
    /// A list of values of one shape.
    List(Box<Shape>),
    /// A table whose `kind` decides which other fields it has.
    Kinds(Vec<(String, Table)>),
    /// One of some words, or a table with exactly one of some keys: `"frozen"` or `{ full = { lr = 1e-3 } }`.
    Keyed { words: Vec<String>, tables: Table },
    /// One of some words.
    Choice(Vec<String>),
    /// An integer in a range.
    Integer { min: i64, max: i64 },
    /// A finite number in a range.
    Number(Bounds),
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
}

/// The fields of a table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) fields: Vec<Field>,
    /// Groups of sibling keys that exclude each other.
    pub(crate) groups: Vec<Group>,
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// What stands there when nobody sets it; `None` for required and for optional keys.
    pub(crate) default: Option<Value>,
    pub(crate) required: bool,
    /// Names that other tools give this key.
    pub(crate) also: Vec<String>,
}

/// Sibling keys of which at most one is set.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) keys: Vec<String>,
    /// Whether one of them has to be set.
    pub(crate) required: bool,
}

/// The range of a number; `above` and `below` exclude their ends.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) min: Option<f64>,
    pub(crate) above: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) below: Option<f64>,
}

impl Bounds {
    /// Whether `value` is finite and inside the range.
    pub(crate) fn contain(&self, value: f64) -> bool {
        value.is_finite()
            && self.min.is_none_or(|min| value >= min)
            && self.above.is_none_or(|above| value > above)
            && self.max.is_none_or(|max| value <= max)
            && self.below.is_none_or(|below| value < below)
    }
}

impl Table {
    /// The field called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Shape {
    /// The fields that a table of this shape may have, given the `kind` it states, if it states one.
    pub(crate) fn table(&self, kind: Option<&str>) -> Option<&Table> {
        match self {
            Self::Table(table) | Self::Keyed { tables: table, .. } => Some(table),
            Self::Kinds(kinds) => kinds.iter().find(|(name, _)| Some(name.as_str()) == kind).map(|(_, table)| table),
            _ => None,
        }
    }
}

/// The shape of a whole configuration.
pub(crate) fn root() -> &'static Shape {
    static ROOT: LazyLock<Shape> = LazyLock::new(|| {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
        let schema = settings.into_generator().into_root_schema_for::<RunConfig>();
        shape_of(schema.as_value())
    });
    &ROOT
}

/// The JSON schema of a configuration file, for editors and for the manual.
///
/// It describes [`RunConfig`] and the key `extends`, which a file may have besides.
pub fn schema() -> Value {
    let schema = serde_json::to_value(schemars::schema_for!(RunConfig));
    let mut schema = schema.expect("a schema is JSON");
    schema["properties"]["extends"] = json!({
        "description": "Files or presets this file starts from, left to right; a path is relative to this file. What this file sets wins.",
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
    });
    schema
}

fn shape_of(schema: &Value) -> Shape {
    if let Some(inner) = without_null(schema) {
        return shape_of(inner);
    }
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        return shape_of_enum(variants);
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return Shape::Choice(vec![word.to_owned()]);
    }
    match type_name(schema) {
        "object" => Shape::Table(table_of(schema)),
        "array" => Shape::List(Box::new(shape_of(&schema["items"]))),
        "integer" => integer_of(schema),
        "number" => Shape::Number(bounds_of(schema)),
        "string" => Shape::Text,
        "boolean" => Shape::Flag,
        other => unreachable!("no key of a configuration has the JSON type {other:?}: {schema}"),
    }
}

/// The first variant of `anyOf: [X, null]`, which is how schemars writes an optional enum.
fn without_null(schema: &Value) -> Option<&Value> {
    schema.get("anyOf")?.as_array()?.iter().find(|variant| type_name(variant) != "null")
}

/// The JSON type, without the `null` of an optional key.
fn type_name(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default(),
        name => name.as_str().unwrap_or_default(),
    }
}

fn shape_of_enum(variants: &[Value]) -> Shape {
    let prefix = |variant: &Value| Some(format!("{}{ANY}", variant.get("x-prefix")?.as_str()?));
    let word =
        |variant: &Value| variant.get("const").and_then(Value::as_str).map(str::to_owned).or_else(|| prefix(variant));
    let words = || variants.iter().filter_map(word).collect::<Vec<_>>();
    if let Some(kinds) = variants.iter().map(kind_of).collect::<Option<Vec<_>>>() {
        return Shape::Kinds(kinds);
    }
    if variants.iter().all(|variant| word(variant).is_some()) {
        return Shape::Choice(words());
    }
    let tables =
        variants.iter().filter(|variant| variant.get("const").is_none()).flat_map(|variant| table_of(variant).fields);
    let tables = tables.map(|field| Field { required: false, ..field }).collect();
    Shape::Keyed { words: words(), tables: Table { fields: tables, groups: Vec::new() } }
}

/// Name and fields of one variant of an internally tagged enum.
fn kind_of(variant: &Value) -> Option<(String, Table)> {
    let kind = variant.pointer(&format!("/properties/{TAG}/const"))?.as_str()?;
    Some((kind.to_owned(), table_of(variant)))
}

fn table_of(schema: &Value) -> Table {
    let required = words_of(schema, "required");
    let no_fields = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&no_fields);
    let fields = properties.iter().map(|(name, schema)| Field {
        name: name.clone(),
        shape: shape_of(schema),
        default: schema.get("default").cloned().and_then(without_nulls),
        required: required.contains(name),
        also: words_of(schema, "x-also"),
    });
    let groups = [("x-exactly-one", true), ("x-at-most-one", false)];
    let groups = groups.map(|(name, required)| Group { keys: words_of(schema, name), required });
    Table { fields: fields.collect(), groups: groups.into_iter().filter(|group| !group.keys.is_empty()).collect() }
}

fn words_of(schema: &Value, key: &str) -> Vec<String> {
    let words = schema.get(key).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A default as the user would write it: a key that is not set is not there.
fn without_nulls(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            Some(map.into_iter().filter_map(|(key, value)| Some((key, without_nulls(value)?))).collect())
        }
        other => Some(other),
    }
}

fn integer_of(schema: &Value) -> Shape {
    let (low, high) = match schema["format"].as_str() {
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("uint" | "uint64") => (0, i64::MAX),
        other => unreachable!("no key of a configuration has the integer format {other:?}"),
    };
    let bound = |name: &str, default: i64| schema.get(name).and_then(Value::as_i64).unwrap_or(default);
    Shape::Integer { min: bound("minimum", low), max: bound("maximum", high) }
}

fn bounds_of(schema: &Value) -> Bounds {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    Bounds {
        min: bound("minimum"),
        above: bound("exclusiveMinimum"),
        max: bound("maximum"),
        below: bound("exclusiveMaximum"),
    }
}

/// Every key of the configuration, tables included, as a dotted path with `N` for the place in a list.
pub(crate) fn all_keys() -> &'static [(String, &'static Field)] {
    static KEYS: LazyLock<Vec<(String, &'static Field)>> = LazyLock::new(|| {
        let mut keys = Vec::new();
        collect_keys(root(), "", &mut keys);
        keys
    });
    &KEYS
}

fn collect_keys(shape: &'static Shape, path: &str, keys: &mut Vec<(String, &'static Field)>) {
    match shape {
        Shape::Table(table) | Shape::Keyed { tables: table, .. } => collect_fields(table, path, keys),
        Shape::Kinds(kinds) => {
            for (_, table) in kinds {
                collect_fields(table, path, keys);
            }
        }
        Shape::List(item) => collect_keys(item, &join(path, "N"), keys),
        _ => {}
    }
}

fn collect_fields(table: &'static Table, path: &str, keys: &mut Vec<(String, &'static Field)>) {
    for field in &table.fields {
        let path = join(path, &field.name);
        if !keys.iter().any(|(known, _)| *known == path) {
            keys.push((path.clone(), field));
        }
        collect_keys(&field.shape, &path, keys);
    }
}

/// `path.name`, or `name` at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_structs_is_known_with_its_range_and_default() {
        let keys = all_keys();
        let field = |path: &str| keys.iter().find(|(known, _)| known == path).map(|(_, field)| *field).expect(path);
        assert!(matches!(field("train.global_batch_size").shape, Shape::Integer { min: 1, max: 1_048_576 }));
        assert!(field("train.global_batch_size").required);
        assert_eq!(field("train.beta2").default, Some(json!(0.999)));
        assert_eq!(field("train.connector").default, Some(json!({ "tuning": { "full": { "lr": 1e-3 } } })));
        let open = Bounds { above: Some(0.0), ..Bounds::default() };
        assert!(matches!(&field("train.decoder.tuning.full.lr").shape, Shape::Number(bounds) if *bounds == open));
        assert!(
            matches!(&field("data.sources.N.format").shape, Shape::Choice(words) if words.len() == 22 && words[0] == "webdataset")
        );
        assert!(matches!(&field("model.connector").shape, Shape::Kinds(kinds) if kinds[0].0 == "mlp"));
        assert!(matches!(field("checkpoint.async").shape, Shape::Flag));
    }

    #[test]
    fn the_schema_tells_what_every_key_means() {
        fn undocumented(schema: &Value, at: &str, out: &mut Vec<String>) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if property.get("description").is_none() && name != TAG {
                    out.push(join(at, name));
                }
            }
            for (name, child) in schema["$defs"].as_object().into_iter().flatten() {
                undocumented(child, name, out);
            }
            for variant in schema["oneOf"].as_array().into_iter().flatten() {
                undocumented(variant, at, out);
            }
        }
        let mut missing = Vec::new();
        undocumented(&schema(), "", &mut missing);
        // The keys of `tuning` are variants: their description is that of the variant.
        assert_eq!(missing, ["Tuning.full", "Tuning.lora"]);
        let steps = &schema()["$defs"]["TrainConfig"]["properties"]["steps"]["description"];
        assert_eq!(steps, "Length of the run in optimizer steps.");
        assert!(schema()["properties"]["extends"].is_object());
    }

    #[test]
    fn bounds_exclude_what_is_not_finite() {
        let bounds = Bounds { min: Some(0.0), below: Some(1.0), ..Bounds::default() };
        assert!(bounds.contain(0.0) && bounds.contain(0.999));
        assert!(!bounds.contain(1.0) && !bounds.contain(f64::NAN) && !Bounds::default().contain(f64::INFINITY));
    }
}
