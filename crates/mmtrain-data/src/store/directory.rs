//! A directory of media: what is named is read only if it really lies below it.

use std::io;
use std::path::{Path, PathBuf};

use mmtrain_text::MediaKind;

use super::{Found, limit, names, too_large};
use crate::reading::retrying;
use crate::sample::{MediaContent, Reject};

/// A directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The same from the root, with the links in it.
    absolute: PathBuf,
    /// Where it really is, without links.
    real: PathBuf,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        Ok(Self { path: path.to_path_buf(), absolute, real: fs_err::canonicalize(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it really is.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// What an absolute path is called below this directory.
    pub(super) fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        [&self.path, &self.absolute, &self.real].into_iter().find_map(|own| path.strip_prefix(own).ok())
    }

    /// The file `name`, which has no `..`; a link may lead to any of the `allowed` directories.
    pub(super) fn find(&self, name: &str, kind: MediaKind, allowed: &[&Path]) -> Found {
        let path = self.path.join(name);
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if is_nothing(&error) => return Found::Nothing,
            Err(error) => return Found::Rejected(unreadable(&path, &error)),
        };
        if !allowed.iter().any(|allowed| real.starts_with(allowed)) {
            let Reject { reason, detail } = names::outside(name);
            let detail = format!("{detail}: a link leads to `{}`", real.display());
            return Found::Rejected(Reject::new(reason, detail));
        }
        match retrying(|| fs_err::metadata(&real)) {
            Ok(metadata) if !metadata.is_file() => Found::Nothing,
            Ok(_) if kind == MediaKind::Video => Found::Content(MediaContent::File(real)),
            Ok(metadata) if metadata.len() > limit(kind) => Found::Rejected(too_large(name, metadata.len(), kind)),
            Ok(_) => match retrying(|| fs_err::read(&real)) {
                Ok(bytes) => Found::Content(MediaContent::Bytes(bytes)),
                Err(error) => Found::Rejected(unreadable(&real, &error)),
            },
            Err(error) => Found::Rejected(unreadable(&real, &error)),
        }
    }
}

/// Whether there is no such file, as opposed to one that cannot be read.
fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

fn unreadable(path: &Path, error: &io::Error) -> Reject {
    Reject::new("media_unreadable", format!("`{}`: {error}", path.display()))
}
