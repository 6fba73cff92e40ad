//! Single keys of a tolerant JSON object: what is absent or null is the default, what is there has the right type, or is an
//! error that says both.

use serde_json::Value;
use serde_json::value::Index;

use crate::config::Activation;

/// Characters of a value that a message shows.
const SHOWN: usize = 40;

/// A value, none where it is absent or null.
pub(super) fn given<'a>(json: &'a Value, key: &str) -> Option<&'a Value> {
    json.get(key).filter(|value| !value.is_null())
}

/// A part of the file, such as `text_config`.
pub(super) fn object<'a>(json: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    read(json, key, "an object", |value| value.is_object().then_some(value))
}

pub(super) fn string<'a>(json: &'a Value, key: &str) -> Result<Option<&'a str>, String> {
    read(json, key, "a string", Value::as_str)
}

pub(super) fn number(json: &Value, key: &str) -> Result<Option<f64>, String> {
    read(json, key, "a number", Value::as_f64)
}

pub(super) fn flag(json: &Value, key: &str) -> Result<Option<bool>, String> {
    read(json, key, "true or false", Value::as_bool)
}

/// A number of things, or of one of them; zero is one too.
pub(super) fn count(json: &Value, key: &str) -> Result<Option<usize>, String> {
    read(json, key, "an integer from 0 up", |value| Some(value.as_u64()? as usize))
}

/// A size.
pub(super) fn positive(json: &Value, key: &str) -> Result<Option<usize>, String> {
    let size = |value: &Value| value.as_u64().filter(|&size| size > 0);
    read(json, key, "a positive integer", |value| Some(size(value)? as usize))
}

pub(super) fn str_or<'a>(json: &'a Value, key: &str, default: &'a str) -> Result<&'a str, String> {
    Ok(string(json, key)?.unwrap_or(default))
}

pub(super) fn f64_or(json: &Value, key: &str, default: f64) -> Result<f64, String> {
    Ok(number(json, key)?.unwrap_or(default))
}

pub(super) fn usize_or(json: &Value, key: &str, default: usize) -> Result<usize, String> {
    Ok(positive(json, key)?.unwrap_or(default))
}

/// Anything else that is no single value; `expected` says it in words.
pub(super) fn list<T: serde::de::DeserializeOwned>(
    json: &Value,
    key: &str,
    expected: &str,
) -> Result<Option<T>, String> {
    read(json, key, expected, |value| serde_json::from_value(value.clone()).ok())
}

pub(super) fn activation(json: &Value, key: &str, default: Activation) -> Result<Activation, String> {
    let Some(name) = string(json, key)? else { return Ok(default) };
    Activation::from_name(name)
        .ok_or_else(|| format!("`{key}` \"{name}\" is not supported ({})", Activation::NAMES.join(", ")))
}

/// All encoders see colours.
pub(super) fn three_channels(json: &Value, key: &str) -> Result<(), String> {
    match usize_or(json, key, 3)? {
        3 => Ok(()),
        channels => Err(format!("`{key}` is {channels}, pictures here have 3")),
    }
}

pub(super) fn divides(small: &str, a: usize, large: &str, b: usize) -> Result<(), String> {
    if b.is_multiple_of(a) { Ok(()) } else { Err(format!("`{large}` ({b}) is not a multiple of `{small}` ({a})")) }
}

/// What went wrong in a part of the file.
pub(super) fn within<T>(part: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|message| format!("`{part}`: {message}"))
}

/// A part with one more key where it does not have it.
pub(super) fn with_default(part: &Value, key: &str, value: impl Into<Value>) -> Value {
    if given(part, key).is_some() { part.clone() } else { with(part, key, value) }
}

/// A part with another value of one key.
pub(super) fn with(part: &Value, key: impl Index, value: impl Into<Value>) -> Value {
    let mut part = part.clone();
    part[key] = value.into();
    part
}

fn read<'a, T>(
    json: &'a Value,
    key: &str,
    expected: &str,
    parse: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let Some(value) = given(json, key) else { return Ok(None) };
    parse(value).map(Some).ok_or_else(|| format!("`{key}` is {}, expected {expected}", described(value)))
}

/// A value with the name of its type.
fn described(value: &Value) -> String {
    let kind = match value {
        Value::Null | Value::Bool(_) => "",
        Value::Number(_) => "the number ",
        Value::String(_) => "the string ",
        Value::Array(_) => "the list ",
        Value::Object(_) => "the object ",
    };
    let text = value.to_string();
    let shown = text.chars().take(SHOWN).collect::<String>();
    format!("{kind}{shown}{}", if shown.len() < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_type_is_named_beside_the_one_that_is_expected() {
        let json = json!({ "a": "1e-5", "b": 1, "c": -3, "d": [1, 2], "e": { "f": 0 }, "g": 0 });
        let said = [
            number(&json, "a").map(drop),
            flag(&json, "b").map(drop),
            positive(&json, "c").map(drop),
            string(&json, "d").map(drop),
            positive(&json, "e").map(drop),
            object(&json, "g").map(drop),
        ];
        assert_eq!(
            said.map(|error| error.expect_err("refused")),
            [
                "`a` is the string \"1e-5\", expected a number",
                "`b` is the number 1, expected true or false",
                "`c` is the number -3, expected a positive integer",
                "`d` is the list [1,2], expected a string",
                "`e` is the object {\"f\":0}, expected a positive integer",
                "`g` is the number 0, expected an object",
            ]
        );
    }

    #[test]
    fn what_is_absent_or_null_is_the_default() {
        let json = json!({ "a": null });
        assert_eq!([f64_or(&json, "a", 2.0), f64_or(&json, "b", 2.0)], [Ok(2.0), Ok(2.0)]);
        assert_eq!((flag(&json, "a"), count(&json, "b"), object(&json, "a")), (Ok(None), Ok(None), Ok(None)));
    }
}
