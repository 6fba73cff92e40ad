//! Names of media as rows have them: cleaned, mapped, and with the extensions they may really have.

use std::path::{Component, Path};

use mmtrain_text::MediaKind;

use crate::sample::Reject;

/// Longest name that is looked up, in bytes.
const MAX_NAME_BYTES: usize = 4096;

/// The extensions of a kind of medium, in the order in which they are tried.
///
/// OCR-VQA's rows say `.jpg` of pictures that lie there as `.png` and `.gif`; `WavCaps` says `.wav` of FLAC files,
/// Video-ChatGPT's clips have any of five extensions and their rows none.
pub(super) fn extensions(kind: MediaKind) -> &'static [&'static str] {
    match kind {
        MediaKind::Image => &["jpg", "png", "gif", "webp", "jpeg"],
        MediaKind::Audio => &["wav", "flac", "mp3", "ogg"],
        MediaKind::Video => &["mp4", "mkv", "webm", "avi", "mov"],
    }
}

/// `name` itself, then with each other extension of its kind: in place of one of them, behind anything else.
pub(super) fn candidates(name: &str, kind: MediaKind) -> impl Iterator<Item = String> + '_ {
    let known = extensions(kind);
    let is_known = |ext: &str| known.iter().any(|known| known.eq_ignore_ascii_case(ext));
    let stem = name.rsplit_once('.').filter(|(_, ext)| is_known(ext)).map_or(name, |(stem, _)| stem);
    let others = known.iter().map(move |ext| format!("{stem}.{ext}")).filter(move |other| other != name);
    std::iter::once(name.to_owned()).chain(others)
}

/// A name that begins with `from` gets `to` in its place; `from` ends at the end of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMap {
    /// What rows have.
    pub from: String,
    /// What is there.
    pub to: String,
}

impl PathMap {
    pub(super) fn apply(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(&self.from)?;
        let is_whole = self.from.is_empty() || self.from.ends_with('/') || rest.is_empty() || rest.starts_with('/');
        let rest = rest.trim_start_matches('/');
        let joint = if self.to.is_empty() || self.to.ends_with('/') || rest.is_empty() { "" } else { "/" };
        is_whole.then(|| format!("{}{joint}{rest}", self.to))
    }
}

/// `name` below a root, with `/` between its parts; refused where it would leave the root. Blanks and entities stay:
/// Clotho has files called ` Ambience &amp; Birds.wav`.
pub(super) fn inside(name: &str) -> Result<String, Reject> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(Reject::new("missing_media", "the name is empty or too long".to_owned()));
    }
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside(name)),
        }
    }
    if name.contains('\0') {
        return Err(outside(name));
    }
    Ok(parts.join("/"))
}

pub(super) fn outside(name: &str) -> Reject {
    let detail = format!("`{}` is not below a place where media may lie", name.escape_debug());
    Reject::new("media_path_outside", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(name: &str, kind: MediaKind) -> Vec<String> {
        candidates(name, kind).collect()
    }

    #[test]
    fn the_name_comes_first_and_then_its_other_extensions() {
        assert_eq!(all("a/1.jpg", MediaKind::Image), ["a/1.jpg", "a/1.png", "a/1.gif", "a/1.webp", "a/1.jpeg"]);
        assert_eq!(all("Y1.wav", MediaKind::Audio)[..2], ["Y1.wav", "Y1.flac"]);
        assert_eq!(all("v_-a.b", MediaKind::Video)[..2], ["v_-a.b", "v_-a.b.mp4"]);
        assert_eq!(all("1.JPG", MediaKind::Image)[..2], ["1.JPG", "1.jpg"]);
    }

    #[test]
    fn a_map_takes_whole_parts_of_a_path() {
        let map = |from: &str, to: &str, name: &str| PathMap { from: from.into(), to: to.into() }.apply(name);
        assert_eq!(map("llava/images", "558k", "llava/images/0/1.jpg").as_deref(), Some("558k/0/1.jpg"));
        assert_eq!(map("llava/images/", "558k/", "llava/images/0/1.jpg").as_deref(), Some("558k/0/1.jpg"));
        assert_eq!(map("llava/images/", "558k", "llava/images/1.jpg").as_deref(), Some("558k/1.jpg"));
        assert_eq!(map("llava/images", "558k/", "llava/images/1.jpg").as_deref(), Some("558k/1.jpg"));
        assert_eq!(map("images", "", "images/1.jpg").as_deref(), Some("1.jpg"));
        assert_eq!(map("", "sub", "1.jpg").as_deref(), Some("sub/1.jpg"));
        assert_eq!(map("img", "x", "images/1.jpg"), None);
        assert_eq!(map("image", "x", "images/1.jpg"), None);
    }

    #[test]
    fn names_that_would_leave_their_root_are_refused() {
        for name in ["../a", "a/../../b", "/etc/passwd", "a\0b", "a/.."] {
            assert_eq!(inside(name).expect_err("refused").reason, "media_path_outside", "{name:?}");
        }
        assert_eq!(inside("./a//b c/ d &amp;.wav").expect("a name"), "a/b c/ d &amp;.wav");
        assert_eq!(inside("").expect_err("refused").reason, "missing_media");
        assert_eq!(inside(&"x".repeat(10_000)).expect_err("refused").reason, "missing_media");
    }
}
