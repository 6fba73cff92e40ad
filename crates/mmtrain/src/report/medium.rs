//! Media on a page: as an element that a browser shows or plays, and as files.

use std::borrow::Cow;

use mmtrain_data::{MediaContent, RawMedium};
use mmtrain_media::{MediumKind, sniff_medium};

use super::text::{data_uri, escaped};

/// Larger files are not put into a page.
const MOST_BYTES: usize = 4 << 20;

/// The element for a medium of these bytes; `alt` says what it is where it cannot be seen.
pub(crate) fn element(bytes: &[u8], alt: &str) -> String {
    let uri = |mime: &str| data_uri(mime, bytes);
    match sniff_medium(bytes) {
        Some(MediumKind::Image(kind)) => format!("<img alt=\"{}\" src=\"{}\">", escaped(alt), uri(kind.mime())),
        Some(MediumKind::Audio(kind)) => format!("<audio controls src=\"{}\"></audio>", uri(kind.mime())),
        Some(MediumKind::Video(kind)) => format!("<video controls muted src=\"{}\"></video>", uri(kind.mime())),
        Some(MediumKind::WebPage) | None => "<div class=\"none\">not shown</div>".to_owned(),
    }
}

/// The bytes of a medium, where they are one file that is not too large for a page.
pub(crate) fn small_file(medium: &RawMedium) -> Option<Cow<'_, [u8]>> {
    match &medium.content {
        MediaContent::Bytes(bytes) => (bytes.len() <= MOST_BYTES).then_some(Cow::Borrowed(bytes)),
        MediaContent::File(path) => {
            let is_small = fs_err::metadata(path).is_ok_and(|meta| meta.len() <= MOST_BYTES as u64);
            is_small.then(|| fs_err::read(path).ok().map(Cow::Owned)).flatten()
        }
        // The first of them stands for the clip.
        MediaContent::Frames(pictures) => pictures.first().map(|picture| Cow::Borrowed(picture.as_slice())),
    }
}

/// The usual extension of such a file.
pub(crate) fn extension(bytes: &[u8]) -> &'static str {
    match sniff_medium(bytes) {
        Some(MediumKind::Image(kind)) => kind.extension(),
        Some(MediumKind::Audio(kind)) => kind.extension(),
        Some(MediumKind::Video(kind)) => kind.extension(),
        Some(MediumKind::WebPage) | None => "bin",
    }
}
