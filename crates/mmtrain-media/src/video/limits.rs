//! Bounds of what a video may cost, here and in the child process that decodes it.

use serde::{Deserialize, Serialize};

use super::error::VideoError;
use crate::Size;

/// What a video may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VideoLimits {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// Longest video, in seconds.
    pub max_secs: u32,
    /// Largest `width x height` of a frame.
    pub max_pixels: u64,
    /// Most frames that are taken at once.
    pub max_frames: u32,
    /// Most bytes of decoded frames that are kept at once, or of decoded sound.
    pub max_decoded_bytes: u64,
    /// How long a child process may take, in seconds.
    pub timeout_secs: u32,
    /// Address space of a child process, in bytes.
    pub max_child_bytes: u64,
}

impl Default for VideoLimits {
    /// 4 GiB, four hours, 8K (33 megapixels), 1024 frames, 4 GiB decoded; two minutes and 4 GiB for a child.
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            max_secs: 4 * 3600,
            max_pixels: 7680 * 4320,
            max_frames: 1024,
            max_decoded_bytes: 4 << 30,
            timeout_secs: 120,
            max_child_bytes: 4 << 30,
        }
    }
}

impl VideoLimits {
    pub(super) fn check_bytes(&self, bytes: u64) -> Result<(), VideoError> {
        at_most("bytes", bytes, self.max_bytes)
    }

    pub(super) fn check_header(&self, size: Size, secs: f64) -> Result<(), VideoError> {
        if size.pixels() == 0 {
            return Err(VideoError::corrupt(format!("frames of {size} pixels")));
        }
        at_most("pixels a frame", size.pixels(), self.max_pixels)?;
        if secs > f64::from(self.max_secs) {
            return Err(VideoError::TooLong { secs, max_secs: self.max_secs });
        }
        Ok(())
    }

    /// `frames` of `size` pixels, three bytes each.
    pub(super) fn check_frames(&self, frames: usize, size: Size) -> Result<(), VideoError> {
        at_most("frames asked for", frames as u64, self.max_frames.into())?;
        let bytes = (frames as u64).saturating_mul(size.pixels()).saturating_mul(3);
        at_most("bytes of decoded frames", bytes, self.max_decoded_bytes)
    }
}

fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), VideoError> {
    if found > most {
        return Err(VideoError::TooLarge { what, found, most });
    }
    Ok(())
}
