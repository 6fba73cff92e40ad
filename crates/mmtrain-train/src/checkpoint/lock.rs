//! One process per run directory.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

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
                return Err(TrainError::InUse { path: run_dir.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => tracing::debug!("`{}` cannot be locked: {error}", path.display()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "pid {}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

/// Who has the lock. Between taking it and saying so the holder needs a moment.
fn holder(file: &mut std::fs::File) -> String {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let mut said = String::new();
        if file.rewind().and_then(|()| file.read_to_string(&mut said)).is_ok() && !said.trim().is_empty() {
            return said.trim().to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    "it does not say which".to_owned()
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
        // One that has taken the lock and not yet said who it is.
        fs_err::write(dir.path().join(LOCK_FILE), "").expect("emptied");
        let late = std::thread::spawn({
            let path = dir.path().join(LOCK_FILE);
            move || {
                std::thread::sleep(Duration::from_millis(30));
                fs_err::write(path, "pid 17\n").expect("written");
            }
        });
        let error = RunLock::acquire(dir.path()).expect_err("taken").to_string();
        assert!(error.contains("(pid 17)"), "{error}");
        late.join().expect("no panic");
        drop(held);
        RunLock::acquire(dir.path()).expect("free again");
    }
}
