//! The calls on files by which a checkpoint comes into being, behind a seam: tests put a fault into each of them, and lose
//! what was not flushed.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;

/// A file that is being written.
pub(super) trait NewFile: Write {
    /// Returns when the contents will survive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file system, as far as checkpoints need one.
pub(super) trait Storage {
    /// Makes a directory.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file, or empties the one that is there.
    fn create<'a>(&'a self, path: &Path) -> io::Result<Box<dyn NewFile + 'a>>;
    /// Allocates `bytes` for a file at `path` and gives them back; an error if they are not there.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Returns when the names in a directory will survive a loss of power.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives another name, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// Removes a directory and all that is in it, name by name; of a link to one the link alone.
pub(super) fn remove_tree(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    if path.is_symlink() {
        return storage.remove_file(path);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(storage, &entry.path())?;
        } else {
            storage.remove_file(&entry.path())?;
        }
    }
    storage.remove_dir(path)
}

/// The file systems of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk;

impl NewFile for fs::File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create<'a>(&'a self, path: &Path) -> io::Result<Box<dyn NewFile + 'a>> {
        Ok(Box::new(fs::File::create(path)?))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = fs::File::create(path)?;
        let allocated = rustix::fs::fallocate(file.file(), rustix::fs::FallocateFlags::empty(), 0, bytes);
        drop(file);
        fs::remove_file(path)?;
        match allocated {
            Err(full @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => Err(full.into()),
            // File systems without preallocation: the writes themselves will tell.
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}
