//! A directory on a server: what is named is asked for, and read as a whole.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use mmtrain_text::MediaKind;

use super::{Found, limit, too_large};
use crate::Place;
use crate::reading::exactly;
use crate::sample::{MediaContent, Reject};

/// A directory.
#[derive(Debug)]
pub(super) struct Distant {
    place: Place,
}

impl Distant {
    pub(super) fn new(place: Place) -> Self {
        Self { place }
    }

    /// The file `name`, which has no `..`.
    pub(super) fn find(&self, name: &str, kind: MediaKind) -> Found {
        let file = match self.place.join(Path::new(name)).open() {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return unreadable(&error),
        };
        match file.len() {
            Ok(bytes) if bytes > limit(kind) => Found::Rejected(too_large(name, bytes, kind)),
            Ok(bytes) => match exactly(file.as_ref(), 0, bytes as usize) {
                Ok(bytes) => Found::Content(MediaContent::Bytes(bytes)),
                Err(error) => unreadable(&error),
            },
            Err(error) => unreadable(&error),
        }
    }
}

impl fmt::Display for Distant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

fn unreadable(error: &std::io::Error) -> Found {
    Found::Rejected(Reject::new("media_unreadable", error.to_string()))
}
