//! One module per command.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod dry_run;
pub(crate) mod eval;
pub(crate) mod export;
#[cfg(feature = "fetch")]
pub(crate) mod fetch;
pub(crate) mod generate;
pub(crate) mod inspect;
mod judged;
pub(crate) mod parent;
pub(crate) mod parity;
pub(crate) mod plan;
pub(crate) mod quantize;
pub(crate) mod reference;
mod resume;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod train;
pub(crate) mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use mmtrain_model::device::DeviceChoice;
use mmtrain_train::checkpoint::write_atomically;
use serde::Serialize;

use crate::terminal::{printable, said};

/// What all commands share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// `--device`
    pub(crate) device: DeviceChoice,
    /// `--quiet`
    pub(crate) quiet: bool,
}

/// Directories in which `--config NAME` is looked up.
pub(crate) fn config_dirs() -> Vec<PathBuf> {
    vec![PathBuf::from("configs")]
}

/// Writes what an option names a file for: replaces a file, or the one that a link leads to; what is no file, such as `/dev/stdout`, is written to.
/// A file in a checkpoint is not replaced.
pub(crate) fn write_output(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    if path.parent().is_some_and(|folder| folder.join("manifest.json").exists()) {
        let message =
            format!("`{}` is in a checkpoint, whose files stay as they are: name another place", path.display());
        return Err(std::io::Error::other(message));
    }
    match fs::metadata(path) {
        Ok(there) if there.is_file() => write_atomically(&fs::canonicalize(path)?, contents),
        Ok(_) => fs::write(path, contents),
        Err(_) => write_atomically(path, contents),
    }
}

/// Writes text to stdout, control characters spelled out; a reader that went away is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_exactly(&printable(text))
}

/// Writes text whose control characters are meant, or JSON, which has none.
pub(crate) fn print_exactly(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes one JSON object to stdout.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_exactly(&serde_json::to_string_pretty(value)?)
}

/// Writes a line to stderr, control characters spelled out.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", said(text));
}
