//! How media become the encoder's input: its own `preprocessor_config.json`, or its family's habits.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mmtrain_config::{DataConfig, EncoderConfig, ImageFit, LimitsConfig, SamplingKind, VideoConfig};
use mmtrain_data::{Clips, Intake};
use mmtrain_media::{
    AudioLimits, ClipRule, Ffmpeg, Fit, FrameCache, FrameRounding, FrameSampling, ImageProcessor, LogMel, Preprocessor,
    Processor, SmartFrames, SoundProcessor, VideoLimits, WantedFrames,
};
use mmtrain_model::config::{EncoderConfig as EncoderSizes, FusedConfig, VisionFamily, VitConfig, VlmConfig};
use serde_json::{Value, json};

use crate::fail::Refusal;

/// What the encoder wants to see: its own `preprocessor_config.json`, or its family's habits.
pub(crate) fn preprocessor(encoder: &EncoderConfig, sizes: &VlmConfig) -> anyhow::Result<Preprocessor> {
    let mut preprocessor = match &encoder.weights {
        Some(dir) => preprocessor_in(dir, &sizes.encoder)?,
        None => family_preprocessor(&sizes.encoder)?,
    };
    set_fit(&mut preprocessor, encoder.image_fit)?;
    check_size(&preprocessor, &sizes.encoder)?;
    Ok(preprocessor)
}

/// That of a model which a run begins with, but for what the configuration says of it.
pub(crate) fn begun_with(dir: &Path, own: &EncoderConfig, encoder: &EncoderSizes) -> anyhow::Result<Preprocessor> {
    let mut preprocessor = fitting(dir, encoder)?;
    set_fit(&mut preprocessor, own.image_fit)?;
    Ok(preprocessor)
}

/// How pictures become squares, where a configuration says it.
fn set_fit(preprocessor: &mut Preprocessor, fit: Option<ImageFit>) -> anyhow::Result<()> {
    match (fit, preprocessor) {
        (None, _) => {}
        (Some(fit), Preprocessor::Sight(Processor::Square(square))) => {
            square.fit = match fit {
                ImageFit::Exact => Fit::Exact,
                ImageFit::ShortestEdgeCrop => Fit::ShortestEdgeCrop,
                ImageFit::PadSquare => Fit::PadSquare,
            };
        }
        (Some(_), other) => {
            let message =
                format!("`model.encoder.image_fit` is for encoders of one square, this one's is {}", other.name());
            return Err(Refusal::usage(message, "leave `model.encoder.image_fit` out").into());
        }
    }
    Ok(())
}

/// That of a whole model's directory, which has to make what the encoder takes.
pub(crate) fn fitting(dir: &Path, encoder: &EncoderSizes) -> anyhow::Result<Preprocessor> {
    let preprocessor = preprocessor_in(dir, encoder)?;
    check_size(&preprocessor, encoder)?;
    Ok(preprocessor)
}

/// The file in which a directory says how media are prepared: version 5 of `transformers` nests it in that of the whole
/// processor.
fn file_in(dir: &Path) -> Option<PathBuf> {
    let files = ["preprocessor_config.json", "processor_config.json"].map(|name| dir.join(name));
    let [own, whole] = files;
    let nests = || {
        let json: Value = serde_json::from_str(&fs_err::read_to_string(&whole).ok()?).ok()?;
        ["image_processor", "feature_extractor"].iter().any(|key| json[key].is_object()).then_some(())
    };
    if own.is_file() {
        return Some(own);
    }
    nests().map(|()| whole)
}

/// Whether a directory says how media are prepared.
pub(crate) fn is_in(dir: &Path) -> bool {
    file_in(dir).is_some()
}

/// A file with the settings for clips that stand beside it in a `video_preprocessor_config.json`.
fn with_videos(dir: &Path, json: String) -> anyhow::Result<String> {
    let file = dir.join("video_preprocessor_config.json");
    if !file.is_file() {
        return Ok(json);
    }
    let of_images: Value = serde_json::from_str(&json).unwrap_or_default();
    if !of_images.is_object() || of_images["image_processor"].is_object() {
        return Ok(json);
    }
    let of_videos: Value = serde_json::from_str(&fs_err::read_to_string(&file)?).map_err(|error| {
        Refusal::usage(format!("`{}`: {error}", file.display()), "the file is damaged: fetch it again")
    })?;
    Ok(json!({ "image_processor": of_images, "video_processor": of_videos }).to_string())
}

/// What a directory's files say, or the habits of the encoder's family.
pub(crate) fn preprocessor_in(dir: &Path, encoder: &EncoderSizes) -> anyhow::Result<Preprocessor> {
    let Some(file) = file_in(dir) else { return family_preprocessor(encoder) };
    let json = with_videos(dir, fs_err::read_to_string(&file)?)?;
    let read = match encoder {
        EncoderSizes::Audio(_) => SoundProcessor::from_hf(&json).map(Preprocessor::Hearing),
        _ => Processor::from_hf(&json).map(Preprocessor::Sight),
    };
    read.with_context(|| format!("`{}`", file.display()))
}

/// The same of an encoder that sees.
pub(crate) fn sight(dir: &Path, encoder: &EncoderSizes) -> anyhow::Result<Processor> {
    match preprocessor_in(dir, encoder)? {
        Preprocessor::Sight(processor) => Ok(processor),
        Preprocessor::Hearing(_) => {
            let message = format!("`{}` is an encoder of sounds, two towers see one picture", dir.display());
            Err(Refusal::usage(message, "set `model.encoder.second` to an image tower").into())
        }
    }
}

/// What preprocessing makes must be what the encoder takes: squares or tiles of its size, patches of its grid,
/// spectrograms of its bands and length.
fn check_size(preprocessor: &Preprocessor, encoder: &EncoderSizes) -> anyhow::Result<()> {
    let (gives, takes) = (gives(preprocessor), takes(encoder, preprocessor));
    if gives == takes {
        return Ok(());
    }
    Err(Refusal::usage(
        format!("preprocessing gives {gives}, the encoder takes {takes}"),
        "the preprocessor_config.json belongs to another encoder",
    )
    .into())
}

fn gives(preprocessor: &Preprocessor) -> String {
    match preprocessor {
        Preprocessor::Sight(Processor::Square(square)) => pixels(square.size as usize),
        Preprocessor::Sight(Processor::AnyRes(tiles)) => pixels(tiles.side as usize),
        Preprocessor::Sight(Processor::Idefics3(tiles)) => pixels(tiles.side as usize),
        Preprocessor::Sight(Processor::Mllama(canvas)) => tiles(canvas.max_tiles as usize, canvas.side as usize),
        Preprocessor::Sight(Processor::Qwen2Vl(qwen)) => {
            patches([qwen.patch_size, qwen.merge, qwen.frames].map(|size| size as usize))
        }
        Preprocessor::Hearing(SoundProcessor { log_mel }) => spectrogram(log_mel.mels as usize, log_mel.frames()),
    }
}

/// The same of an encoder. A tower that takes any size takes what it gets.
fn takes(encoder: &EncoderSizes, preprocessor: &Preprocessor) -> String {
    match encoder {
        EncoderSizes::QwenVl(qwen) => patches([qwen.patch_size, qwen.spatial_merge_size, qwen.temporal_patch_size]),
        EncoderSizes::Mllama(mllama) => tiles(mllama.max_num_tiles, mllama.image_size),
        EncoderSizes::Audio(audio) => spectrogram(audio.num_mel_bins, audio.frames()),
        EncoderSizes::Vit(VitConfig { vision, .. })
        | EncoderSizes::Fused(FusedConfig { first: VitConfig { vision, .. }, .. }) => match preprocessor {
            Preprocessor::Sight(Processor::Square(_) | Processor::AnyRes(_) | Processor::Idefics3(_))
                if vision.takes_any_size() =>
            {
                gives(preprocessor)
            }
            _ => pixels(vision.image_size),
        },
    }
}

fn pixels(side: usize) -> String {
    format!("{side} pixels a side")
}

fn tiles(count: usize, side: usize) -> String {
    format!("at most {count} tiles of {side} pixels a side")
}

fn patches([patch_size, merge, frames]: [usize; 3]) -> String {
    format!("patches of {patch_size} pixels, {merge} x {merge} to a token (`merge_size`), of {frames} frames")
}

fn spectrogram(mels: usize, frames: usize) -> String {
    format!("{mels} mel bands and {frames} frames")
}

/// The family's habits, for an encoder without a `preprocessor_config.json`.
fn family_preprocessor(encoder: &EncoderSizes) -> anyhow::Result<Preprocessor> {
    let EncoderSizes::Audio(audio) = encoder else { return family_processor(encoder).map(Preprocessor::Sight) };
    let whisper = LogMel::whisper(audio.num_mel_bins as u32);
    let chunk_secs = (audio.frames() as u64 * u64::from(whisper.hop_length) / u64::from(whisper.sampling_rate)) as u32;
    Ok(Preprocessor::Hearing(SoundProcessor { log_mel: LogMel { chunk_secs, ..whisper } }))
}

/// The same of an image tower.
pub(crate) fn family_processor(encoder: &EncoderSizes) -> anyhow::Result<Processor> {
    let Some(vit) = encoder.vit() else {
        return Err(Refusal::missing(
            "the encoder's directory has no `preprocessor_config.json`",
            "it comes with the checkpoint and says how media are prepared",
        )
        .into());
    };
    let side = vit.vision.image_size as u32;
    let (clip, siglip) = (ImageProcessor::clip(side), ImageProcessor::siglip(side));
    Ok(Processor::Square(match vit.vision.family {
        VisionFamily::Clip => clip,
        VisionFamily::Siglip | VisionFamily::Idefics3 | VisionFamily::SmolVlm => siglip,
        VisionFamily::Dinov2 { .. } => ImageProcessor { mean: IMAGENET_MEAN, std: IMAGENET_STD, ..clip },
        VisionFamily::Blip2 => ImageProcessor { fit: Fit::Exact, ..clip },
    }))
}

/// `IMAGENET_DEFAULT_MEAN` and `_STD` of `transformers`' `image_utils.py`, with which DINOv2 was trained.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// What the encoder takes: sounds, or pictures, and clips where the configuration says how they are read.
pub(crate) fn intake(preprocessor: Preprocessor, data: &DataConfig) -> anyhow::Result<Intake> {
    let processor = match preprocessor {
        Preprocessor::Sight(processor) => processor,
        Preprocessor::Hearing(processor) => {
            return Ok(Intake::Hearing { processor, limits: audio_limits(&data.limits) });
        }
    };
    let Some(video) = &data.video else { return Ok(processor.into()) };
    Ok(Intake::Sight { processor, clips: Some(Box::new(clips(video, &data.limits)?)) })
}

/// How a family sees clips where no settings say it: as Qwen2-VL does, or a few frames, evenly spread.
pub(crate) fn usual_video(processor: &Processor) -> VideoConfig {
    let sampling = match processor {
        Processor::Qwen2Vl(_) => SamplingKind::Qwen2Vl,
        _ => SamplingKind::Uniform,
    };
    VideoConfig { sampling, ..VideoConfig::default() }
}

/// How clips are read.
pub(crate) fn clips(video: &VideoConfig, limits: &LimitsConfig) -> anyhow::Result<Clips> {
    let ffmpeg = Ffmpeg::find(video_limits(limits))
        .map_err(|error| Refusal::usage(error.to_string(), "install ffmpeg, or leave clips out (`[data.video]`)"))?;
    let cache = video.cache.as_ref().map(|dir| FrameCache::open(dir, video.cache_bytes)).transpose()?;
    let rule = ClipRule { sampling: sampling(video), total_pixels: video.total_pixels };
    Ok(Clips { rule, every: 1, ffmpeg, cache })
}

fn audio_limits(limits: &LimitsConfig) -> AudioLimits {
    AudioLimits { max_bytes: limits.max_audio_bytes, max_secs: limits.max_audio_secs, ..AudioLimits::default() }
}

fn video_limits(limits: &LimitsConfig) -> VideoLimits {
    VideoLimits {
        max_bytes: limits.max_video_bytes,
        max_secs: limits.max_video_secs,
        timeout_secs: limits.video_timeout_secs,
        ..VideoLimits::default()
    }
}

fn sampling(video: &VideoConfig) -> FrameSampling {
    let &VideoConfig { sampling, frames, fps, min_frames, max_frames, .. } = video;
    match sampling {
        SamplingKind::Qwen2Vl => {
            let wanted = WantedFrames::PerSecond { fps, min_frames, max_frames };
            FrameSampling::Qwen2Vl(SmartFrames { wanted, factor: 2, rounding: FrameRounding::Down })
        }
        SamplingKind::VideoChatgpt => FrameSampling::VideoChatGpt { frames },
        SamplingKind::Uniform => FrameSampling::Linspace { frames },
        SamplingKind::Middles => FrameSampling::SegmentMiddles { frames },
        SamplingKind::Step => FrameSampling::Step { fps, max_frames },
        SamplingKind::LlamaFactory => FrameSampling::LlamaFactory { fps, max_frames },
    }
}
