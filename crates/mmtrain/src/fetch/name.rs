//! What a model on the hub is called: `hf:ORG/NAME`, or `hf:ORG/NAME@REVISION`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::fail::Refusal;

/// What a name begins with.
pub(crate) const SCHEME: &str = "hf:";

/// The branch where no revision is named.
pub(crate) const MAIN: &str = "main";

/// A repository of the hub, and which state of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubName {
    org: String,
    name: String,
    /// A branch, tag or commit; [`MAIN`] where none is named.
    pub(crate) revision: Option<String>,
}

impl HubName {
    /// The name in a path of a configuration, if it is one.
    pub(crate) fn in_path(path: &Path) -> Option<Result<Self, Refusal>> {
        path.to_str().filter(|text| text.starts_with(SCHEME)).map(str::parse)
    }

    /// What a directory of the cache holds.
    pub(crate) fn of_snapshot(dir: &Path) -> Option<Self> {
        let commit = dir.file_name()?.to_str().filter(|name| is_commit(name))?;
        let snapshots = dir.parent().filter(|parent| parent.ends_with("snapshots"))?;
        let folder = snapshots.parent()?.file_name()?.to_str()?;
        let (org, name) = folder.strip_prefix("models--")?.split_once("--")?;
        format!("{SCHEME}{org}/{name}@{commit}").parse().ok()
    }

    /// `ORG/NAME`
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// `models--ORG--NAME`, the directory in the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}--{}", self.org, self.name)
    }

    /// The branch, tag or commit.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// The command that downloads it.
    pub(crate) fn command(&self) -> String {
        let revision = self.revision.as_ref().map(|revision| format!(" --revision {revision}")).unwrap_or_default();
        format!("mmtrain fetch {SCHEME}{}{revision}", self.repository())
    }

    /// The same repository at another revision.
    pub(crate) fn at(self, revision: &str) -> Result<Self, Refusal> {
        if !is_revision(revision) {
            return Err(Refusal::usage(
                format!("`{}` is no revision", revision.escape_debug()),
                "name a branch, a tag or a commit",
            ));
        }
        Ok(Self { revision: Some(revision.to_owned()), ..self })
    }
}

impl FromStr for HubName {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let no_name = || {
            Refusal::usage(
                format!("`{}` is no model of the hub", text.escape_debug()),
                "expected `hf:ORG/NAME`, as in `hf:google/siglip-base-patch16-224`, or `hf:ORG/NAME@REVISION`",
            )
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(no_name)?;
        let (repository, revision) = rest.split_once('@').map_or((rest, None), |(name, at)| (name, Some(at)));
        let (org, name) = repository.split_once('/').ok_or_else(no_name)?;
        if !is_word(org) || !is_word(name) {
            return Err(no_name());
        }
        let plain = Self { org: org.to_owned(), name: name.to_owned(), revision: None };
        revision.map_or(Ok(plain.clone()), |revision| plain.at(revision))
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repository())?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// As `huggingface_hub`'s `validate_repo_id`: `--` would make the directory in the cache ambiguous.
fn is_word(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = text.as_bytes();
    (1..=96).contains(&bytes.len())
        && bytes.iter().all(|&byte| inside(byte))
        && end(bytes.first())
        && end(bytes.last())
        && !text.contains("--")
        && !text.contains("..")
}

/// A branch, tag or commit; also a path below `refs` in the cache.
fn is_revision(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+'))
    };
    text.len() <= 200 && text.split('/').all(part)
}

/// 40 hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A file name of the hub as a path that stays below the directory it is joined to.
#[cfg_attr(not(feature = "fetch"), expect(dead_code, reason = "only downloads have file names of the hub"))]
pub(crate) fn safe_path(name: &str) -> Option<PathBuf> {
    let safe = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= 255
            && !part.contains(['\\', ':'])
            && !part.chars().any(char::is_control)
    };
    (name.len() <= 4096 && name.split('/').all(safe)).then(|| name.split('/').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_organisation_a_name_and_perhaps_a_revision() {
        let plain = "hf:google/siglip-base".parse::<HubName>().expect("a name");
        assert_eq!((plain.repository().as_str(), plain.revision()), ("google/siglip-base", "main"));
        assert_eq!(plain.folder(), "models--google--siglip-base");
        assert_eq!(plain.command(), "mmtrain fetch hf:google/siglip-base");
        let pinned = "hf:a/b.c@refs/pr/7".parse::<HubName>().expect("a name");
        assert_eq!((pinned.revision(), pinned.to_string().as_str()), ("refs/pr/7", "hf:a/b.c@refs/pr/7"));
        assert_eq!(pinned.command(), "mmtrain fetch hf:a/b.c --revision refs/pr/7");
    }

    #[test]
    fn a_directory_of_the_cache_says_what_it_holds() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let dir = format!("/hub/models--a--b-c/snapshots/{commit}");
        let name = HubName::of_snapshot(Path::new(&dir)).expect("a name");
        assert_eq!(name.to_string(), format!("hf:a/b-c@{commit}"));
        for other in ["/hub/models--a--b/snapshots/main", "/models--a--b", "/"] {
            assert_eq!(HubName::of_snapshot(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        let bad = ["", "google/x", "hf:", "hf:x", "hf:a/b/c", "hf:../x", "hf:a/..", "hf:a/.b", "hf:a/b--c", "hf:a/b\n"];
        for text in bad {
            assert!(text.parse::<HubName>().is_err(), "{text:?}");
        }
        for revision in ["", "..", "a/../b", "/a", "a//b", "-x", "a b", "a\\b", "a/.lock"] {
            assert!(format!("hf:a/b@{revision}").parse::<HubName>().is_err(), "{revision:?}");
        }
    }

    #[test]
    fn file_names_stay_below_their_directory() {
        assert_eq!(safe_path("onnx/model.json"), Some(PathBuf::from("onnx/model.json")));
        for name in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\..\\b", "C:x", "a\0b", "a/"] {
            assert_eq!(safe_path(name), None, "{name:?}");
        }
    }
}
