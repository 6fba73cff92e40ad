//! Values as text, up to a length: `minijinja` pays for what it writes behind it, and a short template can describe a list
//! of lists that nobody can hold.

use std::fmt::{self, Write as _};
use std::io;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, escape_formatter};

/// The longest text of one value that holds others, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The deepest value, lists in lists.
const MAX_DEPTH: usize = 100;

/// A text that takes so much and no more.
#[derive(Debug, Default)]
pub(super) struct Bounded(Vec<u8>);

impl Bounded {
    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn add(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= MAX_BYTES - self.0.len();
        if fits {
            self.0.extend_from_slice(bytes);
        }
        fits
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.add(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.add(bytes) { Ok(bytes.len()) } else { Err(io::Error::other(too_long())) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long() -> String {
    format!("a value is more than {MAX_BYTES} bytes as text")
}

/// An error where a value is too large to be written.
pub(super) fn check(value: &Value) -> Result<(), Error> {
    let mut room = MAX_BYTES;
    if fits(value, MAX_DEPTH, &mut room) { Ok(()) } else { Err(Error::new(ErrorKind::InvalidOperation, too_long())) }
}

/// Prints a value where a template has `{{ value }}`.
pub(super) fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.as_object().is_none() {
        return escape_formatter(out, state, value);
    }
    out.write_str(&text(value)?).map_err(Error::from)
}

/// The filter `string`.
pub(super) fn string(value: &Value) -> Result<Value, Error> {
    if value.as_str().is_some() { Ok(value.clone()) } else { text(value).map(Value::from) }
}

fn text(value: &Value) -> Result<String, Error> {
    let refused = || Error::new(ErrorKind::InvalidOperation, too_long());
    // Who writes a list goes on to its end, whether or not somebody still takes it.
    check(value)?;
    let mut text = Bounded::default();
    write!(text, "{value}").map_err(|_| refused())?;
    String::from_utf8(text.into_bytes()).map_err(|_| refused())
}

/// Whether a value and all that it holds take no more room than there is, and are no deeper than that.
fn fits(value: &Value, depth: usize, room: &mut usize) -> bool {
    let own = 1 + value.as_str().map_or(0, str::len);
    let Some(left) = room.checked_sub(own) else { return false };
    *room = left;
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else { return false };
    let Ok(mut items) = value.try_iter() else { return true };
    let is_map = value.kind() == ValueKind::Map;
    items.all(|item| {
        let inner = is_map.then(|| value.get_item(&item).unwrap_or_default());
        fits(&item, depth, room) && inner.is_none_or(|inner| fits(&inner, depth, room))
    })
}
