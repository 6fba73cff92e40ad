//! Width and height of a picture, by name so that they are not mixed up.

use std::fmt;

use crate::MediaError;

/// Pixels across and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels per row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Size {
    /// `width` before `height`, as [`probe`](crate::probe) gives them.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// A square.
    pub fn square(side: u32) -> Self {
        Self::new(side, side)
    }

    /// Number of pixels.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// `width / height` as Python computes it.
    pub(crate) fn aspect(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    /// A picture has at least one pixel.
    pub(crate) fn check_pixels(self) -> Result<(), MediaError> {
        if self.width.min(self.height) == 0 {
            return Err(MediaError::size(self, "a picture has at least one pixel a side"));
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}
