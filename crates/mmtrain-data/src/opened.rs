//! A medium of which as much is known as its length in tokens takes: headers are read, nothing is decoded.

use std::borrow::Cow;
use std::path::Path;

use mmtrain_media::{
    Ablation, ClipPlan, FrameKey, MediaError, MediaLayout, MediaValues, Processor, Rgb8, Size, SoundLength, VideoFile,
    VideoIdentity, VideoInfo, audio_length, decode, decode_audio, probe,
};
use mmtrain_text::MediaKind;

use crate::Preparer;
use crate::intake::{Clips, Intake, kind_name};
use crate::sample::{MediaContent, RawMedium, SampleId, Skip};

/// Frames a second of a clip that came as pictures, as `qwen_vl_utils` takes it.
const PICTURES_PER_SEC: f64 = 2.0;

/// A medium whose header has been read.
pub(crate) enum Opened<'a> {
    /// A picture; its size where that matters.
    Picture { bytes: Cow<'a, [u8]>, size: Option<Size> },
    /// A clip in a file.
    Clip { file: VideoFile, content: &'a MediaContent, info: VideoInfo },
    /// A clip as the pictures that were taken from it.
    Frames { pictures: &'a [Vec<u8>], info: VideoInfo },
    /// A sound.
    Sound { bytes: Cow<'a, [u8]>, length: SoundLength },
}

/// Why a medium cannot be used.
pub(crate) struct Fault {
    pub(crate) reason: String,
    pub(crate) detail: String,
    /// Where it is one of the media crate.
    error: Option<MediaError>,
}

impl From<MediaError> for Fault {
    fn from(error: MediaError) -> Self {
        Self { reason: media_reason(&error), detail: error.to_string(), error: Some(error) }
    }
}

/// The media crate's reason, told apart from those of captions and tars.
pub(crate) fn media_reason(error: &MediaError) -> String {
    let reason = error.reason();
    let names_its_kind = ["image", "audio", "video"].iter().any(|kind| reason.contains(kind));
    if names_its_kind { reason.to_owned() } else { format!("image_{reason}") }
}

impl Fault {
    pub(crate) fn skip(self, id: &SampleId) -> Skip {
        Skip { id: id.clone(), reason: self.reason, detail: self.detail.into() }
    }

    fn new(reason: &str, detail: String) -> Self {
        Self { reason: reason.to_owned(), detail, error: None }
    }

    /// For who asks for one medium.
    pub(crate) fn into_media_error(self) -> MediaError {
        self.error.unwrap_or(MediaError::Processor { detail: self.detail })
    }

    fn unsupported(kind: MediaKind, intake: &Intake) -> Self {
        let (kind, takes) = (kind_name(kind), intake.name());
        Self::new("unsupported_medium", format!("a {kind}, and the encoder takes {takes}"))
    }
}

impl<'a> Opened<'a> {
    /// Reads the header.
    pub(crate) fn new(medium: &'a RawMedium, preparer: &Preparer) -> Result<Self, Fault> {
        match (medium.kind, &preparer.intake) {
            (MediaKind::Image, Intake::Sight { processor, .. }) => Self::picture(medium, processor, preparer),
            (MediaKind::Video, Intake::Sight { clips: Some(clips), .. }) => Self::clip(medium, clips, preparer),
            (MediaKind::Audio, Intake::Hearing { limits, .. }) => {
                let bytes = bytes(medium, limits.max_bytes as u64)?;
                Ok(Self::Sound { length: audio_length(&bytes, limits)?, bytes })
            }
            (kind, intake) => Err(Fault::unsupported(kind, intake)),
        }
    }

    fn picture(medium: &'a RawMedium, processor: &Processor, preparer: &Preparer) -> Result<Self, Fault> {
        let bytes = bytes(medium, preparer.limits.max_bytes as u64)?;
        let size = match processor.fixed_layout() {
            Some(_) => None,
            None => Some(size_of(&bytes, preparer)?),
        };
        Ok(Self::Picture { bytes, size })
    }

    fn clip(medium: &'a RawMedium, clips: &Clips, preparer: &Preparer) -> Result<Self, Fault> {
        let limits = clips.ffmpeg.limits();
        let file = match &medium.content {
            MediaContent::Frames(pictures) => {
                let first = pictures.first().ok_or_else(|| no_clip("a clip has at least one frame"))?;
                let (frames, fps) = (clips.rule.sampling.frames_of(pictures.len() as u64), PICTURES_PER_SEC);
                let (size, duration_secs) = (size_of(first, preparer)?, frames as f64 / fps);
                return Ok(Self::Frames {
                    pictures,
                    info: VideoInfo { frames, fps, duration_secs, size, audio: None },
                });
            }
            MediaContent::Bytes(bytes) => VideoFile::from_bytes(bytes, limits),
            MediaContent::File(path) => VideoFile::open(path, limits),
        };
        let file = file.map_err(MediaError::from)?;
        let info = clips.ffmpeg.probe(&file).map_err(MediaError::from)?;
        Ok(Self::Clip { file, content: &medium.content, info })
    }

    /// What it becomes.
    pub(crate) fn layout(&self, intake: &Intake) -> Result<MediaLayout, MediaError> {
        match (self, intake) {
            (Self::Picture { size: Some(size), .. }, Intake::Sight { processor, .. }) => processor.layout(*size),
            (Self::Picture { size: None, .. }, Intake::Sight { processor, .. }) => {
                Ok(processor.fixed_layout().expect("only where it is fixed, no size is looked up"))
            }
            (Self::Clip { info, .. } | Self::Frames { info, .. }, _) => Ok(plan(info, intake)?.layout),
            (Self::Sound { length, .. }, Intake::Hearing { processor, .. }) => Ok(processor.layout(*length).into()),
            (Self::Picture { .. } | Self::Sound { .. }, _) => unreachable!("`new` refuses media of other kinds"),
        }
    }

    /// The encoder's input, of the whole medium or of what an ablation leaves, and the seconds from one group of frames of a
    /// clip to the next.
    pub(crate) fn values(
        &self,
        intake: &Intake,
        preparer: &Preparer,
        ablation: Option<Ablation>,
    ) -> Result<(MediaValues, f64), MediaError> {
        let left = |picture: Rgb8, processor: &Processor| match ablation {
            Some(ablation) => ablation.picture(&picture, processor.normalise()),
            None => picture,
        };
        match (self, intake) {
            (Self::Picture { bytes, .. }, Intake::Sight { processor, .. }) => {
                let picture = decode(bytes, &preparer.limits, preparer.alpha)?;
                Ok((processor.process(&left(picture, processor))?, 1.0))
            }
            (Self::Clip { file, content, info }, Intake::Sight { clips: Some(clips), .. }) => {
                let plan = plan(info, intake)?;
                let frames = frames(file, content, info, &plan, clips)?;
                let frames = frames.into_iter().map(|frame| left(frame, &plan.processor)).collect::<Vec<_>>();
                Ok((plan.processor.process_video(&frames)?, group_seconds(info, &plan)))
            }
            (Self::Frames { pictures, info }, _) => {
                let plan = plan(info, intake)?;
                let picked = plan
                    .indices
                    .iter()
                    .map(|&index| (index as usize).min(pictures.len() - 1))
                    .map(|index| decode(&pictures[index], &preparer.limits, preparer.alpha))
                    .map(|frame| Ok(left(frame?, &plan.processor)));
                let frames = picked.collect::<Result<Vec<_>, MediaError>>()?;
                Ok((plan.processor.process_video(&frames)?, group_seconds(info, &plan)))
            }
            (Self::Sound { bytes, .. }, Intake::Hearing { processor, limits }) => {
                let sound = decode_audio(bytes, limits)?;
                let left = match ablation {
                    Some(ablation) => ablation.sound(sound),
                    None => sound,
                };
                Ok((processor.process(left)?, 1.0))
            }
            _ => unreachable!("`new` refuses media of other kinds"),
        }
    }

    /// Whether it is a sound whose end is not heard.
    pub(crate) fn is_cut(&self, intake: &Intake) -> bool {
        matches!((self, intake), (Self::Sound { length, .. }, Intake::Hearing { processor, .. }) if processor.is_cut(*length))
    }

    /// Whether it is a clip.
    pub(crate) fn is_clip(&self) -> bool {
        matches!(self, Self::Clip { .. } | Self::Frames { .. })
    }
}

fn no_clip(detail: &str) -> MediaError {
    MediaError::Video { detail: detail.into() }
}

/// Frames of a clip, and what they become.
fn plan(info: &VideoInfo, intake: &Intake) -> Result<ClipPlan, MediaError> {
    match intake {
        Intake::Sight { processor, clips: Some(clips) } => clips.rule.plan_thinned(info, processor, clips.every),
        _ => Err(no_clip("nothing says which frames of a clip are seen")),
    }
}

/// The frames of a plan, from the cache if there is one.
fn frames(
    file: &VideoFile,
    content: &MediaContent,
    info: &VideoInfo,
    plan: &ClipPlan,
    clips: &Clips,
) -> Result<Vec<Rgb8>, MediaError> {
    let decode = || clips.ffmpeg.decode_frames(file, info, &plan.indices, None).map_err(MediaError::from);
    let identity = match content {
        MediaContent::Bytes(bytes) => VideoIdentity::Content(bytes),
        MediaContent::File(path) => VideoIdentity::File(path),
        MediaContent::Frames(_) => return decode(),
    };
    match (&clips.cache, FrameKey::new(identity, &plan.indices, None)) {
        (Some(cache), Ok(key)) => cache.get_or_make(&key, decode),
        _ => decode(),
    }
}

/// `second_per_grid_ts` of Qwen2.5-VL: frames of a group over the frames a second that are seen.
fn group_seconds(info: &VideoInfo, plan: &ClipPlan) -> f64 {
    let frames = match &plan.layout {
        MediaLayout::Grid(grid) => f64::from(grid.frames),
        _ => 1.0,
    };
    frames * (info.frames as f64 / info.fps) / plan.indices.len().max(1) as f64
}

/// Width and height of a picture, from its header.
pub(crate) fn size_of(bytes: &[u8], preparer: &Preparer) -> Result<Size, MediaError> {
    let (_, width, height) = probe(bytes, &preparer.limits)?;
    Ok(Size::new(width, height))
}

/// The bytes of a medium, read where they are in a file of their own, `most` of them.
fn bytes(medium: &RawMedium, most: u64) -> Result<Cow<'_, [u8]>, Fault> {
    match &medium.content {
        MediaContent::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        MediaContent::File(path) => read(path, most).map(Cow::Owned),
        MediaContent::Frames(_) => {
            let detail = format!("frames where a {} is", kind_name(medium.kind));
            Err(Fault::new("unsupported_medium", detail))
        }
    }
}

/// One byte more than `most` is read, so that the decoder's own limit names what is too large.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, Fault> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| Fault::new("media_unreadable", error.to_string());
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path).map_err(unreadable)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
