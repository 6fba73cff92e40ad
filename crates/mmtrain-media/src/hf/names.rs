//! The class names of `transformers`, and what a class does when a file says nothing.

use crate::{Filter, MediaError, Normalise};

/// Processors of pictures whose class defaults are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Clip,
    Siglip,
    Bit,
    Blip,
    Llava,
    LlavaNext,
    Idefics3,
    Mllama,
    Qwen2Vl,
    /// The file names no class: what it does not say is not known.
    Unnamed,
}

/// Without the suffixes `Fast` (4.x) and `Pil` (5.x).
const NAMES: [(&str, Family); 12] = [
    ("CLIPImageProcessor", Family::Clip),
    ("CLIPFeatureExtractor", Family::Clip),
    ("SiglipImageProcessor", Family::Siglip),
    ("BitImageProcessor", Family::Bit),
    ("BlipImageProcessor", Family::Blip),
    ("LlavaImageProcessor", Family::Llava),
    ("LlavaNextImageProcessor", Family::LlavaNext),
    ("Idefics3ImageProcessor", Family::Idefics3),
    ("SmolVLMImageProcessor", Family::Idefics3),
    ("MllamaImageProcessor", Family::Mllama),
    ("Qwen2VLImageProcessor", Family::Qwen2Vl),
    ("Qwen2_5_VLImageProcessor", Family::Qwen2Vl),
];

/// The class of sound processors.
pub(super) const WHISPER: &str = "WhisperFeatureExtractor";

impl Family {
    /// The family of an `image_processor_type`.
    pub(super) fn named(name: Option<&str>) -> Result<Self, MediaError> {
        let Some(name) = name else { return Ok(Self::Unnamed) };
        let plain = name.strip_suffix("Fast").or_else(|| name.strip_suffix("Pil")).unwrap_or(name);
        if plain == WHISPER {
            return Err(MediaError::processor(format!("`{name}` prepares sound, not pictures")));
        }
        let found = NAMES.iter().find(|(known, _)| *known == plain);
        found.map(|(_, family)| *family).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            MediaError::processor(format!("`image_processor_type` is `{name}`, known are {}", known.join(", ")))
        })
    }

    /// Whether the class cuts out the centre if not told.
    pub(super) fn crops(self) -> bool {
        matches!(self, Self::Clip | Self::Bit | Self::Llava | Self::LlavaNext)
    }

    /// The side of the class' default `size`, where that is a square or a shortest edge.
    pub(super) fn side(self) -> Option<u32> {
        match self {
            Self::Clip | Self::Siglip | Self::Bit | Self::Llava | Self::LlavaNext | Self::Mllama => Some(224),
            Self::Blip => Some(384),
            Self::Idefics3 | Self::Qwen2Vl | Self::Unnamed => None,
        }
    }

    pub(super) fn filter(self) -> Option<Filter> {
        match self {
            Self::Idefics3 => Some(Filter::Lanczos),
            Self::Mllama => Some(Filter::Bilinear),
            Self::Unnamed => None,
            _ => Some(Filter::Bicubic),
        }
    }

    pub(super) fn normalise(self) -> Option<Normalise> {
        match self {
            Self::Siglip | Self::Idefics3 | Self::Mllama => Some(Normalise::HALF),
            Self::Unnamed => None,
            _ => Some(Normalise::CLIP),
        }
    }
}
