//! One value of a row, as JSON, Parquet and CSV files have them.
//!
//! Formats are read from cells, so that the same fields are understood in every kind of file. Keys keep
//! their order; a key that is not there is [`Cell::Null`].

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// Nothing, or a key that is not there.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Words.
    Text(String),
    /// Bytes of a file; only Parquet has them.
    Bytes(Vec<u8>),
    /// Several values.
    List(Vec<Cell>),
    /// Values by name, in their order.
    Struct(Vec<(String, Cell)>),
}

impl Cell {
    /// Parses one JSON value, nothing after it.
    pub fn from_json(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// The value under `key`; [`Cell::Null`] where this is no struct or has no such key.
    pub fn get(&self, key: &str) -> &Self {
        const NULL: &Cell = &Cell::Null;
        let fields = self.fields();
        fields.iter().find(|(name, _)| name == key).map_or(NULL, |(_, value)| value)
    }

    /// The first of several spellings of a key that holds something.
    pub fn get_any(&self, keys: &[&str]) -> &Self {
        const NULL: &Cell = &Cell::Null;
        keys.iter().map(|key| self.get(key)).find(|cell| !cell.is_null()).unwrap_or(NULL)
    }

    /// Whether there is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The words.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a file.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, whole or not.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The values of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The fields of a struct; none of anything else.
    pub fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// A name or number as words: ids are strings in some rows and numbers in others.
    pub fn to_id(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Int(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Struct(_) => "an object",
        }
    }

    /// As JSON, without the bytes of files: their number stands for them.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => bytes.len().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Struct(fields) => {
                Value::Object(fields.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
        Ok(i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Cell, E> {
        Ok(Cell::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Cell, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Cell::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Cell, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Cell::Struct(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_values_and_the_order_of_its_keys() {
        let json = br#"{"id": 7, "b": null, "a": ["x", 1.5, true], "n": 18446744073709551615}"#;
        let cell = Cell::from_json(json).expect("valid json");
        let keys: Vec<_> = cell.fields().iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["id", "b", "a", "n"]);
        assert_eq!(cell.get("a").items(), [Cell::Text("x".into()), Cell::Float(1.5), Cell::Bool(true)]);
        assert_eq!(cell.get("id").to_id().as_deref(), Some("7"));
        assert!(cell.get("b").is_null() && cell.get("nothing").is_null() && cell.get("id").get("x").is_null());
        assert_eq!(cell.get_any(&["b", "id"]).as_int(), Some(7));
        assert_eq!(cell.to_json()["a"][0], "x");
    }

    #[test]
    fn json_that_nests_without_end_is_an_error() {
        assert!(Cell::from_json("[".repeat(100_000).as_bytes()).is_err());
    }
}
