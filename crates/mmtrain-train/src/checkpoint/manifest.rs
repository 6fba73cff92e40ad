//! The list that makes a directory a checkpoint.

use std::io::Read;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// Version of the directory's layout; readers refuse newer ones.
pub const FORMAT_VERSION: u32 = 1;

/// `manifest.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The step.
    pub step: u64,
    /// Version of mmtrain that wrote it.
    pub mmtrain: String,
    /// Every other file of the directory.
    pub files: Vec<FileEntry>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// File name, without a path.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Hash of the contents, hexadecimal.
    pub blake3: String,
}

impl FileEntry {
    /// Whether `contents` are those that were written.
    pub fn vouches_for(&self, contents: &[u8]) -> bool {
        contents.len() as u64 == self.bytes && blake3::hash(contents).to_hex().as_str() == self.blake3
    }

    /// Files may lie in folders of the checkpoint, and nowhere else.
    fn lies_inside(&self) -> bool {
        let mut parts = Path::new(&self.name).components();
        !self.name.is_empty() && !self.name.contains('\\') && parts.all(|part| matches!(part, Component::Normal(_)))
    }

    /// Why the file in `dir` is not what was written, if it is not.
    pub fn fault(&self, dir: &Path) -> Option<String> {
        if !self.lies_inside() {
            return Some(format!("`{}` leads out of the checkpoint", self.name));
        }
        let path = dir.join(&self.name);
        let bytes = match fs_err::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) => return Some(error.to_string()),
        };
        if bytes != self.bytes {
            return Some(format!("`{}` has {bytes} bytes instead of {}", self.name, self.bytes));
        }
        match hash_file(&path) {
            Ok(hash) if hash == self.blake3 => None,
            Ok(_) => Some(format!("`{}` is damaged (its blake3 differs)", self.name)),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            read => hasher.update(&buffer[..read]),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_lie_in_a_folder_and_not_outside_of_the_checkpoint() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs_err::create_dir(dir.path().join("folder")).expect("made");
        fs_err::write(dir.path().join("folder/file"), "words").expect("written");
        let fault = |name: &str| {
            let blake3 = blake3::hash(b"words").to_hex().to_string();
            FileEntry { name: name.to_owned(), bytes: 5, blake3 }.fault(dir.path())
        };
        assert_eq!(fault("folder/file"), None);
        let absolute = dir.path().join("folder/file").display().to_string();
        for name in ["../folder/file", "folder/../folder/file", absolute.as_str(), "folder\\file", ""] {
            assert!(fault(name).is_some_and(|fault| fault.contains("leads out of the checkpoint")), "{name}");
        }
    }
}
