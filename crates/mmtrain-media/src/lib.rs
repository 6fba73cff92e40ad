//! Image bytes to pixels: sniffing, limits, decoding, resizing, normalising.
//!
//! One place owns every decode, so that hostile or broken files are an error of that sample and never
//! of the run: the container is found by magic bytes, the size is read from the header and checked
//! against [`MediaLimits`] before any pixel is allocated, and a panic inside a decoder is caught.
//!
//! ```text
//! bytes ─ sniff ─▶ ImageKind ─ probe ─▶ (width, height) ─ decode ─▶ Rgb8 ─ ImageProcessor ─▶ f32 [3, size, size]
//! ```
//!
//! - [`sniff`], [`probe`], [`decode`]: JPEG, PNG, WebP, GIF, BMP; every colour kind becomes RGB.
//! - [`resize_bicubic`]: Pillow's bicubic, bit for bit.
//! - [`ImageProcessor`]: resize, crop or pad, and normalise, as `transformers`' processors do.
//! - [`MediaError`]: with [`MediaError::reason`], a short stable name under which failures are counted.

mod sniff;

mod limits;

mod decode;

mod jpeg;

mod flatten;

mod pixels;

mod resize;

mod processor;

mod hf;

mod error;

#[cfg(test)]
mod fixtures;

pub use decode::{decode, probe};
pub use error::MediaError;
pub use flatten::Alpha;
pub use limits::MediaLimits;
pub use pixels::Rgb8;
pub use processor::{Fit, ImageProcessor};
pub use resize::resize_bicubic;
pub use sniff::{ImageKind, sniff};
