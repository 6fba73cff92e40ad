//! What the header of a medium says, for people who look at data.

use mmtrain_media::{ImageKind, Size, probe};

use crate::Preparer;
use crate::opened::{Fault, Opened};
use crate::sample::RawMedium;

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
    /// What is known of a medium without decoding it; nothing of one that cannot be used.
    pub fn facts(&self, medium: &RawMedium) -> MediumFacts {
        self.read_facts(medium).unwrap_or_default()
    }

    /// The same, or why the medium cannot be used.
    pub(crate) fn read_facts(&self, medium: &RawMedium) -> Result<MediumFacts, Fault> {
        Ok(match Opened::new(medium, self)? {
            Opened::Picture { bytes, .. } => {
                let (kind, width, height) = probe(&bytes, &self.limits)?;
                MediumFacts { size: Some(Size::new(width, height)), secs: None, file: Some((kind, bytes.len())) }
            }
            Opened::Clip { info, .. } | Opened::Frames { info, .. } => {
                MediumFacts { size: Some(info.size), secs: Some(info.duration_secs), file: None }
            }
            Opened::Sound { length, .. } => MediumFacts { secs: Some(length.secs()), ..MediumFacts::default() },
        })
    }
}
