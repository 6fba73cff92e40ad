//! Why a video could not be used.

use crate::MediaError;
use crate::medium::is_web_page;

/// Failure to turn a video into frames or samples.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The machine has no `ffmpeg`: nothing is wrong with the video.
    #[error("`{program}` cannot be run: {detail}")]
    NoFfmpeg {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// The system's words.
        detail: String,
    },
    /// The bytes start like none of the supported containers.
    #[error("not a video: starts with `{start}`")]
    NotVideo {
        /// The first bytes, printable.
        start: String,
        /// They are an HTML page.
        web_page: bool,
    },
    /// The file cannot be read, or the bytes not be put into one.
    #[error("video file: {detail}")]
    Unreadable {
        /// The system's words, with the path.
        detail: String,
    },
    /// More bytes, pixels or frames than [`VideoLimits`](crate::VideoLimits) allows.
    #[error("video with {found} {what} exceeds the limit of {most}")]
    TooLarge {
        /// Of which there are too many.
        what: &'static str,
        /// How many.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// It lasts longer than [`VideoLimits::max_secs`](crate::VideoLimits::max_secs).
    #[error("video of {secs:.1} seconds exceeds the limit of {max_secs}")]
    TooLong {
        /// By its header.
        secs: f64,
        /// The limit.
        max_secs: u32,
    },
    /// There are no pictures in it, or no sound.
    #[error("no {what} track")]
    NoTrack {
        /// `video` or `audio`.
        what: &'static str,
    },
    /// A frame that the video does not have is asked for.
    #[error("frame {index} of a video of {frames} frames")]
    NoSuchFrame {
        /// From 0.
        index: u64,
        /// In the video.
        frames: u64,
    },
    /// `ffmpeg` was stopped.
    #[error("not done after {secs} seconds: {stderr}")]
    Timeout {
        /// [`VideoLimits::timeout_secs`](crate::VideoLimits::timeout_secs)
        secs: u32,
        /// The last lines of what it said.
        stderr: String,
    },
    /// Fewer frames than the header claims.
    #[error("the header says {claimed} frames, {found} can be decoded: {stderr}")]
    MissingFrames {
        /// In the header.
        claimed: u64,
        /// Decoded.
        found: u64,
        /// The last lines of what `ffmpeg` said.
        stderr: String,
    },
    /// The data end early or contradict themselves.
    #[error("truncated or corrupt video: {detail}")]
    Corrupt {
        /// The last lines of what `ffmpeg` said.
        detail: String,
    },
}

impl VideoError {
    /// A short name that never changes, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoFfmpeg { .. } => "no_ffmpeg",
            Self::NotVideo { .. } => "not_video",
            Self::Unreadable { .. } => "video_unreadable",
            Self::TooLarge { .. } => "video_too_large",
            Self::TooLong { .. } => "video_too_long",
            Self::NoTrack { .. } => "video_no_track",
            Self::NoSuchFrame { .. } => "video_no_such_frame",
            Self::Timeout { .. } => "video_timeout",
            Self::MissingFrames { .. } | Self::Corrupt { .. } => "video_truncated_or_corrupt",
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFfmpeg { .. } => {
                Some("videos need ffmpeg: `apt-get install ffmpeg`, or a build of it in the PATH".into())
            }
            Self::NotVideo { web_page: true, .. } => {
                Some("the file is a web page; the download of this video failed".into())
            }
            Self::NotVideo { .. } => Some("supported containers are mp4, mov, matroska, webm and avi".into()),
            Self::TooLarge { .. } | Self::TooLong { .. } => {
                Some("cut or shrink the video, or raise the limits for videos if it is trusted".into())
            }
            _ => None,
        }
    }

    pub(crate) fn not_video(bytes: &[u8]) -> Self {
        let start = bytes[..bytes.len().min(16)].escape_ascii().to_string();
        Self::NotVideo { start, web_page: is_web_page(bytes) }
    }

    pub(crate) fn unreadable(error: &std::io::Error) -> Self {
        Self::Unreadable { detail: error.to_string() }
    }

    pub(crate) fn corrupt(detail: impl Into<String>) -> Self {
        Self::Corrupt { detail: detail.into() }
    }
}

impl From<VideoError> for MediaError {
    fn from(error: VideoError) -> Self {
        Self::Clip(Box::new(error))
    }
}
