//! A directory that is made beside its place and renamed: it is whole or not there.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::commands::note;
use crate::fail::Refusal;

/// Writes into a directory beside `out` and renames it. What a process that was killed has left there goes first.
pub(in crate::commands) fn in_place<T>(
    out: &Path,
    write: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (parent, name) = parent_and_name(out)?;
    fs::create_dir_all(&parent)?;
    remove_leftovers(&parent, &name)?;
    let temporary = parent.join(format!("{}{}", lead(&name), std::process::id()));
    fs::create_dir(&temporary)?;
    // The kernel lets go of it when the process dies, so that what is left is known to be nobody's.
    let held = fs::File::open(&temporary)?;
    held.file().lock()?;
    let written = write(&temporary).and_then(|written| {
        fs::rename(&temporary, out)?;
        Ok(written)
    });
    if written.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

fn parent_and_name(out: &Path) -> Result<(PathBuf, String), Refusal> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    match out.file_name() {
        Some(name) => Ok((parent, name.to_string_lossy().into_owned())),
        None => Err(Refusal::usage(format!("`{}` names no directory", out.display()), "give one to `--out`")),
    }
}

/// What the name of a directory that is being written begins with; the number of the process follows.
fn lead(name: &str) -> String {
    format!(".tmp-{name}-")
}

fn remove_leftovers(parent: &Path, name: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let process = entry.file_name().to_string_lossy().strip_prefix(&lead(name)).map(str::to_owned);
        let is_ours = process.is_some_and(|process| process.bytes().all(|byte| byte.is_ascii_digit()));
        if is_ours && entry.path().is_dir() && is_free(&entry.path())? {
            fs::remove_dir_all(entry.path())?;
            note(&format!("removed `{}`, which an export that did not end had left", entry.path().display()));
        }
    }
    Ok(())
}

/// Whether no process writes into it.
fn is_free(dir: &Path) -> std::io::Result<bool> {
    match fs::File::open(dir)?.file().try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").file_name());
        let mut names = entries.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
        names.sort();
        names
    }

    #[test]
    fn what_is_left_goes_and_what_is_held_or_of_another_stays() {
        let place = tempfile::tempdir().expect("a directory");
        for name in [".tmp-model-1", ".tmp-model-2", ".tmp-model-x", ".tmp-model-other-3", ".tmp-other-4"] {
            fs::create_dir(place.path().join(name)).expect("made");
            fs::write(place.path().join(name).join("model.safetensors"), "half").expect("written");
        }
        let held = fs::File::open(place.path().join(".tmp-model-2")).expect("opened");
        held.file().lock().expect("free");
        in_place(&place.path().join("model"), |out| Ok(fs::write(out.join("config.json"), "{}")?)).expect("written");
        let stay = [".tmp-model-2", ".tmp-model-other-3", ".tmp-model-x", ".tmp-other-4", "model"];
        assert_eq!(names(place.path()), stay);
        assert_eq!(names(&place.path().join("model")), ["config.json"]);
    }

    #[test]
    fn nothing_stays_of_what_fails() {
        let place = tempfile::tempdir().expect("a directory");
        let failed = in_place::<()>(&place.path().join("model"), |_| anyhow::bail!("no"));
        assert!(failed.is_err() && names(place.path()).is_empty());
    }
}
