//! How media become the encoder's input: its own `preprocessor_config.json`, or its family's habits.

use std::path::Path;

use anyhow::Context as _;
use mmtrain_config::{DataConfig, EncoderConfig, ImageFit, LimitsConfig, SamplingKind, VideoConfig};
use mmtrain_data::{Clips, Intake};
use mmtrain_media::{
    AudioLimits, ClipRule, Ffmpeg, Fit, FrameCache, FrameRounding, FrameSampling, ImageProcessor, LogMel, Preprocessor,
    Processor, SmartFrames, SoundProcessor, VideoLimits, WantedFrames,
};
use mmtrain_model::config::{EncoderConfig as EncoderSizes, VisionFamily, VlmConfig};

use crate::fail::Refusal;

/// What the encoder wants to see: its own `preprocessor_config.json`, or its family's habits.
pub(crate) fn preprocessor(encoder: &EncoderConfig, sizes: &VlmConfig) -> anyhow::Result<Preprocessor> {
    let mut preprocessor = match &encoder.weights {
        Some(dir) => preprocessor_in(dir, &sizes.encoder)?,
        None => family_preprocessor(&sizes.encoder)?,
    };
    if let (Some(fit), Preprocessor::Sight(Processor::Square(square))) = (encoder.image_fit, &mut preprocessor) {
        square.fit = match fit {
            ImageFit::Exact => Fit::Exact,
            ImageFit::ShortestEdgeCrop => Fit::ShortestEdgeCrop,
            ImageFit::PadSquare => Fit::PadSquare,
        };
    }
    check_size(&preprocessor, &sizes.encoder)?;
    Ok(preprocessor)
}

/// A directory's `preprocessor_config.json`, or the habits of the encoder's family.
pub(crate) fn preprocessor_in(dir: &Path, encoder: &EncoderSizes) -> anyhow::Result<Preprocessor> {
    let file = dir.join("preprocessor_config.json");
    if !file.is_file() {
        return family_preprocessor(encoder);
    }
    let json = fs_err::read_to_string(&file)?;
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

/// Squares must be of the tower's size, spectrograms of the encoder's bands and length.
fn check_size(preprocessor: &Preprocessor, encoder: &EncoderSizes) -> anyhow::Result<()> {
    let (gives, takes) = match (preprocessor, encoder) {
        (Preprocessor::Sight(Processor::Square(square)), _) => match encoder.vit() {
            Some(vit) if square.size as usize != vit.vision.image_size => {
                (format!("{} pixels a side", square.size), vit.vision.image_size.to_string())
            }
            _ => return Ok(()),
        },
        (Preprocessor::Hearing(SoundProcessor { log_mel }), EncoderSizes::Audio(audio)) => {
            let (gives, takes) = ((log_mel.mels as usize, log_mel.frames()), (audio.num_mel_bins, audio.frames()));
            if gives == takes {
                return Ok(());
            }
            let size = |(mels, frames): (usize, usize)| format!("{mels} mel bands and {frames} frames");
            (size(gives), size(takes))
        }
        _ => return Ok(()),
    };
    Err(Refusal::usage(
        format!("preprocessing gives {gives}, the encoder takes {takes}"),
        "the preprocessor_config.json belongs to another encoder",
    )
    .into())
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
    let ffmpeg = Ffmpeg::find(video_limits(&data.limits))
        .map_err(|error| Refusal::usage(error.to_string(), "install ffmpeg, or leave `[data.video]` out"))?;
    let cache = video.cache.as_ref().map(|dir| FrameCache::open(dir, video.cache_bytes)).transpose()?;
    let rule = ClipRule { sampling: sampling(video), total_pixels: video.total_pixels };
    Ok(Intake::Sight { processor, clips: Some(Box::new(Clips { rule, every: 1, ffmpeg, cache })) })
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
