//! Every colour kind to 8-bit RGB.
//!
//! Grey is replicated, 16-bit samples keep their high byte (as Pillow reads them), and alpha is
//! flattened by the rule the caller chose. CMYK occurs only in JPEG, see `jpeg.rs`.

use image::DynamicImage;
use serde::{Deserialize, Serialize};

use crate::{ImageKind, MediaError, Rgb8};

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alpha {
    /// Paste on white.
    #[default]
    White,
    /// Forget the alpha channel; the colours below transparent pixels show (PIL's `convert("RGB")`).
    Drop,
}

/// Turns whatever the decoder gave into RGB.
pub(crate) fn flatten(kind: ImageKind, image: DynamicImage, alpha: Alpha) -> Result<Rgb8, MediaError> {
    let (width, height) = (image.width(), image.height());
    let high = |samples: &[u16]| samples.iter().map(|s| (s >> 8) as u8).collect::<Vec<_>>();
    let data = match image {
        DynamicImage::ImageRgb8(pixels) => pixels.into_raw(),
        DynamicImage::ImageLuma8(pixels) => from_gray(&pixels),
        DynamicImage::ImageLumaA8(pixels) => from_gray_alpha(&pixels, alpha),
        DynamicImage::ImageRgba8(pixels) => from_rgba(&pixels, alpha),
        DynamicImage::ImageRgb16(pixels) => high(&pixels),
        DynamicImage::ImageLuma16(pixels) => from_gray(&high(&pixels)),
        DynamicImage::ImageLumaA16(pixels) => from_gray_alpha(&high(&pixels), alpha),
        DynamicImage::ImageRgba16(pixels) => from_rgba(&high(&pixels), alpha),
        other => {
            return Err(MediaError::UnsupportedColor { kind, detail: format!("{:?}", other.color()) });
        }
    };
    Ok(Rgb8 { width, height, data })
}

fn from_gray(samples: &[u8]) -> Vec<u8> {
    samples.iter().flat_map(|&v| [v, v, v]).collect()
}

fn from_gray_alpha(samples: &[u8], alpha: Alpha) -> Vec<u8> {
    let pixels = samples.chunks_exact(2).map(|p| ([p[0]; 3], p[1]));
    pixels.flat_map(|(rgb, a)| blend(rgb, a, alpha)).collect()
}

fn from_rgba(samples: &[u8], alpha: Alpha) -> Vec<u8> {
    let pixels = samples.chunks_exact(4).map(|p| ([p[0], p[1], p[2]], p[3]));
    pixels.flat_map(|(rgb, a)| blend(rgb, a, alpha)).collect()
}

/// Pillow's `paste` with a mask: `(white * (255 - a) + colour * a) / 255`, rounded to nearest.
fn blend(rgb: [u8; 3], a: u8, alpha: Alpha) -> [u8; 3] {
    match alpha {
        Alpha::Drop => rgb,
        Alpha::White => rgb.map(|colour| {
            let sum = 255 * u32::from(255 - a) + u32::from(colour) * u32::from(a) + 128;
            ((sum + (sum >> 8)) >> 8) as u8
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_pixels_become_white_or_keep_their_colour() {
        let pixel = [10, 20, 30, 0];
        assert_eq!(from_rgba(&pixel, Alpha::White), [255, 255, 255]);
        assert_eq!(from_rgba(&pixel, Alpha::Drop), [10, 20, 30]);
    }

    #[test]
    fn opaque_pixels_are_untouched_by_white() {
        for value in 0..=255 {
            assert_eq!(blend([value; 3], 255, Alpha::White), [value; 3]);
        }
    }
}
