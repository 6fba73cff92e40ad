//! Prints how many hours of sound, and how many frames of video, one core turns into encoder input per second.
//!
//! `cargo run --release -p mmtrain-media --example sound_video_speed` (it needs `ffmpeg`, which makes the media as well)

#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use mmtrain_media::{
    AudioLimits, Ffmpeg, Filter, FrameSampling, FrameSize, LogMel, Size, Sound, SoundProcessor, VideoFile, VideoLimits,
    decode_audio,
};

/// Of the sounds, in seconds.
const SECS: f64 = 60.0;

fn make(path: &Path, source: &str, options: &str) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source]);
    let status = command.args(options.split_whitespace()).arg(path).status()?;
    if status.success() { Ok(()) } else { Err(format!("ffmpeg could not make {}", path.display()).into()) }
}

/// Seconds of one of several runs.
fn secs<T>(runs: u32, mut work: impl FnMut() -> Result<T, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    black_box(work()?);
    let start = Instant::now();
    for _ in 0..runs {
        black_box(work()?);
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(runs))
}

fn hours(what: &str, secs: f64) {
    println!("{what:<44} {:>7.1} ms a minute {:>8.3} hours/s on one core", secs * 1e3, SECS / 3600.0 / secs);
}

fn sounds(directory: &Path) -> Result<(), Box<dyn Error>> {
    let source = format!("anoisesrc=r=44100:d={SECS}:c=pink:a=0.3,aformat=channel_layouts=stereo");
    let limits = AudioLimits::default();
    for (name, options) in [
        ("wav", "-c:a pcm_s16le"),
        ("flac", "-c:a flac"),
        ("mp3", "-c:a libmp3lame -b:a 128k"),
        ("ogg", "-c:a libvorbis"),
    ] {
        let path = directory.join(format!("sound.{name}"));
        make(&path, &source, options)?;
        let bytes = fs_err::read(&path)?;
        hours(&format!("decode {name}, 44.1 kHz stereo"), secs(5, || Ok(decode_audio(&bytes, &limits)?))?);
    }
    let sound = decode_audio(&fs_err::read(directory.join("sound.wav"))?, &limits)?;
    hours("resample 44.1 to 16 kHz", secs(5, || Ok(sound.clone().resampled(16_000)?))?);
    let half = Sound { samples: sound.samples[..sound.samples.len() / 2].to_vec(), rate: sound.rate };
    let whisper = SoundProcessor { log_mel: LogMel::whisper(128) };
    hours("resample and log-mel, 128 bands", 2.0 * secs(5, || Ok(whisper.process(half.clone())?))?);
    Ok(())
}

fn frames(what: &str, frames: usize, secs: f64) {
    println!("{what:<44} {:>7.1} ms a clip   {:>8.0} frames/s on one core", secs * 1e3, frames as f64 / secs);
}

fn videos(directory: &Path, ffmpeg: &Ffmpeg) -> Result<(), Box<dyn Error>> {
    let path = directory.join("film.mp4");
    make(&path, "testsrc2=size=640x360:rate=25", "-frames:v 250 -c:v libx264 -pix_fmt yuv420p")?;
    let file = VideoFile::open(&path, ffmpeg.limits())?;
    println!("probe: {:.1} ms", secs(5, || Ok(ffmpeg.probe(&file)?))? * 1e3);
    let info = ffmpeg.probe(&file)?;
    let small = Some(FrameSize { size: Size::square(224), filter: Filter::Bicubic });
    let all: Vec<u64> = (0..info.frames).collect();
    let eight = FrameSampling::Linspace { frames: 8 }.indices(info.frames, info.fps)?;
    for (what, indices, size) in [
        ("250 of 250 frames, 640 x 360", &all, None),
        ("the same, to 224 x 224", &all, small),
        ("8 of them, to 224 x 224", &eight, small),
    ] {
        let secs = secs(3, || Ok(ffmpeg.decode_frames(&file, &info, indices, size)?))?;
        frames(what, info.frames as usize, secs);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let ffmpeg = Ffmpeg::find(VideoLimits::default())?;
    sounds(directory.path())?;
    videos(directory.path(), &ffmpeg)
}
