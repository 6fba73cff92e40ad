//! Pipes, sockets and devices where files belong: whoever reads one may wait for ever, so directories that may come from others are
//! looked through before anything in them is opened.

use std::path::Path;

use fs_err as fs;
use mmtrain_train::checkpoint::step_of;

use crate::fail::Refusal;

/// Refuses a run's or a model's directory that holds anything but files and directories, in itself or in its checkpoints.
pub(crate) fn refuse_pipes(dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // A link that leads nowhere is told where it is missed.
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() {
            if path.file_name().and_then(|name| step_of(name.to_str()?)).is_some() {
                refuse_pipes(&path)?;
            }
        } else if !found.is_file() {
            return Err(Refusal::storage(
                format!("`{}` is no file but a pipe, a socket or a device", path.display()),
                "no program that writes runs or models makes one; remove it, or take the directory from a source that you trust",
            )
            .into());
        }
    }
    Ok(())
}
