//! Single keys of a tolerant JSON object.

use serde_json::Value;

use crate::config::Activation;

pub(super) fn str_or<'a>(json: &'a Value, key: &str, default: &'a str) -> &'a str {
    json.get(key).and_then(Value::as_str).unwrap_or(default)
}

pub(super) fn f64_or(json: &Value, key: &str, default: f64) -> f64 {
    json.get(key).and_then(Value::as_f64).unwrap_or(default)
}

/// True or false; none where the key is absent or null.
pub(super) fn flag(json: &Value, key: &str) -> Result<Option<bool>, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_bool().map(Some).ok_or_else(|| format!("`{key}` is {value}, expected true or false")),
    }
}

pub(super) fn usize_or(json: &Value, key: &str, default: usize) -> Result<usize, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => match value.as_u64() {
            Some(number) if number > 0 => Ok(number as usize),
            _ => Err(format!("`{key}` is {value}, expected a positive integer")),
        },
    }
}

pub(super) fn activation(json: &Value, key: &str, default: Activation) -> Result<Activation, String> {
    match json.get(key).and_then(Value::as_str) {
        None => Ok(default),
        Some(name) => Activation::from_name(name)
            .ok_or_else(|| format!("`{key}` \"{name}\" is not supported ({})", Activation::NAMES.join(", "))),
    }
}

pub(super) fn divides(small: &str, a: usize, large: &str, b: usize) -> Result<(), String> {
    if b.is_multiple_of(a) { Ok(()) } else { Err(format!("`{large}` ({b}) is not a multiple of `{small}` ({a})")) }
}
