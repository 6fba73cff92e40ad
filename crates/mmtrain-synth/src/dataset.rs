//! A data set: looked for, made beside its place, and put there whole.
//!
//! `synth.json` records the options and the sizes of the files, so that making it twice is no work and
//! other options, foreign directories and lost files are told apart.

use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::output::{FileEntry, Output};
use crate::staging::Staging;
use crate::{Like, SynthError, SynthOptions, SynthReport, format};

pub(crate) const MANIFEST: &str = "synth.json";

/// `synth.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    like: Like,
    options: SynthOptions,
    /// Once there was CC3M only, and these were its shards.
    #[serde(alias = "shards")]
    files: Vec<FileEntry>,
}

/// Raised when the same options would make other bytes of such a set.
fn format_version(like: Like) -> u32 {
    match like {
        // Words stand on a grid, dark on light, and rows for training do not end with all that is written; of pairs half of the
        // questions want a word, and what is not there is counted as well.
        Like::Reading | Like::RlhfV | Like::RlaifV => 2,
        _ => 1,
    }
}

/// Makes the dataset in `out`, or finds that it is there already.
///
/// The directory appears only when it is complete. One that holds anything else, or a dataset of other
/// options, is left alone and is an error.
pub fn write_dataset(like: Like, out: &Path, options: &SynthOptions) -> Result<SynthReport, SynthError> {
    write_dataset_until(&|| false, like, out, options)
}

/// As [`write_dataset`], but ends with [`SynthError::Stopped`] soon after `stop` says so; it is asked before each
/// sample, by several threads. Nothing half-made is left behind.
pub fn write_dataset_until(
    stop: &(dyn Fn() -> bool + Sync),
    like: Like,
    out: &Path,
    options: &SynthOptions,
) -> Result<SynthReport, SynthError> {
    options.validate(like)?;
    if let Some(report) = already_there(like, out, options)? {
        return Ok(report);
    }
    let staging = Staging::begin(out)?;
    // another writer may have finished between the look and the lock
    if let Some(report) = already_there(like, out, options)? {
        return Ok(report);
    }
    let output = Output::new(options, staging.path(), out, stop);
    format::write(like, &output)?;
    output.go_on()?;
    let files = output.into_files();
    let manifest = Manifest { format_version: format_version(like), like, options: options.clone(), files };
    fs::write(staging.path().join(MANIFEST), pretty(&manifest)?)?;
    staging.commit()?;
    Ok(report(out, &manifest, true))
}

/// The report if `out` holds this very dataset, `None` if it is absent or empty.
fn already_there(like: Like, out: &Path, options: &SynthOptions) -> Result<Option<SynthReport>, SynthError> {
    if !out.exists() || (out.is_dir() && fs::read_dir(out)?.next().is_none()) {
        return Ok(None);
    }
    let path = out.join(MANIFEST);
    if !path.is_file() {
        return Err(SynthError::NotOurs { path: out.to_owned() });
    }
    let damaged = |detail: String| SynthError::Damaged { path: out.to_owned(), detail };
    let manifest: Manifest =
        serde_json::from_slice(&fs::read(&path)?).map_err(|e| damaged(format!("`{MANIFEST}`: {e}")))?;
    let differences = manifest.differences(like, options);
    if !differences.is_empty() {
        return Err(SynthError::OtherOptions { path: out.to_owned(), differences: differences.join("; ") });
    }
    match manifest.files.iter().find_map(|file| fault(out, file)) {
        Some(detail) => Err(damaged(detail)),
        None => Ok(Some(report(out, &manifest, false))),
    }
}

impl Manifest {
    /// What is there and what is asked for, where they differ.
    fn differences(&self, like: Like, options: &SynthOptions) -> Vec<String> {
        let mut differences = options.differences(&self.options);
        if self.like != like {
            differences.insert(0, format!("it is like {}, asked for {like}", self.like));
        }
        let now = format_version(like);
        if self.like == like && self.format_version != now {
            differences.push(format!("format_version is {}, now {now}", self.format_version));
        }
        differences
    }
}

/// What is wrong with a file.
fn fault(out: &Path, file: &FileEntry) -> Option<String> {
    match fs::metadata(out.join(&file.name)) {
        Ok(found) if found.len() == file.bytes => None,
        Ok(found) => Some(format!("`{}` has {} bytes, had {}", file.name, found.len(), file.bytes)),
        Err(_) => Some(format!("`{}` is gone", file.name)),
    }
}

fn report(out: &Path, manifest: &Manifest, created: bool) -> SynthReport {
    SynthReport {
        out: out.to_owned(),
        created,
        train_samples: manifest.options.samples,
        validation_samples: manifest.options.validation_samples,
        files: manifest.files.len(),
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
    }
}

/// JSON with four spaces of indent.
pub(crate) fn pretty(value: &impl Serialize) -> Result<Vec<u8>, SynthError> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}
