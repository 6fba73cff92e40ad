//! Looking at a run's checkpoints without changing anything: which are good, what lies beside them, who works there.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use super::fault::Fault;
use super::lock::LOCK_FILE;
use super::{dir_name, run_id, step_of, steps, verify_of};

/// A checkpoint directory, good or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// The step of its name.
    pub step: u64,
    /// Where it is.
    pub dir: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// Why it is not good; none where it is.
    pub fault: Option<Fault>,
}

impl Inspected {
    /// Whether it verified.
    pub fn is_good(&self) -> bool {
        self.fault.is_none()
    }
}

/// Verifies every checkpoint of a run; ascending. One that retention removes meanwhile is none.
pub fn inspect(run_dir: &Path) -> std::io::Result<Vec<Inspected>> {
    let run = run_id(run_dir);
    let dirs = steps(run_dir)?.into_iter().map(|step| (step, run_dir.join(dir_name(step))));
    let inspected = dirs.map(|(step, dir)| {
        let fault = verify_of(&dir, run.as_deref()).err();
        Inspected { step, bytes: bytes_below(&dir), fault, dir }
    });
    Ok(inspected.filter(|checkpoint| checkpoint.dir.symlink_metadata().is_ok()).collect())
}

/// What something beside the checkpoints was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// `.tmp-…`: a file or checkpoint that was being written.
    Unfinished,
    /// `.trash-…`: a checkpoint that was being removed.
    Removed,
    /// `.bad-…`: a damaged checkpoint that was set aside.
    Damaged,
}

impl LeftoverKind {
    pub(super) fn of(name: &str) -> Option<Self> {
        let kinds = [(".tmp-", Self::Unfinished), (".trash-", Self::Removed), (".bad-", Self::Damaged)];
        kinds.into_iter().find_map(|(prefix, kind)| name.starts_with(prefix).then_some(kind))
    }
}

/// Something that a process which died, or a save over a damaged checkpoint, left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// Its name in the run directory.
    pub name: String,
    /// What it was.
    pub kind: LeftoverKind,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// What lies beside the checkpoints, in order of names.
pub fn leftovers(run_dir: &Path) -> std::io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(run_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = LeftoverKind::of(&name);
        found.extend(kind.map(|kind| Leftover { name, kind, bytes: bytes_below(&entry.path()) }));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// What `latest` or `best` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pointer {
    /// There is no such file.
    Absent,
    /// The checkpoint of that step, which is there.
    To(u64),
    /// Something that is no checkpoint of this run.
    Astray(String),
}

impl Pointer {
    /// Reads the file `name` of a run.
    pub fn read(run_dir: &Path, name: &str) -> Self {
        let bytes = match fs::read(run_dir.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::Absent,
            Err(error) => return Self::Astray(error.to_string()),
        };
        let text = String::from_utf8_lossy(&bytes);
        match step_of(text.trim()).filter(|step| run_dir.join(dir_name(*step)).is_dir()) {
            Some(step) => Self::To(step),
            None => Self::Astray(text.trim().chars().take(LONGEST_NAME).collect()),
        }
    }
}

/// Characters of a pointer that are shown; a file that is none may be of any length.
const LONGEST_NAME: usize = 80;

/// Whether another process works on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LockState {
    /// None does.
    Free,
    /// One does.
    Held {
        /// What it wrote into the lock file.
        holder: String,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        reason: String,
    },
}

impl LockState {
    /// Asks for a shared lock, which is given back at once and changes no file. A run that starts in that very moment is
    /// refused as if the directory was in use.
    pub fn of(run_dir: &Path) -> Self {
        let path = run_dir.join(LOCK_FILE);
        let file = match fs::File::open(&path) {
            Ok(file) => file.into_parts().0,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::Free,
            Err(error) => return Self::Unknown { reason: error.to_string() },
        };
        match file.try_lock_shared() {
            Ok(()) => Self::Free,
            Err(TryLockError::WouldBlock) => Self::Held { holder: holder(&path) },
            Err(TryLockError::Error(error)) => Self::Unknown { reason: error.to_string() },
        }
    }

    /// Whether a process works on the run.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// The lines of the lock file in one.
fn holder(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Bytes of a file, or of all files below a directory; links are not followed.
pub fn bytes_below(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return if metadata.is_file() { metadata.len() } else { 0 };
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.filter_map(Result::ok).map(|entry| bytes_below(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::RunLock;

    #[test]
    fn directories_that_do_not_verify_are_listed_with_the_reason() {
        let run = tempfile::tempdir().expect("temp dir");
        fs::create_dir(run.path().join(dir_name(7))).expect("made");
        fs::write(run.path().join(dir_name(7)).join("state.json"), "12345").expect("written");
        let found = inspect(run.path()).expect("readable");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].step, found[0].bytes, found[0].is_good()), (7, 5, false));
        assert_eq!(found[0].fault, Some(Fault::Damaged("no manifest".to_owned())));
        // A link that leads to itself is there, though nothing is behind it.
        std::os::unix::fs::symlink(dir_name(9), run.path().join(dir_name(9))).expect("linked");
        let found = inspect(run.path()).expect("readable");
        assert_eq!(
            found.iter().map(|checkpoint| (checkpoint.step, checkpoint.is_good())).collect::<Vec<_>>(),
            [(7, false), (9, false)]
        );
        assert!(found[1].fault.is_some());
    }

    #[test]
    fn leftovers_are_told_apart_by_name_and_measured() {
        let run = tempfile::tempdir().expect("temp dir");
        fs::create_dir(run.path().join(".trash-step-00000001")).expect("made");
        for name in [".tmp-latest-7", ".trash-step-00000001/a", ".bad-x", "latest"] {
            fs::write(run.path().join(name), "four").expect("written");
        }
        let found = leftovers(run.path()).expect("readable");
        let kinds = found.iter().map(|leftover| (leftover.kind, leftover.bytes)).collect::<Vec<_>>();
        assert_eq!(kinds, [(LeftoverKind::Damaged, 4), (LeftoverKind::Unfinished, 4), (LeftoverKind::Removed, 4)]);
    }

    #[test]
    fn a_pointer_leads_to_a_checkpoint_that_is_there_or_astray() {
        let run = tempfile::tempdir().expect("temp dir");
        let read = || Pointer::read(run.path(), "latest");
        assert_eq!(read(), Pointer::Absent);
        fs::write(run.path().join("latest"), dir_name(3)).expect("written");
        assert_eq!(read(), Pointer::Astray(dir_name(3)));
        fs::create_dir(run.path().join(dir_name(3))).expect("made");
        assert_eq!(read(), Pointer::To(3));
        fs::write(run.path().join("latest"), "../elsewhere").expect("written");
        assert_eq!(read(), Pointer::Astray("../elsewhere".into()));
    }

    #[test]
    fn a_lock_is_seen_without_being_taken_or_made() {
        let run = tempfile::tempdir().expect("temp dir");
        assert_eq!(LockState::of(run.path()), LockState::Free);
        assert!(!run.path().join(LOCK_FILE).exists());
        let held = RunLock::acquire(run.path()).expect("free");
        let LockState::Held { holder } = LockState::of(run.path()) else { panic!("it is held") };
        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        drop(held);
        assert_eq!(LockState::of(run.path()), LockState::Free);
        RunLock::acquire(run.path()).expect("free again");
    }
}
