//! One process per run directory.

use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::TrainError;

/// The lock's name in a run directory.
pub const LOCK_FILE: &str = "run.lock";

/// Holds `run.lock` until dropped; the kernel lets go of it when the process dies, and the children that it was just making: until such a
/// child is another program, it has the lock as well.
#[derive(Debug)]
pub struct RunLock {
    file: std::fs::File,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Of the children too, which closing the file does not do.
        let _ = self.file.unlock();
    }
}

/// How long children of a holder that is gone are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

impl RunLock {
    /// Takes the lock, or says who has it. Where the file system has no locks there is none to be taken; that it has none is
    /// what [`FileSystem::try_out`](crate::machine::FileSystem::try_out) finds.
    pub fn acquire(run_dir: &Path) -> Result<Self, TrainError> {
        let path = run_dir.join(LOCK_FILE);
        let file = fs_err::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut file = file.into_parts().0;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    if !is_gone(&holder) || begin.elapsed() > PATIENCE {
                        return Err(TrainError::InUse { path: run_dir.to_owned(), holder });
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::Error(error)) => {
                    tracing::debug!("`{}` cannot be locked: {error}", path.display());
                    break;
                }
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "pid {}", std::process::id())?;
        Ok(Self { file })
    }
}

/// Whether a holder is no process any more.
fn is_gone(holder: &str) -> bool {
    let pid = holder.strip_prefix("pid ").and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| Path::new("/proc/self").exists() && !Path::new("/proc").join(pid.to_string()).exists())
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
                fs_err::write(path, "pid 1\n").expect("written");
            }
        });
        let error = RunLock::acquire(dir.path()).expect_err("taken").to_string();
        assert!(error.contains("(pid 1)"), "{error}");
        late.join().expect("no panic");
        drop(held);
        RunLock::acquire(dir.path()).expect("free again");
    }

    #[test]
    fn what_a_child_has_inherited_goes_with_the_holder() {
        let dir = tempfile::tempdir().expect("temp dir");
        let held = RunLock::acquire(dir.path()).expect("free");
        let inherited = held.file.try_clone().expect("the same open file");
        drop(held);
        RunLock::acquire(dir.path()).expect("free, though a child has the file open");
        drop(inherited);
    }

    #[test]
    fn children_of_a_holder_that_was_killed_are_waited_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join(LOCK_FILE);
        // No process has such a number.
        fs_err::write(&path, "pid 4294967295\n").expect("written");
        let child = std::fs::File::open(&path).expect("opened");
        child.lock().expect("free");
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(child);
        });
        RunLock::acquire(dir.path()).expect("free once the child is another program");
        late.join().expect("no panic");
    }
}
