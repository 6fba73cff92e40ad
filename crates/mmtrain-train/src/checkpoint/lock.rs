//! One process per run directory.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::TrainError;

/// The lock's name in a run directory.
pub const LOCK_FILE: &str = "run.lock";

/// Holds `run.lock` until dropped; the kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct RunLock {
    _file: std::fs::File,
}

impl RunLock {
    /// Takes the lock, or says who has it. Where the file system has no locks there is none to be taken; that it has none is
    /// what [`FileSystem::try_out`](crate::machine::FileSystem::try_out) finds.
    pub fn acquire(run_dir: &Path) -> Result<Self, TrainError> {
        let path = run_dir.join(LOCK_FILE);
        let file = fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut file = file.into_parts().0;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(TrainError::InUse { path: run_dir.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => tracing::debug!("`{}` cannot be locked: {error}", path.display()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "pid {}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let held = RunLock::acquire(dir.path()).expect("free");
        let error = RunLock::acquire(dir.path()).expect_err("taken").to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(held);
        RunLock::acquire(dir.path()).expect("free again");
    }
}
