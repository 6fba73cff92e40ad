//! What the encoder takes, and how media become that.

use mmtrain_media::{AudioLimits, ClipRule, Ffmpeg, FrameCache, Processor, Shrunk, SoundProcessor};
use mmtrain_text::MediaKind;

/// Most thinning of a clip that is too long: every eighth frame.
const MAX_THINNING: usize = 8;

/// What the encoder takes.
#[derive(Debug, Clone)]
pub enum Intake {
    /// Pictures, and clips where it is said how they are read.
    Sight {
        /// How a picture becomes the encoder's input.
        processor: Processor,
        /// How clips are read; without it they are left out.
        clips: Option<Box<Clips>>,
    },
    /// Sounds.
    Hearing {
        /// How a sound becomes the encoder's input.
        processor: SoundProcessor,
        /// What a sound may cost.
        limits: AudioLimits,
    },
}

/// How clips are read.
#[derive(Debug, Clone)]
pub struct Clips {
    /// Which frames are seen, and at which size.
    pub rule: ClipRule,
    /// Of the frames that the rule picks every so manieth is seen; 1 for all.
    pub every: usize,
    /// What decodes them.
    pub ffmpeg: Ffmpeg,
    /// Where decoded frames are kept.
    pub cache: Option<FrameCache>,
}

impl From<Processor> for Intake {
    /// Pictures alone.
    fn from(processor: Processor) -> Self {
        Self::Sight { processor, clips: None }
    }
}

impl Intake {
    /// For messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sight { clips: None, .. } => "pictures",
            Self::Sight { clips: Some(_), .. } => "pictures and clips",
            Self::Hearing { .. } => "sounds",
        }
    }

    /// The next smaller one, where there is one: fewer frames of clips first, then what the processor can give up.
    pub(crate) fn smaller(&self, has_clips: bool) -> Option<(Self, Shrunk)> {
        let Self::Sight { processor, clips } = self else { return None };
        match clips {
            Some(clips) if has_clips && clips.every < MAX_THINNING => {
                let thinner = Box::new(Clips { every: 2 * clips.every, ..(**clips).clone() });
                Some((Self::Sight { processor: processor.clone(), clips: Some(thinner) }, Shrunk::Frames))
            }
            _ => {
                let (processor, shrunk) = processor.smaller()?;
                Some((Self::Sight { processor, clips: clips.clone() }, shrunk))
            }
        }
    }
}

/// The word for a kind of medium.
pub(crate) fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "picture",
        MediaKind::Video => "clip",
        MediaKind::Audio => "sound",
    }
}
