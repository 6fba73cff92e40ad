//! Bounds checked before a picture costs memory.

use serde::{Deserialize, Serialize};

use crate::{ImageKind, MediaError};

/// Largest side of a square or tile that a processor may ask for, in pixels.
pub(crate) const MAX_SIDE: u32 = 4096;

/// Largest picture that a processor may make on its way to the encoder's input.
pub(crate) const MAX_PADDED_PIXELS: u64 = 1 << 27;

/// Most float32 values that a processor may make of one picture or clip: 1 GiB.
pub(crate) const MAX_VALUES: u64 = 1 << 28;

/// What a picture may cost; checked against the header, before pixels are allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaLimits {
    /// Largest encoded size, in bytes.
    pub max_bytes: usize,
    /// Largest `width x height`.
    pub max_pixels: u64,
    /// Largest width and largest height, in pixels.
    pub max_side: u32,
}

impl Default for MediaLimits {
    /// 64 MiB, 120 megapixels, 30,000 pixels a side.
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_pixels: 120_000_000, max_side: 30_000 }
    }
}

impl MediaLimits {
    pub(crate) fn check_bytes(&self, bytes: usize) -> Result<(), MediaError> {
        if bytes > self.max_bytes {
            return Err(MediaError::TooManyBytes { bytes, max_bytes: self.max_bytes });
        }
        Ok(())
    }

    pub(crate) fn check_size(&self, kind: ImageKind, width: u32, height: u32) -> Result<(), MediaError> {
        if width == 0 || height == 0 {
            return Err(MediaError::corrupt(kind, "the header says zero pixels"));
        }
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.max_side || pixels > self.max_pixels {
            return Err(MediaError::TooManyPixels {
                kind,
                width,
                height,
                max_side: self.max_side,
                max_pixels: self.max_pixels,
            });
        }
        Ok(())
    }
}
