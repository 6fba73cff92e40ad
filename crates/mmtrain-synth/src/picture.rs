//! One scene as a JPEG with its truth and caption.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::raster::render;
use crate::{SceneKey, SceneTruth, SynthError};

const JPEG_QUALITY: u8 = 90;

/// A picture, what is in it, and a caption of it.
pub(crate) struct Picture {
    pub(crate) jpg: Vec<u8>,
    pub(crate) truth: SceneTruth,
    pub(crate) caption: String,
}

impl Picture {
    /// `size x size` pixels.
    pub(crate) fn make(key: &SceneKey, size: u32) -> Result<Self, SynthError> {
        let (pixels, truth, caption) = render(key, size);
        let mut jpg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpg, JPEG_QUALITY)
            .encode(&pixels, size, size, ExtendedColorType::Rgb8)
            .map_err(|source| SynthError::Encode { split: key.split.name(), index: key.index, source })?;
        Ok(Self { jpg, truth, caption })
    }

    /// The truth for conversations, which also ask where things are.
    pub(crate) fn truth_with_side(&self, size: u32) -> SceneTruth {
        SceneTruth { side: Some(size), ..self.truth.clone() }
    }
}
