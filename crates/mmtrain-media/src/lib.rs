//! Image bytes to pixels: sniffing, limits, decoding, resizing, normalising; samples to log-mel features.
//!
//! One place owns every decode, so that hostile or broken files are an error of that sample and never
//! of the run: the container is found by magic bytes, the size is read from the header and checked
//! against [`MediaLimits`] before any pixel is allocated, and a panic inside a decoder is caught.
//!
//! ```text
//! bytes ─ sniff ─▶ ImageKind ─ probe ─▶ Size ─ Processor::layout ─▶ MediaLayout ─▶ tokens, before any pixel is decoded
//!                                       └─ decode ─▶ Rgb8 ─ Processor::process ─▶ MediaValues { f32 values, MediaLayout }
//! ```
//!
//! - [`sniff`], [`probe`], [`decode`]: JPEG, PNG, WebP, GIF, BMP; every colour kind becomes RGB.
//! - [`resize`]: Pillow's filters, bit for bit.
//! - [`Processor`]: what a checkpoint wants to see, read from its `preprocessor_config.json`: one square
//!   ([`ImageProcessor`]: CLIP, `SigLIP`, `DINOv2`, `LLaVA`), or tiles or patches ([`AnyRes`], [`Idefics3`], [`Mllama`],
//!   [`Qwen2Vl`]).
//! - [`MediaLayout`]: tiles, grid and token count of a picture, from its size.
//! - [`LogMel`]: samples to Whisper's features.
//! - [`MediaError`]: with [`MediaError::reason`], a short stable name under which failures are counted.

mod sniff;

mod limits;

mod size;

mod decode;

mod jpeg;

mod flatten;

mod pixels;

mod filter;

mod nearest;

mod resize;

mod normalise;

mod processor;

mod anyres;

mod idefics3;

mod mllama;

mod qwen2_vl;

mod family;

mod layout;

mod fft;

mod mel;

mod log_mel;

mod hf;

mod error;

#[cfg(test)]
mod fixtures;

pub use anyres::{AnyRes, AnyResLayout};
pub use decode::{decode, probe};
pub use error::MediaError;
pub use family::{MediaValues, Processor};
pub use filter::Filter;
pub use flatten::Alpha;
pub use idefics3::{Idefics3, SplitLayout, Splitting};
pub use layout::{FeatureRows, MediaLayout, MediaTokens, SoundLayout, TokenGrid};
pub use limits::MediaLimits;
pub use log_mel::{AudioFeatures, LogMel};
pub use mllama::{CanvasLayout, Mllama};
pub use normalise::Normalise;
pub use pixels::Rgb8;
pub use processor::{Fit, ImageProcessor};
pub use qwen2_vl::{GridLayout, PixelRange, Qwen2Vl};
pub use resize::{resize, resize_bicubic};
pub use size::Size;
pub use sniff::{ImageKind, sniff};
