//! A JSON object whose wrong values are named with their key.

use serde_json::{Map, Value};

use crate::MediaError;

/// The keys of a processor; null is as good as absent.
pub(super) struct Settings(Map<String, Value>);

/// The spellings of `size` and its like over the years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    /// A number.
    One(u32),
    /// `height` and `width`, or a list of the two.
    Exact { height: u32, width: u32 },
    /// `shortest_edge`
    Shortest(u32),
    /// `longest_edge`
    Longest(u32),
    /// Both edges, or `min_pixels` and `max_pixels`.
    Range { least: u64, most: u64 },
}

impl Settings {
    /// The object itself, or the first of the objects nested under `inner`: `processor_config.json` nests.
    pub(super) fn parse(json: &str, inner: &[&str]) -> Result<Self, MediaError> {
        let value: Value = serde_json::from_str(json).map_err(|e| MediaError::processor(e.to_string()))?;
        let Value::Object(mut map) = value else { return Err(MediaError::processor("expected a JSON object")) };
        match inner.iter().find_map(|key| map.remove(*key)) {
            Some(Value::Object(nested)) => Ok(Self(nested)),
            _ => Ok(Self(map)),
        }
    }

    /// The object under `key`.
    pub(super) fn nested(json: &str, key: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        value.get(key)?.as_object().cloned().map(Self)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, MediaError> {
        self.read(key, "a name", Value::as_str)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, MediaError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, MediaError> {
        self.read(key, "a number", Value::as_f64)
    }

    pub(super) fn count(&self, key: &str) -> Result<Option<u32>, MediaError> {
        self.read(key, &format!("a whole number from 0 to {}", u32::MAX), count)
    }

    /// A number of pixels of a picture.
    pub(super) fn pixels(&self, key: &str) -> Result<Option<u64>, MediaError> {
        self.read(key, "a whole number of pixels", Value::as_u64)
    }

    /// One number per channel, or one for all.
    pub(super) fn channels(&self, key: &str) -> Result<Option<[f32; 3]>, MediaError> {
        self.read(key, "three numbers", channels)
    }

    pub(super) fn sides(&self, key: &str) -> Result<Option<Sides>, MediaError> {
        self.read(key, "a number of pixels, or an object of `height` and `width` or of edges", sides)
    }

    /// A list of `[height, width]`.
    pub(super) fn pairs(&self, key: &str) -> Result<Option<Vec<[u32; 2]>>, MediaError> {
        self.read(key, "a list of [height, width]", |value| value.as_array()?.iter().map(pair).collect())
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, MediaError> {
        let wrong = |value: &Value| MediaError::processor(format!("`{key}` is {}, expected {expected}", shown(value)));
        self.get(key).map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
    }
}

/// As much of a wrong value as fits into a line.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

fn channels(value: &Value) -> Option<[f32; 3]> {
    if let Some(all) = value.as_f64() {
        return Some([all as f32; 3]);
    }
    let each: Option<Vec<f32>> = value.as_array()?.iter().map(|v| v.as_f64().map(|v| v as f32)).collect();
    each?.try_into().ok()
}

fn pair(value: &Value) -> Option<[u32; 2]> {
    match value.as_array()?.as_slice() {
        [height, width] => Some([count(height)?, count(width)?]),
        _ => None,
    }
}

fn sides(value: &Value) -> Option<Sides> {
    if let Some(side) = count(value) {
        return Some(Sides::One(side));
    }
    if let Some([height, width]) = pair(value) {
        return Some(Sides::Exact { height, width });
    }
    let map = value.as_object()?;
    let get = |key: &str| map.get(key).filter(|v| !v.is_null());
    let (least, most) = (get("shortest_edge").or(get("min_pixels")), get("longest_edge").or(get("max_pixels")));
    match (get("height"), get("width"), least, most) {
        (Some(height), Some(width), _, _) => Some(Sides::Exact { height: count(height)?, width: count(width)? }),
        (None, None, Some(least), Some(most)) => Some(Sides::Range { least: least.as_u64()?, most: most.as_u64()? }),
        (None, None, Some(least), None) => count(least).map(Sides::Shortest),
        (None, None, None, Some(most)) => count(most).map(Sides::Longest),
        _ => None,
    }
}
