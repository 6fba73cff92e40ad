//! Small data sets, and what is in them.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use mmtrain_synth::{Like, SynthOptions, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// 25 samples and 6 that are held out, in shards of 10.
pub(crate) fn small() -> SynthOptions {
    SynthOptions { validation_samples: 6, shard_size: 10, ..SynthOptions::new(25, 7) }
}

/// A data set in a directory that goes with it.
pub(crate) fn make(like: Like, options: &SynthOptions) -> Outcome<TempDir> {
    let root = tempfile::tempdir()?;
    write_dataset(like, root.path(), options)?;
    Ok(root)
}

/// All files below `directory`, by their path in it.
pub(crate) fn contents(directory: &Path) -> Outcome<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    collect(directory, "", &mut files)?;
    Ok(files)
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Outcome<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().display());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The rows of a JSON array.
pub(crate) fn rows(path: &Path) -> Outcome<Vec<Value>> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Whether clips can be made here.
pub(crate) fn has_ffmpeg() -> bool {
    std::process::Command::new("ffmpeg").arg("-version").output().is_ok_and(|answer| answer.status.success())
}
