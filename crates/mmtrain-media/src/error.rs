//! Why a medium could not be used.

use crate::audio::AudioError;
use crate::limits::MAX_SIDE;
use crate::video::VideoError;
use crate::{ImageKind, Size};

/// Failure to turn bytes into pixels, or to read a processor description.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// There are no bytes at all.
    #[error("empty file (0 bytes)")]
    Empty,
    /// The bytes start like none of the supported containers.
    #[error("not an image: starts with `{start}`")]
    NotAnImage {
        /// The first bytes, printable.
        start: String,
    },
    /// The encoded file is larger than [`MediaLimits::max_bytes`](crate::MediaLimits::max_bytes).
    #[error("image file of {bytes} bytes exceeds the limit of {max_bytes}")]
    TooManyBytes {
        /// Size of the file.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The header announces more pixels than [`MediaLimits`](crate::MediaLimits) allows.
    #[error("{kind} of {width}x{height} pixels exceeds the limit of {max_side} a side, {max_pixels} in all")]
    TooManyPixels {
        /// Container.
        kind: ImageKind,
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
        /// Limit per side.
        max_side: u32,
        /// Limit of the product.
        max_pixels: u64,
    },
    /// The decoder would need more memory than the pixels justify.
    #[error("{kind} needs more memory than its size justifies: {detail}")]
    TooMuchMemory {
        /// Container.
        kind: ImageKind,
        /// The decoder's words.
        detail: String,
    },
    /// The data end early or contradict themselves.
    #[error("truncated or corrupt {kind}: {detail}")]
    Corrupt {
        /// Container.
        kind: ImageKind,
        /// The decoder's words.
        detail: String,
    },
    /// A colour layout that has no defined meaning in RGB.
    #[error("{kind} with unsupported colour layout: {detail}")]
    UnsupportedColor {
        /// Container.
        kind: ImageKind,
        /// Which layout.
        detail: String,
    },
    /// A legal variant of the format that no decoder here reads (arithmetic-coded JPEG, ...).
    #[error("unsupported {kind} variant: {detail}")]
    UnsupportedVariant {
        /// Container.
        kind: ImageKind,
        /// The decoder's words.
        detail: String,
    },
    /// The decoder panicked; only this picture is lost.
    #[error("the {kind} decoder panicked: {detail}")]
    DecoderPanic {
        /// Container.
        kind: ImageKind,
        /// The panic message.
        detail: String,
    },
    /// A size that the processor has no answer for, or none of reasonable cost.
    #[error("picture of {size} pixels: {detail}")]
    UnusableSize {
        /// The picture's.
        size: Size,
        /// Why.
        detail: String,
    },
    /// Frames that make no clip.
    #[error("video: {detail}")]
    Video {
        /// Why.
        detail: String,
    },
    /// Samples that make no features.
    #[error("audio: {detail}")]
    Audio {
        /// Why.
        detail: String,
    },
    /// A sound whose bytes could not be decoded.
    #[error(transparent)]
    Sound(Box<AudioError>),
    /// A video that could not be decoded, or a machine that has nothing to do it with.
    #[error(transparent)]
    Clip(Box<VideoError>),
    /// A `preprocessor_config.json` that is not JSON or lacks what is needed.
    #[error("image processor: {detail}")]
    Processor {
        /// What is wrong, with the key.
        detail: String,
    },
}

impl MediaError {
    /// A short name that never changes, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage { .. } => "not_an_image",
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } | Self::TooMuchMemory { .. } => "too_large",
            Self::Corrupt { .. } => "truncated_or_corrupt",
            Self::UnsupportedColor { .. } => "unsupported_color",
            Self::UnsupportedVariant { .. } => "unsupported_variant",
            Self::DecoderPanic { .. } => "decoder_panic",
            Self::UnusableSize { .. } => "unusable_size",
            Self::Video { .. } => "bad_video",
            Self::Audio { .. } => "bad_audio",
            Self::Sound(error) => error.reason(),
            Self::Clip(error) => error.reason(),
            Self::Processor { .. } => "bad_processor_config",
        }
    }

    /// Whether the machine lacks something (`ffmpeg`), so that no medium of the kind could be used: an error of the run,
    /// not of the sample.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Clip(error) if matches!(**error, VideoError::NoFfmpeg { .. }))
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAnImage { start } if start.starts_with("<svg") => {
                Some("SVG is a drawing, not pixels: convert it to PNG".into())
            }
            Self::NotAnImage { start } if start.starts_with("<?xml") => {
                Some("the file is XML, perhaps an SVG drawing: convert it to PNG".into())
            }
            Self::NotAnImage { start } if start.starts_with('<') => {
                Some("the file is a web page; the download of this picture failed".into())
            }
            Self::NotAnImage { .. } => Some("supported containers are jpeg, png, webp, gif and bmp".into()),
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } => {
                Some("shrink the picture, or raise `data.limits` in the configuration if it is trusted".into())
            }
            Self::UnsupportedVariant { .. } | Self::UnsupportedColor { .. } => {
                Some("convert the picture to 8-bit RGB JPEG or PNG".into())
            }
            Self::Sound(error) => error.hint(),
            Self::Clip(error) => error.hint(),
            _ => None,
        }
    }

    pub(crate) fn corrupt(kind: ImageKind, detail: impl Into<String>) -> Self {
        Self::Corrupt { kind, detail: detail.into() }
    }

    pub(crate) fn not_an_image(bytes: &[u8]) -> Self {
        let head = &bytes[..bytes.len().min(16)];
        Self::NotAnImage { start: head.escape_ascii().to_string() }
    }

    pub(crate) fn size(size: Size, detail: impl Into<String>) -> Self {
        Self::UnusableSize { size, detail: detail.into() }
    }

    /// A side that a processor asks for is 1 to 4096 pixels.
    pub(crate) fn check_side(key: &str, side: u32) -> Result<(), Self> {
        match side {
            1..=MAX_SIDE => Ok(()),
            _ => Err(Self::processor(format!("`{key}` is {side}, must be 1 to {MAX_SIDE} pixels"))),
        }
    }

    pub(crate) fn video(detail: impl Into<String>) -> Self {
        Self::Video { detail: detail.into() }
    }

    pub(crate) fn audio(detail: impl Into<String>) -> Self {
        Self::Audio { detail: detail.into() }
    }

    pub(crate) fn processor(detail: impl Into<String>) -> Self {
        Self::Processor { detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_told_apart_by_how_it_starts() {
        let hint = |bytes: &[u8]| MediaError::not_an_image(bytes).hint().expect("a hint");
        assert!(hint(b"<svg xmlns=\"http://www.w3.org/2000/svg\">").contains("SVG"));
        assert!(hint(b"<?xml version=\"1.0\"?><svg>").contains("SVG"));
        assert!(hint(b"<!DOCTYPE html><html>").contains("web page"));
        assert!(hint(b"plain text").contains("jpeg"));
    }
}
