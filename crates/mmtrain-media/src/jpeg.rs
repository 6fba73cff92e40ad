//! JPEG to RGB through `zune-jpeg`, strict about the picture and lenient about the header.
//!
//! The decoder is used directly, not through `image`, because `image` asks it to paint the missing
//! part of a damaged file grey and to say nothing. Stray bytes between header segments are harmless and
//! common, so the header is read leniently; from the first scan on, damage is an error, and so is a
//! missing end marker (as in Pillow). Four-component files are taken as Adobe's inverted CMYK or YCCK.

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::{ImageKind, MediaError, Rgb8};

const KIND: ImageKind = ImageKind::Jpeg;

/// A JPEG whose header has been read.
pub(crate) struct JpegHeader<'a> {
    bytes: &'a [u8],
    decoder: JpegDecoder<ZCursor<&'a [u8]>>,
    /// As stored, before orientation.
    pub(crate) width: u32,
    /// As stored, before orientation.
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
}

impl<'a> JpegHeader<'a> {
    /// Reads the segments before the first scan.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, MediaError> {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options(false));
        decoder.decode_headers().map_err(|e| media_error(&e))?;
        let (width, height) = decoder.dimensions().ok_or_else(|| MediaError::corrupt(KIND, "no frame header"))?;
        let orientation =
            decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)).unwrap_or(Orientation::NoTransforms);
        Ok(Self { bytes, decoder, width: width as u32, height: height as u32, orientation })
    }

    /// Decodes the scans to RGB, orientation not applied.
    pub(crate) fn decode(mut self) -> Result<Rgb8, MediaError> {
        if !has_end_marker(self.bytes) {
            return Err(MediaError::corrupt(KIND, "ends before the end marker"));
        }
        self.check_components()?;
        self.decoder.set_options(options(true));
        let mut data = vec![0; self.width as usize * self.height as usize * 3];
        self.decoder.decode_into(&mut data).map_err(|e| media_error(&e))?;
        Ok(Rgb8 { width: self.width, height: self.height, data })
    }

    /// One, three or four components have a meaning; two do not.
    fn check_components(&self) -> Result<(), MediaError> {
        match self.decoder.info().map(|info| info.components) {
            Some(1 | 3 | 4) => Ok(()),
            components => Err(MediaError::UnsupportedColor {
                kind: KIND,
                detail: format!("{} components", components.unwrap_or(0)),
            }),
        }
    }
}

fn options(strict: bool) -> DecoderOptions {
    DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(strict)
        // the caller checks the size against its own limits
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

fn media_error(error: &DecodeErrors) -> MediaError {
    match error {
        DecodeErrors::Unsupported(scheme) => {
            MediaError::UnsupportedVariant { kind: KIND, detail: format!("{scheme:?}") }
        }
        other => MediaError::corrupt(KIND, format!("{other:?}")),
    }
}

/// Walks the segments to the end-of-image marker of the picture itself (a thumbnail inside a segment
/// has one of its own, so searching the bytes would not do).
fn has_end_marker(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(marker_at) = next_marker(bytes, at) {
        match bytes[marker_at] {
            0xD9 => return true,
            // restart markers, start of image and the temporary marker stand alone
            0xD0..=0xD8 | 0x01 => at = marker_at + 1,
            _ => match bytes.get(marker_at + 1..marker_at + 3) {
                Some(length) => {
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    at = marker_at + 1 + length.max(2);
                }
                None => return false,
            },
        }
    }
    false
}

/// Index of the code byte of the next marker at or after `at`: `FF` followed by neither `00` (a stuffed
/// data byte) nor `FF` (fill).
fn next_marker(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let found = rest.windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0x00 && pair[1] != 0xFF)?;
    Some(at + found + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_inside_a_segment_does_not_count() {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
        bytes.extend([0xFF, 0xDA, 0, 2, 1, 0xFF, 0x00, 2, 0xFF, 0xD0, 3]);
        assert!(!has_end_marker(&bytes));
        bytes.extend([0xFF, 0xD9]);
        assert!(has_end_marker(&bytes));
    }
}
