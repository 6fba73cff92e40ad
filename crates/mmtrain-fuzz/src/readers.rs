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
