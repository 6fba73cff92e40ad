//! Videos through `ffmpeg`, in a child process: probed, frames by number, the sound.
//!
//! A child of its own has every codec, and whatever a broken or hostile file does to it, it is one sample that is lost: the
//! child has a deadline and bounds on memory, processor time and output, cannot write files, reads that one file in the
//! container that its first bytes name, and dies with its parent. Frames come through a pipe, never through files.
//!
//! What `ffmpeg` conceals within a frame is not seen here. Frames that are missing are.

mod child;

mod error;

mod ffmpeg;

mod file;

mod frames;
mod headers;

mod limits;

mod probe;

mod soundtrack;

mod tools;

pub use error::VideoError;
pub use ffmpeg::Ffmpeg;
pub use file::VideoFile;
pub use frames::FrameSize;
pub use limits::VideoLimits;
pub use probe::{AudioTrack, VideoInfo};
pub use tools::VideoTools;

#[cfg(test)]
mod tests;
