//! Where files are: on disk, or at an address that is read over the network.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::DataError;
use crate::reading::ReadAt;
use crate::remote::{Address, Remote, RemoteFault, is_address};

/// A file or directory: a path, or an address (`s3://`, `https://`, `http://`) and what reads it.
///
/// A path becomes a place by `into()`; an address that is made so is read without credentials and without a cache, with
/// them by [`Remote::place`].
#[derive(Debug, Clone)]
pub struct Place {
    /// As messages show it: an address without what stands behind its `?`.
    path: PathBuf,
    remote: Option<(Remote, Address)>,
}

/// What there is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Nothing,
}

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Place {
    fn from(path: &P) -> Self {
        Remote::default().place(path.as_ref())
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::from(&path)
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Remote {
    /// The place at `path`, which is read with these settings if it is an address.
    pub fn place(&self, path: &Path) -> Place {
        match path.to_str().filter(|text| is_address(text)) {
            Some(text) => {
                let address = Address::new(text);
                Place { path: PathBuf::from(address.shown()), remote: Some((self.clone(), address)) }
            }
            None => Place { path: path.to_path_buf(), remote: None },
        }
    }
}

impl Place {
    /// As messages show it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The last part of the path.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The same place with another path behind it; one that is an address or begins at the root is used as it is.
    pub(crate) fn join(&self, path: &Path) -> Self {
        match &self.remote {
            Some((remote, _)) if is_address(&path.to_string_lossy()) => remote.place(path),
            Some(_) if path.is_absolute() => Self { path: path.to_path_buf(), remote: None },
            Some((remote, address)) => {
                let address = address.with_path(&self.path.join(path));
                Self { path: PathBuf::from(address.shown()), remote: Some((remote.clone(), address)) }
            }
            None => Self { path: self.path.join(path), remote: None },
        }
    }

    /// The directory that it is in.
    pub(crate) fn parent(&self) -> Option<Self> {
        let parent = self.path.parent()?;
        let remote = self.remote.as_ref().map(|(remote, address)| (remote.clone(), address.with_path(parent)));
        Some(Self { path: parent.to_path_buf(), remote })
    }

    /// What is there; an error only where a server cannot be asked.
    pub(crate) fn kind(&self) -> io::Result<Kind> {
        match &self.remote {
            Some((remote, address)) => remote.kind(address),
            None if self.path.is_dir() => Ok(Kind::Directory),
            None if self.path.is_file() => Ok(Kind::File),
            None => Ok(Kind::Nothing),
        }
    }

    pub(crate) fn is_file(&self) -> io::Result<bool> {
        Ok(self.kind()? == Kind::File)
    }

    pub(crate) fn is_dir(&self) -> io::Result<bool> {
        match &self.remote {
            Some((remote, address)) => remote.is_dir(address),
            None => Ok(self.path.is_dir()),
        }
    }

    /// Whether it can be asked what is in a directory.
    pub(crate) fn can_list(&self) -> bool {
        self.remote.as_ref().is_none_or(|(_, address)| address.shown().starts_with("s3://"))
    }

    /// What is in a directory, in no order; `None` where that are more than `most`.
    pub(crate) fn entries(&self, most: usize) -> io::Result<Option<Vec<Entry>>> {
        let Some((remote, address)) = &self.remote else {
            return on_disk(&self.path, most);
        };
        remote.entries(address, most)
    }

    /// Opens the file for reading by offset.
    pub(crate) fn open(&self) -> io::Result<Arc<dyn ReadAt>> {
        if let Some((remote, address)) = &self.remote {
            return remote.open(address);
        }
        // To open a pipe is to wait for who writes to it.
        let found = fs_err::metadata(&self.path)?;
        if !found.is_file() && !found.is_dir() {
            let what = format!("`{}` is no file but a pipe, a socket or a device", self.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(Arc::new(fs_err::File::open(&self.path)?.into_file()))
    }

    /// The same where it is an error of its own that there is no file.
    pub(crate) fn open_file(&self) -> Result<Arc<dyn ReadAt>, DataError> {
        let missing = || DataError::NotFound { path: self.path.clone() };
        if self.remote.is_none() && !self.path.is_file() {
            return Err(missing());
        }
        self.open().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if RemoteFault::of(&error).is_some() => missing(),
            _ => error.into(),
        })
    }
}

fn on_disk(dir: &Path, most: usize) -> io::Result<Option<Vec<Entry>>> {
    let mut entries = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        if entries.len() == most {
            return Ok(None);
        }
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type()?;
        entries.push(Entry { name, is_dir: kind.is_dir() || kind.is_symlink() && entry.path().is_dir() });
    }
    Ok(Some(entries))
}
