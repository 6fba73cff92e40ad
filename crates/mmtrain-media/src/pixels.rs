//! An 8-bit RGB picture in memory, and the geometry the processors need.

use std::ops::Range;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::Size;

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

    /// Width and height.
    pub fn size(&self) -> Size {
        Size::new(self.width, self.height)
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
        let mut data = Vec::with_capacity(width as usize * height as usize * 3);
        for y in top as usize..(top + height) as usize {
            data.extend_from_slice(&self.row(y)[from..to]);
        }
        Self { width, height, data }
    }

    /// The squares of `side` pixels, row by row; `side` divides both width and height.
    pub(crate) fn tiles(&self, side: u32) -> impl Iterator<Item = Self> {
        let (rows, cols) = (self.height / side, self.width / side);
        let corners = (0..rows).flat_map(move |row| (0..cols).map(move |col| (col * side, row * side)));
        corners.map(move |(left, top)| self.crop(left, top, side, side))
    }

    /// Puts `image` over this picture, its corner at (`left`, `top`).
    pub(crate) fn paste(&mut self, image: &Self, left: u32, top: u32) {
        let (stride, left) = (self.stride(), left as usize * 3);
        for y in 0..image.height as usize {
            let start = (top as usize + y) * stride + left;
            self.data[start..start + image.stride()].copy_from_slice(image.row(y));
        }
    }

    /// Centred on a square of `colour`; the odd pixel goes right and down
    /// (`expand2square` in `LLaVA`'s `mm_utils.py`).
    pub(crate) fn pad_to_square(&self, colour: [u8; 3]) -> Self {
        let side = self.width.max(self.height);
        let mut square = Self::filled(side, side, colour);
        square.paste(self, (side - self.width) / 2, (side - self.height) / 2);
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

/// A rectangle of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// First column.
    pub(crate) left: u32,
    /// First row.
    pub(crate) top: u32,
    /// Columns and rows.
    pub(crate) size: Size,
}

impl Window {
    /// All of a picture of this size.
    pub(crate) fn whole(size: Size) -> Self {
        Self { left: 0, top: 0, size }
    }

    /// The middle of a picture `of` that size; the odd pixel is left over right and below.
    pub(crate) fn centre(of: Size, size: Size) -> Self {
        Self { left: (of.width - size.width) / 2, top: (of.height - size.height) / 2, size }
    }

    pub(crate) fn columns(&self) -> Range<usize> {
        self.left as usize..(self.left + self.size.width) as usize
    }

    pub(crate) fn rows(&self) -> Range<usize> {
        self.top as usize..(self.top + self.size.height) as usize
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
