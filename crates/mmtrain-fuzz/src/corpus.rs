//! The committed seeds, and inputs that did harm once.

use std::path::PathBuf;

/// The folder with the fuzzers.
fn folder(kind: &str, target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target)
}

/// Names and bytes of a folder's files, by name.
fn files(dir: PathBuf) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs_err::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((name, fs_err::read(path).ok()?))
    });
    let mut named = named.collect::<Vec<_>>();
    named.sort();
    named
}

/// Whole inputs of a target.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    files(folder("corpus", target))
}

/// Inputs of a target that did harm once.
pub fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    files(folder("regressions", target))
}
