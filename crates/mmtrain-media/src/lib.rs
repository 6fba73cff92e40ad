//! Image bytes to pixels: sniffing, limits, decoding, resizing, normalising; sound bytes to samples to log-mel features;
//! videos to clips.
//!
//! One place owns every decode, so that hostile or broken files are an error of that sample and never
//! of the run: the container is found by magic bytes, the size is read from the header and checked
//! against [`MediaLimits`] before any pixel is allocated, and a panic inside a decoder is caught.
//!
//! ```text
//! bytes ─ sniff ─▶ ImageKind ─ probe ─▶ Size ─ Processor::layout ─▶ MediaLayout ─▶ tokens, before any pixel is decoded
//!                                       └─ decode ─▶ Rgb8 ─ Processor::process ─▶ MediaValues { f32 values, MediaLayout }
//! bytes ─ audio_length ─▶ SoundLength ─ SoundProcessor::layout ─▶ SoundLayout ─▶ tokens
//!       └─ decode_audio ─▶ Sound ─ SoundProcessor::process ─▶ MediaValues
//! file  ─ Ffmpeg::probe ─▶ VideoInfo ─ ClipRule::plan ─▶ ClipPlan { indices, MediaLayout } ─▶ tokens
//!       └─ Ffmpeg::decode_frames ─▶ [Rgb8] ─ Processor::process_video ─▶ MediaValues
//! ```
//!
//! - [`sniff`], [`probe`], [`decode`]: JPEG, PNG, WebP, GIF, BMP; every colour kind becomes RGB.
//! - [`resize`]: Pillow's filters, bit for bit.
//! - [`Processor`]: what a checkpoint wants to see, read from its `preprocessor_config.json`: one square
//!   ([`ImageProcessor`]: CLIP, `SigLIP`, `DINOv2`, `LLaVA`), or tiles or patches ([`AnyRes`], [`Idefics3`], [`Mllama`],
//!   [`Qwen2Vl`]).
//! - [`MediaLayout`]: tiles, grid and token count of a picture, from its size.
//! - [`sniff_medium`]: whether bytes are a picture, a sound, a video or a web page.
//! - [`decode_audio`]: WAV, FLAC, MP3 and Ogg Vorbis to one channel, within [`AudioLimits`]; [`Sound::resampled`].
//! - [`SoundProcessor`]: what an audio encoder wants to hear; [`LogMel`]: samples to Whisper's features.
//! - [`Preprocessor`]: one of the two, as a checkpoint's `preprocessor_config.json` has it.
//! - [`Ffmpeg`]: videos in a child process, within [`VideoLimits`]: frames by number, the sound.
//! - [`FrameSampling`]: which frames of a video published models see; [`ClipRule`]: and what they become.
//! - [`FrameCache`]: decoded frames on disk.
//! - [`Ablation`]: media that say less than they do, for comparing.
//! - [`LabelFont::draw_boxes`]: boxes with labels on a picture, for people.
//! - [`MediaError`]: with [`MediaError::reason`], a short stable name under which failures are counted.

mod sniff;

mod ablate;

mod draw;

mod medium;

mod limits;

mod size;

mod decode;

mod jpeg;

mod flatten;

mod pixels;

mod filter;

mod nearest;

mod resize;

mod normalise;

mod processor;

mod anyres;

mod idefics3;

mod mllama;

mod qwen2_vl;

mod family;

mod shrink;

mod layout;

mod fft;

mod mel;

mod log_mel;

mod audio;

mod sound;

mod preprocessor;

mod sampling;

mod video;

mod clip;

mod disk_cache;

mod cache;

mod hf;

mod error;

#[cfg(test)]
mod fixtures;

pub use ablate::{Ablation, CutOut};
pub use anyres::{AnyRes, AnyResLayout};
pub use audio::{AudioError, AudioInfo, AudioLimits, Sound, SoundLength, audio_length, decode_audio, probe_audio};
pub use cache::{FrameCache, FrameKey, VideoIdentity};
pub use clip::{ClipPlan, ClipRule};
pub use decode::{decode, probe};
pub use disk_cache::DiskCache;
pub use draw::{LabelFont, MarkedBox};
pub use error::MediaError;
pub use family::{MediaValues, Processor};
pub use filter::Filter;
pub use flatten::Alpha;
pub use idefics3::{Idefics3, SplitLayout, Splitting};
pub use layout::{FeatureRows, MediaLayout, MediaTokens, SoundLayout, TokenGrid};
pub use limits::MediaLimits;
pub use log_mel::{AudioFeatures, LogMel};
pub use medium::{AudioKind, MediumKind, VideoKind, sniff_medium};
pub use mllama::{CanvasLayout, Mllama};
pub use normalise::Normalise;
pub use pixels::Rgb8;
pub use preprocessor::Preprocessor;
pub use processor::{Fit, ImageProcessor};
pub use qwen2_vl::{GridLayout, PixelRange, Qwen2Vl};
pub use resize::{resize, resize_bicubic};
pub use sampling::{FrameRounding, FrameSampling, SmartFrames, WantedFrames};
pub use shrink::Shrunk;
pub use size::Size;
pub use sniff::{ImageKind, sniff};
pub use sound::SoundProcessor;
pub use video::{AudioTrack, Ffmpeg, FrameSize, VideoError, VideoFile, VideoInfo, VideoLimits, VideoTools};
