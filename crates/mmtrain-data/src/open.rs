//! Datasets by their format: which files belong to one, what their rows say, and where their media lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mmtrain_text::MediaKind;

use crate::DataError;
use crate::format::{Captions, Placeholder};
use crate::remote::Remote;
use crate::source::{Source, WebDataset};
use crate::store::PathMap;

mod detect;

mod files;

mod folder;

mod formats;

mod kind;

mod opening;

pub use detect::{Detected, detect};
pub use kind::{Format, UnknownFormat};

/// What may be said of a dataset beside its place.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// `train`, `validation` or `test`; all of it where there is none.
    pub split: Option<String>,
    /// The files of rows, from the dataset's directory; those that are found there where there are none.
    pub annotations: Vec<PathBuf>,
    /// Directories, zip and tar files with media, from the dataset's directory, in the order in which they are tried.
    pub media: Vec<PathBuf>,
    /// What stands in the names of rows and what is there in its place.
    pub path_map: Vec<PathMap>,
    /// Where media stand among words.
    pub placeholder: Placeholder,
    /// Words that mark media among others, beside `<image>`, `<video>` and `<audio>`.
    pub words: Vec<(String, MediaKind)>,
    /// Lists of what is left out: `WavCaps`' blacklists.
    pub exclude: Vec<PathBuf>,
    /// Which of several captions of a medium are used.
    pub captions: Captions,
    /// Names of the columns of a file of separated values that has no header.
    pub columns: Vec<String>,
    /// How addresses are read.
    pub remote: Remote,
}

/// Opens the dataset at `path`: a directory, one of its files, a pattern of tar shards, or an address of one of these.
pub fn open(
    name: impl Into<String>,
    path: &Path,
    format: Format,
    options: &OpenOptions,
) -> Result<Arc<dyn Source>, DataError> {
    if format == Format::WebDataset {
        // A pattern names files, not a place.
        let source = WebDataset::open_with(name, &path.to_string_lossy(), options.split.as_deref(), &options.remote)?;
        return Ok(Arc::new(source));
    }
    opening::Opening::new(name.into(), path, options)?.open(format)
}

#[cfg(test)]
mod tests;
