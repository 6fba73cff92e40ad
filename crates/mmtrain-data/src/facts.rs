//! What a sample is to the model, and what the headers of its media say: for people who look at data.

use mmtrain_media::{ImageKind, MediaError, Size, probe};
use mmtrain_text::Encoded;

use crate::Preparer;
use crate::opened::{Fault, Opened};
use crate::sample::{RawSample, Skip};

/// Token ids and labels of a sample, and what is known of its media without decoding them.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// Of a pair that of the better answer.
    pub encoded: Encoded,
    /// In the order of the sample's media.
    pub facts: Vec<MediumFacts>,
}

/// Size and length of a medium.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MediumFacts {
    /// Of a picture, or of the frames of a clip, in pixels.
    pub size: Option<Size>,
    /// Of a clip or a sound, in seconds.
    pub secs: Option<f64>,
    /// Container and encoded size in bytes, of a picture.
    pub file: Option<(ImageKind, usize)>,
}

impl Preparer {
    /// Looks at a sample without decoding its media.
    ///
    /// # Errors
    ///
    /// [`Skip`] where a run would leave the sample out, as far as headers tell.
    pub fn examine(&self, raw: &RawSample) -> Result<Examined, Skip> {
        let settled = self.settle(raw)?;
        let facts = settled.media.iter().map(|medium| medium.facts(self)).collect::<Result<_, _>>();
        let facts = facts.map_err(|error| Fault::from(error).skip(&raw.id))?;
        Ok(Examined { encoded: settled.answers.encoded, facts })
    }
}

impl Opened<'_> {
    fn facts(&self, preparer: &Preparer) -> Result<MediumFacts, MediaError> {
        Ok(match self {
            Self::Picture { bytes, .. } => {
                let (kind, width, height) = probe(bytes, &preparer.limits)?;
                MediumFacts { size: Some(Size::new(width, height)), secs: None, file: Some((kind, bytes.len())) }
            }
            Self::Clip { info, .. } | Self::Frames { info, .. } => {
                MediumFacts { size: Some(info.size), secs: Some(info.duration_secs), file: None }
            }
            Self::Sound { length, .. } => MediumFacts { secs: Some(length.secs()), ..MediumFacts::default() },
        })
    }
}
