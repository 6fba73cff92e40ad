//! Why a sound could not be used.

use crate::medium::is_web_page;
use crate::{AudioKind, MediaError};

/// Failure to turn bytes into samples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// No bytes, or a container without a sample.
    #[error("no sound: {detail}")]
    Empty {
        /// What is empty.
        detail: &'static str,
    },
    /// The bytes start like none of the supported containers.
    #[error("not a sound: starts with `{start}`")]
    NotAudio {
        /// The first bytes, printable.
        start: String,
        /// They are an HTML page.
        web_page: bool,
    },
    /// The encoded file is larger than [`AudioLimits::max_bytes`](crate::AudioLimits::max_bytes).
    #[error("sound file of {bytes} bytes exceeds the limit of {max_bytes}")]
    TooManyBytes {
        /// Size of the file.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// It lasts longer than [`AudioLimits::max_secs`](crate::AudioLimits::max_secs), by its header or when decoded.
    #[error("{kind} of {secs:.1} seconds or more exceeds the limit of {max_secs}")]
    TooLong {
        /// Container.
        kind: AudioKind,
        /// As far as is known.
        secs: f64,
        /// The limit.
        max_secs: u32,
    },
    /// More channels, or more samples per second, than [`AudioLimits`](crate::AudioLimits) allows.
    #[error("{kind} with {found} {what} exceeds the limit of {most}")]
    TooMuch {
        /// Container.
        kind: AudioKind,
        /// Channels, or samples per second.
        what: &'static str,
        /// In the header.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// A codec or variant that no decoder here reads.
    #[error("unsupported {kind}: {detail}")]
    Unsupported {
        /// Container.
        kind: AudioKind,
        /// The decoder's words.
        detail: String,
    },
    /// The data end early or contradict themselves.
    #[error("truncated or corrupt {kind}: {detail}")]
    Corrupt {
        /// Container.
        kind: AudioKind,
        /// The decoder's words.
        detail: String,
    },
    /// The decoder panicked; only this sound is lost.
    #[error("the {kind} decoder panicked: {detail}")]
    DecoderPanic {
        /// Container.
        kind: AudioKind,
        /// The panic message.
        detail: String,
    },
}

impl AudioError {
    /// A short name that never changes, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "audio_empty",
            Self::NotAudio { .. } => "not_audio",
            Self::TooManyBytes { .. } | Self::TooMuch { .. } => "audio_too_large",
            Self::TooLong { .. } => "audio_too_long",
            Self::Unsupported { .. } => "audio_unsupported",
            Self::Corrupt { .. } => "audio_truncated_or_corrupt",
            Self::DecoderPanic { .. } => "audio_decoder_panic",
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAudio { web_page: true, .. } => {
                Some("the file is a web page; the download of this sound failed".into())
            }
            Self::NotAudio { .. } => Some("supported containers are wav, flac, mp3 and ogg (vorbis)".into()),
            Self::TooManyBytes { .. } | Self::TooLong { .. } | Self::TooMuch { .. } => {
                Some("cut or shrink the sound, or raise the limits for sound if it is trusted".into())
            }
            Self::Unsupported { .. } => Some("convert the sound to flac or 16-bit wav".into()),
            _ => None,
        }
    }

    pub(crate) fn corrupt(kind: AudioKind, detail: impl Into<String>) -> Self {
        Self::Corrupt { kind, detail: detail.into() }
    }

    pub(crate) fn unsupported(kind: AudioKind, detail: impl Into<String>) -> Self {
        Self::Unsupported { kind, detail: detail.into() }
    }

    pub(crate) fn not_audio(bytes: &[u8]) -> Self {
        let start = bytes[..bytes.len().min(16)].escape_ascii().to_string();
        Self::NotAudio { start, web_page: is_web_page(bytes) }
    }
}

impl From<AudioError> for MediaError {
    fn from(error: AudioError) -> Self {
        Self::Sound(Box::new(error))
    }
}
