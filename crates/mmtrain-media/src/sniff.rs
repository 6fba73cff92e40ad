//! The container of a picture, from its first bytes.
//!
//! Extensions lie in real sets (OCR-VQA keeps GIF and PNG bytes in `.jpg`), and a dead link is often
//! saved as an HTML page named `.jpg`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A container this crate decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG of any colour type and depth.
    Png,
    /// WebP, lossy or lossless.
    Webp,
    /// GIF; the first frame of an animation.
    Gif,
    /// Windows bitmap.
    Bmp,
}

impl ImageKind {
    /// Its media type, such as `image/jpeg`.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
        }
    }

    /// The usual extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
        }
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
        })
    }
}

/// Finds the container by magic bytes; `None` for anything else (HTML, text, other media).
pub fn sniff(bytes: &[u8]) -> Option<ImageKind> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some(ImageKind::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(ImageKind::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageKind::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageKind::Webp),
        [b'B', b'M', ..] if is_bitmap(bytes) => Some(ImageKind::Bmp),
        _ => None,
    }
}

/// `BM` also starts words, so the size of the second header must be one that exists.
fn is_bitmap(bytes: &[u8]) -> bool {
    let header_bytes = bytes.get(14..18).map(|b| [b[0], b[1], b[2], b[3]]);
    matches!(header_bytes.map(u32::from_le_bytes), Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_name_the_container() {
        let riff = b"RIFF\x10\0\0\0WEBPVP8 ";
        assert_eq!(sniff(&[0xFF, 0xD8, 0xFF, 0xE0]), Some(ImageKind::Jpeg));
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n\0\0"), Some(ImageKind::Png));
        assert_eq!(sniff(b"GIF89a\x01"), Some(ImageKind::Gif));
        assert_eq!(sniff(riff), Some(ImageKind::Webp));
    }

    #[test]
    fn other_content_is_no_image() {
        for bytes in [
            &b""[..],
            b"<!DOCTYPE html><html></html>",
            b"BMW is a car maker, not a bitmap",
            b"RIFF\x10\0\0\0WAVEfmt ",
            b"II*\0\x08\0\0\0",
            b"\xFF\xD8",
        ] {
            assert_eq!(sniff(bytes), None, "{bytes:?}");
        }
    }
}
