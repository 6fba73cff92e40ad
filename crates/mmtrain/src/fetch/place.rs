//! Where downloads end up: in the cache, or in a directory of their own (`--out`).

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use super::cache::Cache;
use super::hub::Contents;
use super::name::{HubName, is_commit, safe_path};
use super::transfer::sha256_of;

/// The files of one commit.
#[derive(Debug)]
pub(crate) enum Place {
    /// Contents in `blobs`, names in `snapshots`.
    Cache {
        /// `models--ORG--NAME`
        repository: PathBuf,
        /// Of all files of this repository; `huggingface_hub` takes the same ones.
        locks: PathBuf,
        /// Of the snapshot.
        commit: String,
    },
    /// Names as in the repository.
    Directory(PathBuf),
}

impl Place {
    /// In the cache.
    pub(crate) fn in_cache(cache: &Cache, name: &HubName, commit: &str) -> Self {
        let locks = cache.root.join(".locks").join(name.folder());
        Self::Cache { repository: cache.repository(name), locks, commit: commit.to_owned() }
    }

    /// The directory that has the files under their names.
    pub(crate) fn dir(&self) -> PathBuf {
        match self {
            Self::Cache { repository, commit, .. } => repository.join("snapshots").join(commit),
            Self::Directory(dir) => dir.clone(),
        }
    }

    /// Where contents lie while they are incomplete. The name says which contents, so that those of another version are
    /// never mixed with them.
    pub(crate) fn partial(&self, contents: &Contents) -> PathBuf {
        match self {
            Self::Cache { .. } => with_ending(&self.complete(contents), ".incomplete"),
            Self::Directory(_) => with_ending(&self.complete(contents), &format!(".{}.incomplete", contents.etag)),
        }
    }

    /// Where contents lie when they are complete.
    fn complete(&self, contents: &Contents) -> PathBuf {
        match self {
            Self::Cache { repository, .. } => repository.join("blobs").join(&contents.etag),
            Self::Directory(dir) => dir.join(relative(contents)),
        }
    }

    /// Whether the contents are here already. In the cache they are named by their hash and appear complete; in another
    /// directory anything may lie, so there the hash decides, and what has none is not trusted.
    pub(crate) fn has(&self, contents: &Contents) -> io::Result<bool> {
        let path = self.complete(contents);
        if !fs::metadata(&path).is_ok_and(|there| there.is_file() && there.len() == contents.size) {
            return Ok(false);
        }
        match (self, &contents.sha256) {
            (Self::Cache { .. }, _) => Ok(true),
            (Self::Directory(_), Some(sha256)) => Ok(sha256_of(&path)? == *sha256),
            (Self::Directory(_), None) => Ok(false),
        }
    }

    /// Keeps other downloads of the same contents out until the answer is dropped.
    pub(crate) fn lock(&self, contents: &Contents) -> io::Result<Option<File>> {
        let Self::Cache { locks, .. } = self else { return Ok(None) };
        fs::create_dir_all(locks)?;
        let file = fs::File::create(locks.join(format!("{}.lock", contents.etag)))?.into_parts().0;
        file.lock()?;
        Ok(Some(file))
    }

    /// Makes the directories that a download needs.
    pub(crate) fn prepare(&self, contents: &Contents) -> io::Result<()> {
        self.complete(contents).parent().map_or(Ok(()), fs::create_dir_all)
    }

    /// Complete contents get their name.
    pub(crate) fn keep(&self, contents: &Contents) -> io::Result<()> {
        fs::rename(self.partial(contents), self.complete(contents))
    }

    /// The name in the snapshot, for contents that are complete.
    pub(crate) fn link(&self, contents: &Contents) -> io::Result<()> {
        let Self::Cache { .. } = self else { return Ok(()) };
        let relative = relative(contents);
        let link = self.dir().join(&relative);
        let up = relative.components().filter(|part| matches!(part, Component::Normal(_))).map(|_| "..");
        let target = up.chain(["..", "blobs"]).collect::<PathBuf>().join(&contents.etag);
        if fs::read_link(&link).is_ok_and(|there| there == target) {
            return Ok(());
        }
        fs::create_dir_all(link.parent().expect("below the snapshot"))?;
        let fresh = with_ending(&link, &format!(".{}.new", std::process::id()));
        symlink(&target, &fresh)?;
        fs::rename(&fresh, &link)
    }

    /// Writes down what a branch or tag stands for, once all of it is there.
    pub(crate) fn name_commit(&self, revision: &str) -> io::Result<()> {
        let Self::Cache { repository, commit, .. } = self else { return Ok(()) };
        if is_commit(revision) {
            return Ok(());
        }
        let path = repository.join("refs").join(revision);
        fs::create_dir_all(path.parent().expect("below the repository"))?;
        let fresh = with_ending(&path, &format!(".{}.new", std::process::id()));
        fs::write(&fresh, commit)?;
        fs::rename(&fresh, &path)
    }
}

fn relative(contents: &Contents) -> PathBuf {
    safe_path(&contents.path).expect("checked in the listing")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
