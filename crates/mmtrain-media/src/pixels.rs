//! An 8-bit RGB picture in memory, and the geometry the processors need.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// Pixels, row-major, `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    /// Pixels per row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// `height * width * 3` bytes: red, green, blue.
    pub data: Vec<u8>,
}

impl Rgb8 {
    /// A picture of one colour.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        let pixels = width as usize * height as usize;
        Self { width, height, data: colour.repeat(pixels) }
    }

    /// One row, `[width, 3]`.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        let stride = self.stride();
        &self.data[y * stride..(y + 1) * stride]
    }

    /// Bytes per row.
    pub(crate) fn stride(&self) -> usize {
        self.width as usize * 3
    }

    /// The rectangle of `width x height` pixels whose corner is at (`left`, `top`).
    pub(crate) fn crop(&self, left: u32, top: u32, width: u32, height: u32) -> Self {
        let (from, to) = (left as usize * 3, (left + width) as usize * 3);
        let rows = top as usize..(top + height) as usize;
        let data = rows.flat_map(|y| &self.row(y)[from..to]).copied().collect();
        Self { width, height, data }
    }

    /// Centred on a square of `colour`; the odd pixel goes right and down
    /// (`expand2square` in `LLaVA`'s `mm_utils.py`).
    pub(crate) fn pad_to_square(&self, colour: [u8; 3]) -> Self {
        let side = self.width.max(self.height);
        let mut square = Self::filled(side, side, colour);
        let left = ((side - self.width) / 2) as usize * 3;
        let top = ((side - self.height) / 2) as usize;
        let stride = square.stride();
        for y in 0..self.height as usize {
            let start = (top + y) * stride + left;
            square.data[start..start + self.stride()].copy_from_slice(self.row(y));
        }
        square
    }

    /// Turned the way the EXIF orientation asks for.
    pub(crate) fn oriented(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let image =
            RgbImage::from_raw(self.width, self.height, self.data).expect("data is always height * width * 3 bytes");
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        Self::from(image.into_rgb8())
    }
}

impl From<RgbImage> for Rgb8 {
    fn from(image: RgbImage) -> Self {
        let (width, height) = image.dimensions();
        Self { width, height, data: image.into_raw() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: u32, height: u32) -> Rgb8 {
        let data = (0..width * height).flat_map(|i| [i as u8, 0, 0]).collect();
        Rgb8 { width, height, data }
    }

    fn reds(image: &Rgb8) -> Vec<u8> {
        image.data.chunks(3).map(|p| p[0]).collect()
    }

    #[test]
    fn crop_takes_the_rectangle() {
        assert_eq!(reds(&numbered(4, 3).crop(1, 1, 2, 2)), [5, 6, 9, 10]);
    }

    #[test]
    fn pad_puts_the_odd_row_below() {
        let padded = numbered(4, 1).pad_to_square([9, 9, 9]);
        assert_eq!(reds(&padded)[..4], [9; 4]);
        assert_eq!(reds(&padded)[4..8], [0, 1, 2, 3]);
        assert_eq!(reds(&padded)[8..], [9; 8]);
    }
}
