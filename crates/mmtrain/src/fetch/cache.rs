//! Looking models up in the cache, without a connection.

use std::path::{Path, PathBuf};

use super::name::{HubName, is_commit};
use super::settings::Settings;

/// The cache of `huggingface_hub`.
#[derive(Debug)]
pub(crate) struct Cache {
    /// The directory of the repositories.
    pub(crate) root: PathBuf,
}

impl Cache {
    /// The one that the environment names.
    pub(crate) fn from_env() -> Self {
        Self { root: Settings::from_env().cache }
    }

    /// The directory of a repository.
    pub(crate) fn repository(&self, name: &HubName) -> PathBuf {
        self.root.join(name.folder())
    }

    /// The directory with the files of a revision, if it is there.
    pub(crate) fn snapshot(&self, name: &HubName) -> Option<PathBuf> {
        let repository = self.repository(name);
        let commit = commit(&repository, name.revision())?;
        Some(repository.join("snapshots").join(commit)).filter(|dir| dir.is_dir())
    }
}

/// The commit that a revision stood for when it was downloaded.
fn commit(repository: &Path, revision: &str) -> Option<String> {
    if is_commit(revision) {
        return Some(revision.to_owned());
    }
    let text = fs_err::read_to_string(repository.join("refs").join(revision)).ok()?;
    Some(text.trim().to_owned()).filter(|text| is_commit(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_branch_a_ref_with_slashes_and_a_commit_lead_to_the_snapshot() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache { root: dir.path().to_owned() };
        let repository = dir.path().join("models--a--b");
        let snapshot = repository.join("snapshots").join(COMMIT);
        fs_err::create_dir_all(repository.join("refs/refs/pr")).expect("made");
        fs_err::create_dir_all(&snapshot).expect("made");
        fs_err::write(repository.join("refs/main"), COMMIT).expect("written");
        fs_err::write(repository.join("refs/refs/pr/1"), format!("{COMMIT}\n")).expect("written");
        fs_err::write(repository.join("refs/odd"), "../../../../elsewhere").expect("written");
        let find = |text: &str| cache.snapshot(&text.parse().expect("a name"));
        assert_eq!(find("hf:a/b"), Some(snapshot.clone()));
        assert_eq!(find("hf:a/b@refs/pr/1"), Some(snapshot.clone()));
        assert_eq!(find(&format!("hf:a/b@{COMMIT}")), Some(snapshot));
        assert_eq!([find("hf:a/b@odd"), find("hf:a/b@v2"), find("hf:a/c")], [None, None, None]);
    }
}
