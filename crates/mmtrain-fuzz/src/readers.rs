//! The readers, by the crate that they are of.

pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod media;
pub(crate) mod models;
pub(crate) mod serve;
pub(crate) mod text;
pub(crate) mod words;

/// Text of bytes, as a reader of a file would have refused it otherwise.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All ways to read an input. For fuzzers, to which many inputs are worth more than all there is of one, one of them by how long it is.
fn tried<'a, T>(all: &'a [T], bytes: &[u8]) -> &'a [T] {
    let one = bytes.len() % all.len();
    if cfg!(feature = "fuzzing") { &all[one..=one] } else { all }
}
