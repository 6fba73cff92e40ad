//! The header of a safetensors file: who wrote it is unknown, so every number in it is checked before it is used.
//!
//! A header is JSON: `{"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, …}`, offsets from the end
//! of the header on. The tensors must fill the rest of the file, one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use safetensors::tensor::Dtype;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Names above this are refused: they would be printed.
const MAX_NAME_BYTES: usize = 1024;
/// What a header may say about itself, under a name that no tensor has.
const METADATA: &str = "__metadata__";

/// One tensor, as a header that has been checked describes it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte, from the end of the header on.
    pub(super) start: u64,
    /// Behind the last byte.
    pub(super) end: u64,
}

#[derive(Deserialize)]
struct Described {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Reads the header of a file that holds `held` bytes behind it.
pub(super) fn parse(header: &[u8], held: u64) -> Result<BTreeMap<String, Entry>, String> {
    let text = std::str::from_utf8(header).map_err(|error| format!("the header is not UTF-8: {error}"))?;
    let Unique(described) =
        serde_json::from_str::<Unique<Described>>(text).map_err(|error| format!("header: {error}"))?;
    let promised = described.values().map(|tensor| tensor.data_offsets[1]).max().unwrap_or(0);
    if promised != held {
        return Err(format!("the header promises {promised} bytes of tensors, the file holds {held}"));
    }
    let entries = described.into_iter().map(|(name, tensor)| {
        let entry = tensor.checked().map_err(|message| format!("tensor `{name}` {message}"))?;
        Ok((name, entry))
    });
    let entries = entries.collect::<Result<BTreeMap<_, _>, String>>()?;
    check_order(&entries)?;
    Ok(entries)
}

impl Described {
    fn checked(self) -> Result<Entry, String> {
        let [start, end] = self.data_offsets;
        let name: StrDeserializer<'_, NameError> = self.dtype.as_str().into_deserializer();
        let dtype = Dtype::deserialize(name).map_err(|_| format!("is of the unknown number type `{}`", self.dtype))?;
        let bytes = bytes(&self.shape, dtype)
            .ok_or_else(|| format!("has the shape {:?} of {dtype:?}, which no file can hold", self.shape))?;
        if end.checked_sub(start) != Some(bytes) {
            let place = format!("bytes {start} to {end} of the data");
            return Err(format!("is {:?} of {dtype:?}, {bytes} bytes, but its place is {place}", self.shape));
        }
        Ok(Entry { dtype, shape: self.shape, start, end })
    }
}

/// Whole bytes of a tensor, if there is a number for them.
fn bytes(shape: &[usize], dtype: Dtype) -> Option<u64> {
    let elements = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size as u64))?;
    let bits = elements.checked_mul(dtype.bitsize() as u64)?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// Tensors stand one behind the other: nothing is shared and nothing left over.
fn check_order(entries: &BTreeMap<String, Entry>) -> Result<(), String> {
    let mut order = entries.iter().collect::<Vec<_>>();
    order.sort_by_key(|(_, entry)| (entry.start, entry.end));
    let (mut at, mut last) = (0, "");
    for (name, entry) in order {
        if entry.start < at {
            return Err(format!("tensors `{last}` and `{name}` share bytes {} to {at} of the data", entry.start));
        }
        if entry.start > at {
            return Err(format!("bytes {at} to {} of the data, before tensor `{name}`, are no tensor's", entry.start));
        }
        (at, last) = (entry.end, name);
    }
    Ok(())
}

/// A JSON object without `__metadata__`, in which no name stands twice and all can be printed.
#[derive(Debug)]
pub(super) struct Unique<T>(pub(super) BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            }
            check_name(&name).map_err(A::Error::custom)?;
            let value = map.next_value().map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
            if found.contains_key(&name) {
                return Err(A::Error::custom(format!("tensor `{name}` stands there twice")));
            }
            found.insert(name, value);
        }
        Ok(found)
    }
}

/// What could not be printed would only be there to deceive.
fn check_name(name: &str) -> Result<(), String> {
    let start = || name.chars().take(60).flat_map(char::escape_debug).collect::<String>();
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("a tensor's name is {} bytes long: `{}…`", name.len(), start()));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("a tensor's name holds control characters: `{}`", start()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(header: &str, held: u64) -> String {
        parse(header.as_bytes(), held).expect_err(header)
    }

    #[test]
    fn tensors_of_any_order_and_metadata_are_read() {
        let header = r#"{"__metadata__": {"format": "pt"}, "b": {"dtype":"BF16","shape":[2,2],"data_offsets":[4,12]},
            "a": {"dtype":"F32","shape":[],"data_offsets":[0,4]}, "empty": {"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}}"#;
        let entries = parse(header.as_bytes(), 12).expect("parses");
        assert_eq!(entries.keys().collect::<Vec<_>>(), ["a", "b", "empty"]);
        assert_eq!((entries["b"].start, entries["b"].end), (4, 12));
        assert!(parse(b"{}", 0).expect("parses").is_empty());
    }

    #[test]
    fn lies_about_offsets_are_named() {
        let one = |shape: &str, from: u64, to: u64| {
            format!(r#""a": {{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
        };
        let two = |from: u64, to: u64| {
            format!(r#"{{{}, "b": {{"dtype":"F32","shape":[2],"data_offsets":[{from},{to}]}}}}"#, one("[2]", 0, 8))
        };
        let only = |shape: &str, from, to| format!("{{{}}}", one(shape, from, to));
        for (header, held, words) in [
            (only("[2]", 0, 8), 9, "promises 8 bytes of tensors, the file holds 9"),
            (only("[2]", 0, 8), 7, "promises 8 bytes of tensors, the file holds 7"),
            (only("[2]", 0, u64::MAX), 8, "promises 18446744073709551615 bytes"),
            (only("[3]", 0, 8), 8, "`a` is [3] of F32, 12 bytes, but its place is bytes 0 to 8"),
            (only("[2]", 16, 8), 8, "`a` is [2] of F32, 8 bytes, but its place is bytes 16 to 8"),
            (only("[4294967296, 4294967296]", 0, 8), 8, "which no file can hold"),
            (only("[18446744073709551615]", 0, 8), 8, "which no file can hold"),
            (only("[18446744073709551616]", 0, 8), 8, "tensor `a`"),
            (only("[-1]", 0, 8), 8, "tensor `a`"),
            (two(4, 12), 12, "`a` and `b` share bytes 4 to 8"),
            (two(0, 8), 8, "share bytes 0 to 8"),
            (two(12, 20), 20, "bytes 8 to 12 of the data, before tensor `b`, are no tensor's"),
        ] {
            let message = error(&header, held);
            assert!(message.contains(words), "{header}: {message}");
        }
    }

    #[test]
    fn what_is_no_header_is_named() {
        let tensor = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        for (header, words) in [
            (format!(r#"{{"a":{tensor},"a":{tensor}}}"#), "tensor `a` stands there twice"),
            (
                r#"{"a":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}}"#.into(),
                "tensor `a` is of the unknown number type `F9`",
            ),
            (r#"{"a":{"dtype":"F32","shape":[1]}}"#.into(), "tensor `a`: missing field `data_offsets`"),
            (r#"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}"#.into(), "[1] of F4, which no file can hold"),
            (r#"{"a":7}"#.into(), "tensor `a`"),
            ("[]".into(), "header: invalid type"),
            ("{".into(), "header: EOF"),
            (format!(r#"{{"a\u001b[2J":{tensor}}}"#), r"control characters: `a\u{1b}[2J`"),
            (format!(r#"{{"{}":{tensor}}}"#, "x".repeat(2000)), "2000 bytes long"),
            ("[".repeat(100_000), "header: "),
        ] {
            let message = error(&header, 4);
            assert!(message.contains(words) && message.len() < 300, "{message}");
        }
        let message = parse(b"{\"\xff\": 1}", 4).expect_err("not UTF-8");
        assert!(message.contains("not UTF-8"), "{message}");
    }
}
