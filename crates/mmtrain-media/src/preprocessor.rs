//! What a checkpoint's `preprocessor_config.json` describes: how pictures are made ready, or sounds.

use serde_json::Value;

use crate::{MediaLayout, Processor, SoundProcessor};

/// How the media that an encoder takes become its input.
#[derive(Debug, Clone, PartialEq)]
pub enum Preprocessor {
    /// Of pictures, and of clips.
    Sight(Processor),
    /// Of sounds.
    Hearing(SoundProcessor),
}

impl Preprocessor {
    /// The `preprocessor_config.json` of it.
    pub fn to_hf(&self) -> Value {
        match self {
            Self::Sight(processor) => processor.to_hf(),
            Self::Hearing(processor) => processor.log_mel.to_hf(),
        }
    }

    /// What every medium becomes, where that does not depend on its size.
    pub fn fixed_layout(&self) -> Option<MediaLayout> {
        match self {
            Self::Sight(processor) => processor.fixed_layout(),
            Self::Hearing(_) => None,
        }
    }

    /// The family's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sight(processor) => processor.name(),
            Self::Hearing(_) => "log-mel",
        }
    }
}
