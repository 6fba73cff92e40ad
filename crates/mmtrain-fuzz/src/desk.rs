//! A directory for the files of an input, one for each thread, emptied by nobody: files of a name replace each other.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static DESK: TempDir = tempfile::tempdir().expect("there is room for a temporary directory");
}

/// The directory `name` on the desk, made where it is not there.
pub(crate) fn directory(name: &str) -> PathBuf {
    DESK.with(|desk| {
        let dir = desk.path().join(name);
        fs_err::create_dir_all(&dir).expect("a directory of one's own can be made in");
        dir
    })
}

/// Writes the file `name`, such as `tar/a.tar`, and says where it is.
pub(crate) fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(name);
    let dir = directory(&path.parent().unwrap_or(Path::new("")).to_string_lossy());
    let file = dir.join(path.file_name().expect("a file has a name"));
    fs_err::write(&file, bytes).expect("a directory of one's own can be written in");
    file
}
