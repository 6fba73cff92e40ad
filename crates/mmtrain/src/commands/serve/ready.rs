//! What clients send, made ready for the model: within bounds, and from nowhere but the request itself.

use std::sync::Arc;

use mmtrain_config::LimitsConfig;
use mmtrain_data::{Intake, Preparer};
use mmtrain_generate::{AskedMedium, GenerateError, Location, Prompt, read_messages};
use mmtrain_media::{Ffmpeg, MediaError, MediaLimits, Processor, VideoLimits};
use mmtrain_serve::model::refusal;
use mmtrain_serve::{Prepare, Ready, Refusal};
use mmtrain_text::TextError;
use serde_json::Value;

use crate::cli::ServeArgs;
use crate::shown::{Sources, media};
use crate::{fail, preprocess};

/// Largest frame of a clip: 4K.
const FRAME_PIXELS: u64 = 4096 * 2304;

/// Most frames of a clip.
const FRAMES: u32 = 768;

/// Decoded frames of a clip, and memory of what decodes it.
const CLIP_BYTES: u64 = 1 << 30;

/// How long a clip may be decoded, in seconds.
const CLIP_SECS: u32 = 60;

/// Makes requests ready.
pub(super) struct Readying {
    preparer: Preparer,
    max_media: usize,
}

impl Readying {
    /// With the model's own settings and the tighter bounds of a server. Nothing that clients send is kept on disk.
    pub(super) fn new(preparer: &Arc<Preparer>, args: &ServeArgs) -> anyhow::Result<Self> {
        let mut preparer = Preparer::clone(preparer);
        let max_bytes = (args.max_body_mib as usize) << 20;
        let limits = preparer.limits;
        preparer.limits = MediaLimits {
            max_bytes: limits.max_bytes.min(max_bytes),
            max_pixels: limits.max_pixels.min(u64::from(args.max_megapixels) * 1_000_000),
            ..limits
        };
        match &mut preparer.intake {
            Intake::Hearing { limits, .. } => {
                limits.max_bytes = limits.max_bytes.min(max_bytes);
                limits.max_secs = limits.max_secs.min(args.max_media_secs);
            }
            Intake::Sight { processor, clips } => {
                let video = VideoLimits {
                    max_bytes: max_bytes as u64,
                    max_secs: args.max_media_secs,
                    max_pixels: FRAME_PIXELS,
                    max_frames: FRAMES,
                    max_decoded_bytes: CLIP_BYTES,
                    timeout_secs: CLIP_SECS,
                    max_child_bytes: 2 * CLIP_BYTES,
                };
                // Where it is missing, clips are refused when they come.
                if let Ok(ffmpeg) = Ffmpeg::find(video) {
                    let rule = match clips.take() {
                        Some(clips) => *clips,
                        None => preprocess::clips(&preprocess::usual_video(processor), &LimitsConfig::default())?,
                    };
                    *clips = Some(Box::new(mmtrain_data::Clips { ffmpeg, cache: None, ..rule }));
                }
            }
        }
        Ok(Self { preparer, max_media: args.max_media })
    }

    fn check(&self, asked: &[AskedMedium]) -> Result<(), Refusal> {
        if asked.len() > self.max_media {
            let message = format!("{} media are shown, at most {} are allowed", asked.len(), self.max_media);
            return Err(Refusal::invalid("messages", message).named("too_many_media"));
        }
        asked.iter().try_for_each(|medium| self.check_one(medium))
    }

    fn check_one(&self, medium: &AskedMedium) -> Result<(), Refusal> {
        match medium.places.as_slice() {
            [Location::Data(_)] if !medium.in_frames => self.check_wishes(medium),
            [Location::File(_) | Location::Remote(_)] => {
                let message = "neither files nor addresses are read here; send the medium itself as a data URL \
                               (`data:image/png;base64,…`)";
                Err(Refusal::invalid(&medium.at, message).named("data_url_required"))
            }
            _ => Err(Refusal::invalid(&medium.at, "a clip is one file here, not a list of frames")),
        }
    }

    /// No more pixels than the model's own settings allow.
    fn check_wishes(&self, medium: &AskedMedium) -> Result<(), Refusal> {
        let Intake::Sight { processor: Processor::Qwen2Vl(qwen), .. } = &self.preparer.intake else { return Ok(()) };
        let most = qwen.images.max.min(qwen.videos.max);
        for (key, pixels) in [("min_pixels", medium.wishes.min_pixels), ("max_pixels", medium.wishes.max_pixels)] {
            if let Some(pixels) = pixels.filter(|&pixels| pixels > most) {
                let message = format!("`{key}` is {pixels}, at most {most} are allowed");
                return Err(Refusal::invalid(format!("{}.{key}", medium.at), message));
            }
        }
        Ok(())
    }
}

impl Prepare for Readying {
    type Prompt = Prompt;

    fn prepare(&self, messages: Value) -> Result<Ready<Prompt>, Refusal> {
        let asked = read_messages(&messages).map_err(|error| refusal(&error))?;
        // The media are in there a second time.
        drop(messages);
        self.check(&asked.media)?;
        let media = media(&Sources::default(), &self.preparer, &asked.media).map_err(|error| unusable(&error))?;
        let prompt = Prompt::of_conversation(&self.preparer, &asked.conversation, &media);
        let prompt = prompt.map_err(|error| refusal(&error))?;
        Ok(Ready { tokens: prompt.input_ids.len(), prompt })
    }
}

/// What is wrong with a medium. What is wrong with this machine is for its log.
fn unusable(error: &anyhow::Error) -> Refusal {
    let of_client = error.chain().any(|cause| {
        cause.is::<MediaError>()
            || cause.is::<GenerateError>()
            || cause.is::<TextError>()
            || cause.is::<fail::Refusal>()
    });
    let of_machine = error.chain().filter_map(|cause| cause.downcast_ref()).any(MediaError::is_of_the_machine);
    match (of_machine, of_client) {
        (true, _) => {
            tracing::error!("{error:#}");
            Refusal::unavailable("clips cannot be read on this machine")
        }
        (false, true) => Refusal::invalid("messages", format!("{error:#}")).named("bad_medium"),
        (false, false) => {
            tracing::error!("{error:#}");
            Refusal::internal("the request could not be made ready")
        }
    }
}
