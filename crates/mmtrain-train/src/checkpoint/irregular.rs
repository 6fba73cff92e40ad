//! What stands in a directory and cannot be what it is called: a pipe that would be waited for, a directory in place of a file, a list
//! of gigabytes. Directories may come from others, so this is looked for before anything in them is opened.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::{LeftoverKind, step_of};

const MIB: u64 = 1 << 20;

/// The largest file of a name that is read as a whole; `None` for what is read in parts, or not at all.
fn most_bytes(name: &str) -> Option<u64> {
    match name {
        "latest" | "best" | "finished" | "run.lock" => return Some(MIB),
        // Read record by record, up to the first that is not good.
        "reference.bin" => return Some(u64::MAX),
        _ => {}
    }
    match name.rsplit_once('.')?.1 {
        "json" | "toml" | "jinja" => Some(256 * MIB),
        "jsonl" => Some(2048 * MIB),
        _ => None,
    }
}

/// What the first such entry of a run's, a checkpoint's or a model's directory is; what is below it is not looked at.
pub fn irregular(dir: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = match fs::metadata(entry.path()) {
            Ok(found) => found,
            // Of a checkpoint's it is told where all checkpoints are looked at; others went while this was read.
            Err(_) if is_checkpoint(&name) || !entry.path().is_symlink() => continue,
            Err(_) => return Ok(Some(format!("`{name}` is a link that leads nowhere"))),
        };
        let most = most_bytes(&name);
        let fault = match found.len() {
            _ if found.is_dir() => most.map(|_| format!("`{name}` is a directory, and a file belongs there")),
            _ if !found.is_file() => Some(format!("`{name}` is no file but a pipe, a socket or a device")),
            _ if name == "plots" || name == "samples" => {
                Some(format!("`{name}` is a file, and a directory belongs there"))
            }
            bytes => most
                .filter(|&most| bytes > most)
                .map(|most| format!("`{name}` has {bytes} bytes, and at most {most} are read of such a file")),
        };
        if fault.is_some() {
            return Ok(fault);
        }
    }
    Ok(None)
}

/// Whether a name is that of a checkpoint, or of what was one or was to be one.
fn is_checkpoint(name: &str) -> bool {
    step_of(name).is_some() || LeftoverKind::of(name).is_some()
}

/// What of a run's directory is a link where files are written: what is written there would go elsewhere. Checkpoints may lie elsewhere,
/// and the run itself may.
pub fn linked(run_dir: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(run_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_checkpoint(&name) && entry.file_type()?.is_symlink() {
            return Ok(Some(format!("`{name}` is a link, and what a run writes there would go elsewhere")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_what_it_is_called_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        let found = || irregular(dir.path()).expect("readable");
        for name in ["state.json", "metrics.jsonl", "latest", "README", "model.safetensors", "report.html"] {
            fs::write(path(name), "x").expect("written");
        }
        fs::create_dir(path("step-00000001")).expect("made");
        assert_eq!(found(), None);
        // A file may say that it is large and take no room.
        for (name, bytes) in [("state.json", 257 * MIB), ("metrics.jsonl", 2049 * MIB), ("latest", 2 * MIB)] {
            let file = std::fs::OpenOptions::new().write(true).open(path(name)).expect("there");
            file.set_len(bytes).expect("sparse");
            let said = found().expect("too large");
            assert!(said.starts_with(&format!("`{name}` has {bytes} bytes")), "{said}");
            file.set_len(1).expect("cut");
        }
        let whole = std::fs::OpenOptions::new().write(true).open(path("model.safetensors")).expect("there");
        whole.set_len(1 << 40).expect("sparse");
        assert_eq!(found(), None, "tensors are read in parts");
        std::os::unix::fs::symlink("nowhere", path("tokenizer.json")).expect("linked");
        assert_eq!(found().as_deref(), Some("`tokenizer.json` is a link that leads nowhere"));
        fs::remove_file(path("tokenizer.json")).expect("removed");
        std::os::unix::fs::symlink("nowhere", path("step-00000007")).expect("linked");
        std::os::unix::fs::symlink("step-00000001", path("step-00000008")).expect("linked");
        assert_eq!((found(), linked(dir.path()).expect("readable")), (None, None), "checkpoints tell of themselves");
        std::os::unix::fs::symlink("README", path("plots")).expect("linked");
        let said = linked(dir.path()).expect("readable").expect("it would be written to");
        assert!(said.starts_with("`plots` is a link"), "{said}");
        fs::remove_file(path("plots")).expect("removed");
        fs::create_dir(path("run.lock")).expect("made");
        assert_eq!(found().as_deref(), Some("`run.lock` is a directory, and a file belongs there"));
        fs::remove_dir(path("run.lock")).expect("removed");
        fs::write(path("samples"), "x").expect("written");
        assert_eq!(found().as_deref(), Some("`samples` is a file, and a directory belongs there"));
    }
}
