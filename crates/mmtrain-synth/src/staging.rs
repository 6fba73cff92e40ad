//! A directory that appears whole or not at all.
//!
//! Files are written to a hidden directory beside the target, which is renamed into place at the end.
//! A lock (released by the system if the process dies) keeps two writers apart; what a killed writer left
//! behind is cleared by the next one.

use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::File;

use crate::SynthError;

/// A directory under construction.
pub(crate) struct Staging {
    target: PathBuf,
    partial: PathBuf,
    lock_path: PathBuf,
    /// Held, not read.
    _lock: File,
}

impl Staging {
    /// Takes the lock for `target` and makes an empty directory beside it.
    pub(crate) fn begin(target: &Path) -> Result<Self, SynthError> {
        let partial = sibling(target, "partial")?;
        let lock_path = sibling(target, "lock")?;
        if let Some(parent) = partial.parent() {
            fs::create_dir_all(parent)?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path)?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SynthError::Busy { path: target.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        let staging = Self { target: target.to_owned(), partial, lock_path, _lock: lock };
        fs::create_dir(&staging.partial)?;
        Ok(staging)
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.partial
    }

    /// Puts the directory into place; the target must be absent or an empty directory.
    ///
    /// Everything is on the disk before: one flush of its file system, as a set may have 100,000 small files.
    pub(crate) fn commit(self) -> Result<(), SynthError> {
        rustix::fs::syncfs(File::open(&self.partial)?.file()).map_err(io::Error::from)?;
        fs::rename(&self.partial, &self.target)?;
        Ok(())
    }
}

impl Drop for Staging {
    /// After a commit only the lock is left to clear; after a failure also the partial directory.
    fn drop(&mut self) {
        // a failure here leaves a hidden directory that the next writer clears
        let _ = fs::remove_dir_all(&self.partial);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// `dir/name` to `dir/.name.suffix`.
fn sibling(target: &Path, suffix: &str) -> Result<PathBuf, SynthError> {
    let name = target.file_name().ok_or_else(|| {
        let message = format!("`{}` does not name a directory to create", target.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    Ok(target.with_file_name(format!(".{}.{suffix}", name.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_appears_without_a_commit() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let target = root.path().join("deep/set");
        let staging = Staging::begin(&target)?;
        fs::write(staging.path().join("half"), "done")?;
        drop(staging);
        assert!(!target.exists());
        assert_eq!(fs::read_dir(root.path().join("deep"))?.count(), 0, "nothing is left behind");
        Ok(())
    }

    #[test]
    fn the_leftovers_of_a_killed_writer_are_cleared() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        fs::create_dir(root.path().join(".set.partial"))?;
        fs::write(root.path().join(".set.partial/old"), "x")?;
        fs::write(root.path().join(".set.lock"), "")?;
        let staging = Staging::begin(&root.path().join("set"))?;
        assert_eq!(fs::read_dir(staging.path())?.count(), 0);
        staging.commit()?;
        assert!(root.path().join("set").is_dir());
        Ok(())
    }

    #[test]
    fn a_second_writer_is_turned_away() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let target = root.path().join("set");
        let _first = Staging::begin(&target)?;
        let second = Staging::begin(&target);
        assert!(matches!(second, Err(SynthError::Busy { .. })));
        Ok(())
    }
}
