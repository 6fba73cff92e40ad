//! The list that makes a directory a checkpoint.

use std::io::Read;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// Version of the directory's layout; readers refuse newer ones. Since 2 a manifest vouches for itself and names its run.
pub const FORMAT_VERSION: u32 = 2;

/// `manifest.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The step.
    pub step: u64,
    /// Version of mmtrain that wrote it.
    pub mmtrain: String,
    /// Identity of the run, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// blake3 of the file without these characters, hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    /// Every other file of the directory.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// Reads a manifest that vouches for itself, or is of a version that does not do so yet.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = serde_json::from_str(text).map_err(|error| format!("manifest: {error}"))?;
        match manifest.format_version {
            0 => Err("manifest: there is no format 0".to_owned()),
            1 => Ok(manifest),
            newer if newer > FORMAT_VERSION => {
                Err(format!("format {newer} is newer than this mmtrain's {FORMAT_VERSION}"))
            }
            _ if checksum(text, &manifest.checksum) == manifest.checksum => Ok(manifest),
            _ => Err("the manifest is damaged (its checksum differs)".to_owned()),
        }
    }

    /// What is written.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn to_text(&self) -> serde_json::Result<String> {
        const PLACE: &str = "checksum goes here";
        let text = serde_json::to_string_pretty(&Self { checksum: PLACE.to_owned(), ..self.clone() })?;
        Ok(text.replacen(PLACE, &checksum(&text, PLACE), 1))
    }
}

/// blake3 of `text` without the first `own`.
fn checksum(text: &str, own: &str) -> String {
    blake3::hash(text.replacen(own, "", 1).as_bytes()).to_hex().to_string()
}

/// Identity of the run in a directory: what its `run.json` has as `id`, if it has one.
pub fn run_id(run_dir: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Run {
        id: Option<String>,
    }
    let text = fs_err::read_to_string(run_dir.join("run.json")).ok()?;
    serde_json::from_str::<Run>(&text).ok()?.id
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
    pub fn fault(&self, dir: &Path) -> Option<Fault> {
        if !self.lies_inside() {
            return Some(Fault::Damaged(format!("`{}` leads out of the checkpoint", self.name)));
        }
        let path = dir.join(&self.name);
        let bytes = match fs_err::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) => return Some(error.into()),
        };
        if bytes != self.bytes {
            return Some(Fault::Damaged(format!("`{}` has {bytes} bytes instead of {}", self.name, self.bytes)));
        }
        match hash_file(&path) {
            Ok(hash) if hash == self.blake3 => None,
            Ok(_) => Some(Fault::Damaged(format!("`{}` is damaged (its blake3 differs)", self.name))),
            Err(error) => Some(error.into()),
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
    fn no_byte_of_a_manifest_may_change() {
        let files = vec![FileEntry { name: "model.safetensors".into(), bytes: 5, blake3: "ab".repeat(32) }];
        let (run, checksum) = (Some("run".to_owned()), String::new());
        let manifest =
            Manifest { format_version: FORMAT_VERSION, step: 3, mmtrain: "0.1.0".into(), run, checksum, files };
        let text = manifest.to_text().expect("JSON");
        let read = Manifest::parse(&text).expect("sound");
        assert_eq!(Manifest { checksum: String::new(), ..read }, manifest);
        for (at, bit) in (0..text.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let outcome = String::from_utf8(bytes).map_err(|_| String::new()).and_then(|text| Manifest::parse(&text));
            assert!(outcome.is_err(), "bit {bit} of byte {at}");
        }
    }

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
            assert!(
                fault(name).is_some_and(|fault| fault.to_string().contains("leads out of the checkpoint")),
                "{name}"
            );
        }
    }
}
