//! Media that a conversation shows: from where they lie to what the model takes.

use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_config::{LimitsConfig, VideoConfig};
use mmtrain_data::{Intake, MediaContent, Medium, Preparer, RawMedium};
use mmtrain_generate::{AskedMedium, Location, Wishes};
use mmtrain_media::{FrameRounding, FrameSampling, Processor, SmartFrames, WantedFrames};
use mmtrain_text::MediaKind;

use crate::fail::Refusal;
use crate::preprocess;

/// From where media may come, besides the conversation itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// Whether files are read.
    pub(crate) files: bool,
    /// Hosts of which addresses are read.
    pub(crate) hosts: Vec<String>,
}

/// Most frames of a clip, as of `data.video.num_frames`.
const MAX_FRAMES: u32 = 65_536;

/// The media of a conversation, ready for the model.
pub(crate) fn media(sources: &Sources, preparer: &Preparer, asked: &[AskedMedium]) -> anyhow::Result<Vec<Medium>> {
    asked.iter().map(|medium| one(sources, preparer, medium).with_context(|| medium.at.clone())).collect()
}

/// A file that the command line names.
pub(crate) fn of_file(preparer: &Preparer, kind: MediaKind, file: &Path) -> anyhow::Result<Medium> {
    let raw = RawMedium { kind, content: MediaContent::File(existing(kind, file)?) };
    let preparer = seeing(preparer, kind)?;
    preparer.medium(&raw).with_context(|| format!("`{}`", file.display()))
}

/// The bytes of a medium's file.
pub(crate) fn bytes_of(sources: &Sources, preparer: &Preparer, asked: &AskedMedium) -> anyhow::Result<Vec<u8>> {
    bytes(sources, preparer, asked.kind, &asked.places[0])
}

fn one(sources: &Sources, preparer: &Preparer, asked: &AskedMedium) -> anyhow::Result<Medium> {
    let preparer = wished(seeing(preparer, asked.kind)?, asked.kind, asked.wishes)?;
    let content = match asked.places.as_slice() {
        [place] if !asked.in_frames => content(sources, &preparer, asked.kind, place)?,
        frames => {
            let frames = frames.iter().map(|frame| bytes(sources, &preparer, MediaKind::Image, frame));
            MediaContent::Frames(frames.collect::<anyhow::Result<_>>()?)
        }
    };
    let name = match asked.places.as_slice() {
        [Location::File(path)] => format!("`{}`", path.display()),
        [Location::Remote(address)] => format!("`{address}`"),
        _ => "what the message holds".to_owned(),
    };
    preparer.medium(&RawMedium { kind: asked.kind, content }).context(name)
}

fn content(sources: &Sources, preparer: &Preparer, kind: MediaKind, place: &Location) -> anyhow::Result<MediaContent> {
    match place {
        Location::File(path) if sources.files => Ok(MediaContent::File(existing(kind, path)?)),
        _ => bytes(sources, preparer, kind, place).map(MediaContent::Bytes),
    }
}

fn bytes(sources: &Sources, preparer: &Preparer, kind: MediaKind, place: &Location) -> anyhow::Result<Vec<u8>> {
    match place {
        Location::Data(bytes) => Ok(bytes.clone()),
        Location::File(path) if sources.files => Ok(fs::read(existing(kind, path)?)?),
        Location::File(_) => {
            Err(Refusal::usage("files are not read here", "put the medium into a data URL (`data:image/png;base64,…`)")
                .into())
        }
        Location::Remote(address) => remote(sources, address, max_bytes(preparer, kind)),
    }
}

#[cfg(feature = "fetch")]
fn remote(sources: &Sources, address: &str, max_bytes: u64) -> anyhow::Result<Vec<u8>> {
    Ok(crate::fetch::medium::read(address, &sources.hosts, max_bytes)?)
}

#[cfg(not(feature = "fetch"))]
fn remote(_: &Sources, address: &str, _: u64) -> anyhow::Result<Vec<u8>> {
    let message = format!("`{address}` is not read: this build has no HTTP client");
    Err(Refusal::usage(message, "build with the feature `fetch`, or download it first").into())
}

/// Most bytes that a medium may have.
fn max_bytes(preparer: &Preparer, kind: MediaKind) -> u64 {
    match (&preparer.intake, kind) {
        (Intake::Hearing { limits, .. }, _) => limits.max_bytes as u64,
        (Intake::Sight { clips: Some(clips), .. }, MediaKind::Video) => clips.ffmpeg.limits().max_bytes,
        _ => preparer.limits.max_bytes as u64,
    }
}

fn existing(kind: MediaKind, file: &Path) -> anyhow::Result<std::path::PathBuf> {
    let takes = match kind {
        MediaKind::Image => "a picture is a JPEG, PNG, WebP, GIF or BMP file",
        MediaKind::Video => "a clip is a file that ffmpeg reads",
        MediaKind::Audio => "a sound is a WAV, FLAC, MP3 or Ogg file",
    };
    let unread = |error: std::io::Error| Refusal::missing(format!("`{}`: {error}", file.display()), takes);
    let found = file.metadata().map_err(unread)?;
    if !found.is_file() {
        return Err(Refusal::missing(format!("`{}` is no file", file.display()), takes).into());
    }
    Ok(file.to_owned())
}

/// With the means to read clips, where some are shown to a model whose settings do not say how.
fn seeing(preparer: &Preparer, kind: MediaKind) -> anyhow::Result<Preparer> {
    let mut preparer = preparer.clone();
    if let (MediaKind::Video, Intake::Sight { processor, clips: clips @ None }) = (kind, &mut preparer.intake) {
        let video = preprocess::usual_video(processor);
        *clips = Some(Box::new(preprocess::clips(&video, &LimitsConfig::default())?));
    }
    Ok(preparer)
}

/// As a part of a message wants it to be seen.
fn wished(mut preparer: Preparer, kind: MediaKind, wishes: Wishes) -> anyhow::Result<Preparer> {
    let Wishes { min_pixels, max_pixels, fps, frames } = wishes;
    if min_pixels.is_some() || max_pixels.is_some() {
        let Intake::Sight { processor: Processor::Qwen2Vl(qwen), .. } = &mut preparer.intake else {
            let hint =
                "`min_pixels` and `max_pixels` are for encoders that take pictures of any size, such as Qwen2-VL's";
            return Err(Refusal::usage("this encoder takes pictures of one size", hint).into());
        };
        let range = if kind == MediaKind::Video { &mut qwen.videos } else { &mut qwen.images };
        range.min = min_pixels.unwrap_or(range.min);
        range.max = max_pixels.unwrap_or(range.max.max(range.min));
    }
    if fps.is_some() || frames.is_some() {
        let Intake::Sight { clips: Some(clips), .. } = &mut preparer.intake else {
            return Err(Refusal::usage("no clip", "`fps` and `nframes` are for clips").into());
        };
        let frames = frames.map(frames_of).transpose()?;
        clips.rule.sampling = sampled(clips.rule.sampling, fps, frames);
    }
    Ok(preparer)
}

fn frames_of(wished: u64) -> Result<u32, Refusal> {
    match u32::try_from(wished) {
        Ok(frames) if frames <= MAX_FRAMES => Ok(frames),
        _ => Err(Refusal::usage(format!("`nframes` is {wished}"), format!("at most {MAX_FRAMES} are taken of a clip"))),
    }
}

/// So many frames a second, or in all, by the family's rule.
fn sampled(rule: FrameSampling, fps: Option<f64>, frames: Option<u32>) -> FrameSampling {
    let most = VideoConfig::default().max_frames;
    match (rule, frames, fps) {
        (FrameSampling::Qwen2Vl(smart), Some(frames), _) => {
            FrameSampling::Qwen2Vl(SmartFrames { wanted: WantedFrames::Number(frames), ..smart })
        }
        (FrameSampling::Qwen2Vl(smart), None, Some(fps)) => {
            let (min_frames, max_frames) = match smart.wanted {
                WantedFrames::PerSecond { min_frames, max_frames, .. } => (min_frames, max_frames),
                WantedFrames::Number(_) => (VideoConfig::default().min_frames, most),
            };
            let wanted = WantedFrames::PerSecond { fps, min_frames, max_frames };
            FrameSampling::Qwen2Vl(SmartFrames { wanted, rounding: FrameRounding::Down, ..smart })
        }
        (_, Some(frames), _) => FrameSampling::Linspace { frames },
        (_, None, Some(fps)) => FrameSampling::Step { fps, max_frames: most },
        (rule, None, None) => rule,
    }
}
