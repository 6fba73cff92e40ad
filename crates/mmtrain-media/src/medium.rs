//! The kind of a medium, from its first bytes: a picture, a sound, a video, or the web page that a dead link left.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ImageKind, sniff};

/// What bytes are, whatever their file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediumKind {
    /// A picture; an animation counts as its first frame.
    Image(ImageKind),
    /// A sound.
    Audio(AudioKind),
    /// Moving pictures, with or without sound.
    Video(VideoKind),
    /// HTML, such as an error page saved under a picture's name.
    WebPage,
}

/// A container of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioKind {
    /// RIFF WAVE: PCM, float, A-law, µ-law.
    Wav,
    /// Native FLAC.
    Flac,
    /// MPEG audio, layer III.
    Mp3,
    /// Ogg; Vorbis and FLAC in it are decoded.
    Ogg,
    /// AAC or ALAC in MP4; left to `ffmpeg`, as a video's sound is.
    M4a,
}

/// A container of moving pictures; `ffmpeg` decodes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoKind {
    /// MP4, MOV and their relatives.
    Mp4,
    /// Matroska, `WebM`.
    Matroska,
    /// RIFF AVI.
    Avi,
}

impl AudioKind {
    /// The media type, as browsers know it.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::Mp3 => "audio/mpeg",
            Self::Ogg => "audio/ogg",
            Self::M4a => "audio/mp4",
        }
    }

    /// The usual extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Ogg => "ogg",
            Self::M4a => "m4a",
        }
    }
}

impl VideoKind {
    /// The media type, as browsers know it.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Matroska => "video/x-matroska",
            Self::Avi => "video/x-msvideo",
        }
    }

    /// The usual extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "mkv",
            Self::Avi => "avi",
        }
    }
}

impl fmt::Display for AudioKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

impl fmt::Display for VideoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
            Self::Avi => "avi",
        })
    }
}

/// Finds what a medium is by its magic bytes; `None` for anything else.
pub fn sniff_medium(bytes: &[u8]) -> Option<MediumKind> {
    let image = || sniff(bytes).map(MediumKind::Image);
    let audio = || audio_kind(bytes).map(MediumKind::Audio);
    let video = || video_kind(bytes).map(MediumKind::Video);
    image().or_else(audio).or_else(video).or_else(|| is_web_page(bytes).then_some(MediumKind::WebPage))
}

pub(crate) fn audio_kind(bytes: &[u8]) -> Option<AudioKind> {
    match without_id3(bytes) {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(AudioKind::Wav),
        [b'f', b'L', b'a', b'C', ..] => Some(AudioKind::Flac),
        [b'O', b'g', b'g', b'S', ..] => Some(AudioKind::Ogg),
        [_, _, _, _, b'f', b't', b'y', b'p', b'M', b'4', b'A' | b'B', b' ', ..] => Some(AudioKind::M4a),
        frame if is_layer_three(frame) => Some(AudioKind::Mp3),
        _ if bytes.starts_with(b"ID3") => Some(AudioKind::Mp3),
        _ => None,
    }
}

pub(crate) fn video_kind(bytes: &[u8]) -> Option<VideoKind> {
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => is_film(brand).then_some(VideoKind::Mp4),
        // QuickTime from before there were brands
        [_, _, _, _, b'm', b'o', b'o', b'v', ..] | [_, _, _, _, b'm', b'd', b'a', b't', ..] => Some(VideoKind::Mp4),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(VideoKind::Matroska),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Some(VideoKind::Avi),
        _ => None,
    }
}

/// Sounds and still pictures (AVIF, HEIC) are in the same container.
fn is_film(brand: &[u8]) -> bool {
    !matches!(brand.get(..4), None | Some(b"M4A " | b"M4B " | b"avif" | b"heic" | b"heix" | b"mif1"))
}

/// What stands behind an `ID3v2` tag: MP3 and FLAC files have one in front.
pub(crate) fn without_id3(bytes: &[u8]) -> &[u8] {
    let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = *bytes else { return bytes };
    // seven bits a byte
    let size = [a, b, c, d].iter().fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7F));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    bytes.get(10 + size + footer..).unwrap_or_default()
}

/// What stands before the tags at the end of an MP3: an `APEv2` tag, whose pictures may look like frames, and an `ID3v1` tag.
pub(crate) fn without_end_tags(bytes: &[u8]) -> &[u8] {
    let end = bytes.len();
    let bytes = match end.checked_sub(128) {
        Some(tag) if bytes[tag..].starts_with(b"TAG") => &bytes[..tag],
        _ => bytes,
    };
    let footer = bytes.len().checked_sub(32).map(|at| bytes.split_at(at));
    let Some((before, [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d, ..])) = footer else {
        return bytes;
    };
    // items and footer; a header of 32 bytes is not counted
    let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    let start = bytes.len().saturating_sub(size);
    match start.checked_sub(32) {
        Some(header) if bytes[header..].starts_with(b"APETAGEX") => &bytes[..header],
        _ => &bytes[..start.min(before.len())],
    }
}

/// The header of an MPEG audio frame of layer III, none of its fields reserved.
fn is_layer_three(bytes: &[u8]) -> bool {
    let [0xFF, b, c, ..] = *bytes else { return false };
    let (version, layer, bitrate, rate) = (b >> 3 & 3, b >> 1 & 3, c >> 4, c >> 2 & 3);
    b >> 5 == 7 && version != 1 && layer == 1 && !matches!(bitrate, 0 | 15) && rate != 3
}

pub(crate) fn is_web_page(bytes: &[u8]) -> bool {
    let start = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    let starts_with = |tag: &[u8]| start.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    starts_with(b"<!doctype html") || starts_with(b"<html") || starts_with(b"<head")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_name_the_medium() {
        use MediumKind::{Audio, Image, Video};
        for (bytes, kind) in [
            (&b"GIF89a\x01"[..], Image(ImageKind::Gif)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Image(ImageKind::Webp)),
            (b"RIFF\x10\0\0\0WAVEfmt ", Audio(AudioKind::Wav)),
            (b"RIFF\x10\0\0\0AVI LIST", Video(VideoKind::Avi)),
            (b"fLaC\0\0\0\x22", Audio(AudioKind::Flac)),
            (b"OggS\0\x02", Audio(AudioKind::Ogg)),
            (b"\xFF\xFB\x90\x64", Audio(AudioKind::Mp3)),
            (b"\xFF\xF3\x40\xC0", Audio(AudioKind::Mp3)),
            (b"\0\0\0\x20ftypM4A \0\0\0\0", Audio(AudioKind::M4a)),
            (b"\0\0\0\x20ftypisom\0\0\0\0", Video(VideoKind::Mp4)),
            (b"\0\0\0\x14ftypqt  \0\0\0\0", Video(VideoKind::Mp4)),
            (b"\x1A\x45\xDF\xA3\x01", Video(VideoKind::Matroska)),
        ] {
            assert_eq!(sniff_medium(bytes), Some(kind), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_tag_in_front_hides_nothing() {
        let tagged = |rest: &[u8]| [&b"ID3\x04\0\0\0\0\x01\x02"[..], &[0; 130], rest].concat();
        assert_eq!(sniff_medium(&tagged(b"fLaC")), Some(MediumKind::Audio(AudioKind::Flac)));
        assert_eq!(sniff_medium(&tagged(b"\xFF\xFB\x90\x64")), Some(MediumKind::Audio(AudioKind::Mp3)));
        assert_eq!(without_id3(&tagged(b"fLaC")), b"fLaC");
        assert_eq!(without_id3(b"ID3\x04\0\0\x7F\x7F\x7F\x7Fcut"), b"");
    }

    #[test]
    fn an_error_page_is_called_one() {
        for page in ["<!DOCTYPE html><html>404", "\u{feff}\n <HTML lang=en>", "<head><title>"] {
            assert_eq!(sniff_medium(page.as_bytes()), Some(MediumKind::WebPage), "{page}");
        }
    }

    #[test]
    fn what_only_looks_like_a_medium_is_none() {
        for bytes in [
            &b""[..],
            b"plain text",
            b"\xFF\xFE<\0h\0t\0m\0l\0",
            b"\xFF\xF1\x50\x80",
            b"\0\0\0\x1Cftypavif",
            b"\0\0\0\x20ftyp",
            b"RIFF\x10\0\0\0CDDA",
        ] {
            assert_eq!(sniff_medium(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
