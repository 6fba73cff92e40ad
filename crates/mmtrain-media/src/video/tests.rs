//! Videos made by `ffmpeg` itself, of frames whose number can be read from their colour.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::*;
use crate::{AudioLimits, Filter, Rgb8, Size};

static FFMPEG: LazyLock<Option<Ffmpeg>> = LazyLock::new(|| Ffmpeg::find(VideoLimits::default()).ok());

/// The luma of frame `n` is `16 + 2 * n` throughout, in a size that tells the sides apart; 25 frames a second.
const NUMBERED: &str = "color=black:size=64x48:rate=25,format=yuv420p,geq=lum='16+2*N':cb=128:cr=128";

/// `None`, and a line about it, where there is no `ffmpeg`.
fn ffmpeg() -> Option<&'static Ffmpeg> {
    if FFMPEG.is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no ffmpeg (apt-get install ffmpeg)");
    }
    FFMPEG.as_ref()
}

struct Studio(tempfile::TempDir);

impl Studio {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `options` between the source and the file.
    fn film(&self, name: &str, source: &str, options: &str) -> PathBuf {
        let path = self.path(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source]);
        command.args(options.split_whitespace()).arg(format!("file:{}", path.display()));
        assert!(command.status().expect("it starts").success(), "{name}");
        path
    }

    /// `frames` numbered ones in H.264, each coded losslessly.
    fn numbered(&self, name: &str, frames: u32) -> PathBuf {
        self.film(name, NUMBERED, &format!("-frames:v {frames} -c:v libx264 -qp 0 -bf 2 -g 10"))
    }
}

fn open(path: &Path) -> Result<VideoFile, VideoError> {
    VideoFile::open(path, &VideoLimits::default())
}

fn probe(ffmpeg: &Ffmpeg, path: &Path) -> VideoInfo {
    ffmpeg.probe(&open(path).expect("a video")).expect("a header")
}

/// The numbers in the colours of frames; the luma range of 16 to 235 is stretched to 0 to 255.
fn numbers(frames: &[Rgb8]) -> Vec<u64> {
    let number = |frame: &Rgb8| {
        let level = f64::from(frame.data[frame.data.len() / 2]);
        (level * 219.0 / 255.0 / 2.0).round() as u64
    };
    frames.iter().map(number).collect()
}

fn picked(ffmpeg: &Ffmpeg, path: &Path, indices: &[u64]) -> Vec<u64> {
    let file = open(path).expect("a video");
    let info = ffmpeg.probe(&file).expect("a header");
    numbers(&ffmpeg.decode_frames(&file, &info, indices, None).expect("frames"))
}

#[test]
fn exactly_the_frames_come_that_are_asked_for() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let path = studio.numbered("film.mp4", 100);
    let info = probe(ffmpeg, &path);
    let expected = VideoInfo { frames: 100, fps: 25.0, duration_secs: 4.0, size: Size::new(64, 48), audio: None };
    assert_eq!(info, expected);
    let indices = [0, 14, 28, 42, 57, 71, 85, 99];
    assert_eq!(picked(ffmpeg, &path, &indices), indices);
    let shuffled = [99, 3, 3, 0, 50, 3];
    assert_eq!(picked(ffmpeg, &path, &shuffled), shuffled);
    let all: Vec<u64> = (0..100).collect();
    assert_eq!(picked(ffmpeg, &path, &all), all);
    assert_eq!(picked(ffmpeg, &path, &[]), [0_u64; 0]);
}

/// As many as Qwen2-VL takes, and more than one child picks; levels repeat after 100 frames.
#[test]
fn frames_may_be_asked_for_by_the_hundreds() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let source = NUMBERED.replace("2*N", "2*mod(N,100)").replace("64x48", "16x16");
    let path = studio.film("long.mp4", &source, "-frames:v 1300 -c:v libx264 -qp 0 -preset ultrafast");
    let file = open(&path).expect("a video");
    let info = ffmpeg.probe(&file).expect("a header");
    let patient = Ffmpeg { limits: VideoLimits { max_frames: 1200, ..*ffmpeg.limits() }, ..ffmpeg.clone() };
    for count in [768, 1200] {
        let indices: Vec<u64> = (0..count).map(|i| i * 1299 / (count - 1)).collect();
        let frames = patient.decode_frames(&file, &info, &indices, None).expect("frames");
        assert_eq!(numbers(&frames), indices.iter().map(|index| index % 100).collect::<Vec<_>>(), "{count}");
    }
}

#[test]
fn containers_and_codecs_give_the_same_frames() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    for (name, options) in [
        ("film.mov", "-c:v mpeg4 -q:v 2"),
        ("film.mkv", "-c:v ffv1"),
        ("film.webm", "-c:v libvpx -crf 4 -b:v 1M"),
        ("film.avi", "-c:v mjpeg -q:v 2"),
    ] {
        let path = studio.film(name, NUMBERED, &format!("-frames:v 60 {options}"));
        assert_eq!(probe(ffmpeg, &path).frames, 60, "{name}");
        assert_eq!(picked(ffmpeg, &path, &[0, 7, 31, 59]), [0, 7, 31, 59], "{name}");
    }
}

/// Every third frame is missing, and with it its time.
#[test]
fn frames_at_uneven_times_are_counted_one_by_one() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let source = format!("{NUMBERED},select='mod(n\\,3)'");
    let path = studio.film("vfr.mkv", &source, "-frames:v 40 -vsync vfr -c:v ffv1");
    assert_eq!(probe(ffmpeg, &path).frames, 40);
    assert_eq!(picked(ffmpeg, &path, &[0, 1, 2, 3, 39]), [1, 2, 4, 5, 59]);
}

#[test]
fn a_film_held_upright_is_shown_upright() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let flat = studio.numbered("flat.mp4", 10);
    let path = studio.path("turned.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(flat).args(["-c", "copy", "-metadata:s:v:0", "rotate=90"]).arg(&path);
    assert!(command.status().expect("it starts").success());
    let file = open(&path).expect("a video");
    let info = ffmpeg.probe(&file).expect("a header");
    assert_eq!(info.size, Size::new(48, 64));
    let frames = ffmpeg.decode_frames(&file, &info, &[4], None).expect("frames");
    assert_eq!((frames[0].size(), numbers(&frames)), (Size::new(48, 64), vec![4]));
}

#[test]
fn frames_are_resized_as_pictures_are() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let path = studio.film("test.mp4", "testsrc=size=64x48:rate=25", "-frames:v 3 -pix_fmt yuv420p");
    let file = open(&path).expect("a video");
    let info = ffmpeg.probe(&file).expect("a header");
    let small = FrameSize { size: Size::square(28), filter: Filter::Bicubic };
    let whole = ffmpeg.decode_frames(&file, &info, &[2], None).expect("frames");
    let resized = ffmpeg.decode_frames(&file, &info, &[2], Some(small)).expect("frames");
    assert_eq!(resized[0], crate::resize(&whole[0], small.size, small.filter));
}

#[test]
fn a_video_has_a_soundtrack_or_says_that_it_has_none() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let silent = studio.numbered("silent.mp4", 10);
    let error = ffmpeg.decode_soundtrack(&open(&silent).expect("a video"), &AudioLimits::default()).expect_err("none");
    assert_eq!((error.reason(), error.to_string().as_str()), ("video_no_track", "no audio track"));
    let sine = "sine=frequency=440:sample_rate=16000:duration=2";
    let one_sided = "-af pan=stereo|c0=c0|c1=0*c0 -c:a flac";
    for (name, options, mean) in [("sound.mkv", one_sided, 0.5), ("sound.m4a", "-c:a aac -b:a 128k", 1.0)] {
        let path = studio.film(name, sine, options);
        let sound = ffmpeg.decode_soundtrack(&open(&path).expect("a file"), &AudioLimits::default()).expect("a sound");
        // AAC fills its last frame
        assert_eq!((sound.rate, sound.samples.len().div_ceil(1024)), (16_000, 32), "{name}");
        // lavfi's sine has an amplitude of 1/8
        let wave = |i: usize| (std::f64::consts::TAU * 440.0 * i as f64 / 16_000.0).sin() * mean / 8.0;
        let off = (4000..28_000).map(|i| (f64::from(sound.samples[i]) - wave(i)).abs()).fold(0.0, f64::max);
        assert!(off < 0.005, "{name}: {off}");
    }
    let long = studio.film("long.mkv", sine, "-c:a flac");
    let limits = AudioLimits { max_secs: 1, ..AudioLimits::default() };
    let error = ffmpeg.decode_soundtrack(&open(&long).expect("a file"), &limits).expect_err("too long");
    assert_eq!(error.reason(), "audio_too_long");
}

#[test]
fn bytes_are_as_good_as_a_path() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let bytes = fs_err::read(studio.numbered("film.mp4", 20)).expect("written");
    let file = VideoFile::from_bytes(&bytes, &VideoLimits::default()).expect("a video");
    let info = ffmpeg.probe(&file).expect("a header");
    let frames = ffmpeg.decode_frames(&file, &info, &[19, 5], None).expect("frames");
    assert_eq!(numbers(&frames), [19, 5]);
}

#[test]
fn names_are_only_names() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let plain = studio.numbered("plain.mp4", 10);
    for name in ["-version", "concat:a|b", "pipe:0", "http:x y.mp4", "a%03d'\\,;.mp4"] {
        let path = studio.path(name);
        fs_err::copy(&plain, &path).expect("copied");
        assert_eq!(picked(ffmpeg, &path, &[9]), [9], "{name}");
    }
}

#[test]
fn what_is_no_video_is_refused_before_ffmpeg_sees_it() {
    let studio = Studio::new();
    let refused = |name: &str, bytes: &[u8]| {
        let path = studio.path(name);
        fs_err::write(&path, bytes).expect("written");
        open(&path).expect_err("refused")
    };
    assert_eq!(refused("text.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n").reason(), "not_video");
    assert_eq!(refused("list.mp4", b"#EXTM3U\nhttp://example.org/\n").reason(), "not_video");
    assert!(refused("page.mp4", b"<!DOCTYPE html>").hint().expect("a hint").contains("web page"));
    assert_eq!(refused("empty.mp4", b"").reason(), "not_video");
    let missing = open(&studio.path("missing.mp4")).expect_err("refused");
    assert_eq!(missing.reason(), "video_unreadable");
    assert!(missing.to_string().contains("missing.mp4"));
    assert_eq!(open(studio.0.path()).expect_err("refused").reason(), "video_unreadable");
}

#[test]
fn a_cut_file_names_both_numbers_or_is_no_video() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let whole = fs_err::read(studio.film(
        "whole.mp4",
        NUMBERED,
        "-frames:v 100 -c:v libx264 -qp 0 -bf 0 -g 10 -movflags +faststart",
    ));
    let whole = whole.expect("written");
    let file = VideoFile::from_bytes(&whole[..whole.len() * 3 / 4], &VideoLimits::default()).expect("a video");
    let info = ffmpeg.probe(&file).expect("the index is at the front");
    assert_eq!(info.frames, 100);
    let error = ffmpeg.decode_frames(&file, &info, &[0, 99], None).expect_err("cut");
    let VideoError::MissingFrames { claimed: 100, found, .. } = error else { panic!("{error}") };
    assert!((20..99).contains(&found), "{found}");
    assert!(error.to_string().contains(&format!("100 frames, {found} can be decoded")));
    // what is there can be had
    let frames = ffmpeg.decode_frames(&file, &info, &[0, found - 1], None).expect("frames");
    assert_eq!(numbers(&frames), [0, found - 1]);

    let back = fs_err::read(studio.numbered("back.mp4", 100)).expect("written");
    let index = back.windows(4).rposition(|name| name == b"moov").expect("an index");
    let file = VideoFile::from_bytes(&back[..index - 4], &VideoLimits::default()).expect("a container");
    let error = ffmpeg.probe(&file).expect_err("the index is gone");
    assert_eq!(error.reason(), "video_truncated_or_corrupt");
    assert!(error.to_string().contains("moov"), "{error}");
}

/// A minute of film at the speed at which it is watched.
#[test]
fn a_child_that_takes_too_long_is_killed() {
    if ffmpeg().is_none() {
        return;
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=duration=60", "-f", "null", "-"]);
    let start = Instant::now();
    let error = child::run("ffmpeg", &mut command, 1, |_| Ok(())).err().expect("a minute is more than a second");
    assert!(matches!(error, VideoError::Timeout { secs: 1, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(error.reason(), "video_timeout");
    assert!(!is_running(&["-i", "testsrc=duration=60"]));
}

#[test]
fn what_a_child_starts_is_killed_with_it() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 59.125 & sleep 59.125"]);
    let start = Instant::now();
    let error = child::run("ffmpeg", &mut command, 1, |_| Ok(())).err().expect("a minute is more than a second");
    assert!(matches!(error, VideoError::Timeout { secs: 1, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let running = fs_err::read_dir("/proc").expect("linux").any(|entry| {
        let command = entry.expect("an entry").path().join("cmdline");
        fs_err::read_to_string(command).is_ok_and(|line| line.contains("59.125"))
    });
    assert!(!running);
}

#[test]
fn a_child_that_is_dropped_is_gone() {
    if ffmpeg().is_none() {
        return;
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=rate=1000", "-f", "rawvideo", "pipe:1"]);
    let mut seen = 0;
    let error = child::run("ffmpeg", &mut command, 60, |bytes| {
        seen += bytes.len();
        Err(VideoError::corrupt("enough"))
    });
    assert!(matches!(error, Err(VideoError::Corrupt { .. })) && seen > 0);
    assert!(!is_running(&["-i", "testsrc=rate=1000"]));
}

/// Whether this process has a child with these words in its command line.
fn is_running(words: &[&str]) -> bool {
    let words = words.join("\0");
    let own = format!("PPid:\t{}\n", std::process::id());
    fs_err::read_dir("/proc").expect("linux").any(|entry| {
        let path = entry.expect("an entry").path();
        let read = |name: &str| fs_err::read_to_string(path.join(name)).unwrap_or_default();
        read("status").contains(&own) && read("cmdline").contains(&words)
    })
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let studio = Studio::new();
    let path = studio.numbered("film.mp4", 100);
    let file = open(&path).expect("a video");
    let info = ffmpeg.probe(&file).expect("a header");
    let strict = |limits: VideoLimits| Ffmpeg { limits, ..ffmpeg.clone() };
    let limits = VideoLimits::default;
    assert_eq!(
        VideoFile::open(&path, &VideoLimits { max_bytes: 9, ..limits() }).expect_err("big").reason(),
        "video_too_large"
    );
    let probed = |limits| strict(limits).probe(&file).expect_err("refused").reason();
    assert_eq!(probed(VideoLimits { max_pixels: 64 * 48 - 1, ..limits() }), "video_too_large");
    assert_eq!(probed(VideoLimits { max_secs: 3, ..limits() }), "video_too_long");
    let taken = |limits, indices: &[u64]| {
        strict(limits).decode_frames(&file, &info, indices, None).expect_err("refused").reason()
    };
    assert_eq!(taken(VideoLimits { max_frames: 1, ..limits() }, &[1, 1]), "video_too_large");
    assert_eq!(taken(VideoLimits { max_decoded_bytes: 64 * 48 * 3, ..limits() }, &[1, 2]), "video_too_large");
    assert_eq!(taken(limits(), &[100]), "video_no_such_frame");
}

/// 64 MiB are not enough for `ffmpeg` to start, where util-linux can say so.
#[test]
fn a_child_has_no_more_memory_than_it_is_given() {
    let Some(ffmpeg) = ffmpeg() else { return };
    if !child::answers("prlimit", "--version") {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no prlimit (util-linux)");
        return;
    }
    let studio = Studio::new();
    let file = open(&studio.numbered("film.mp4", 10)).expect("a video");
    let poor = Ffmpeg::find(VideoLimits { max_child_bytes: 64 << 20, ..*ffmpeg.limits() }).expect("found");
    assert_eq!(poor.probe(&file).expect_err("no memory").reason(), "video_truncated_or_corrupt");
}

#[test]
fn a_machine_without_ffmpeg_is_told_what_to_install() {
    let mut command = Command::new("/nowhere/ffmpeg");
    let error = child::run("ffmpeg", &mut command, 9, |_| Ok(())).err().expect("not there");
    assert_eq!(error.reason(), "no_ffmpeg");
    assert!(error.hint().expect("a hint").contains("apt-get install ffmpeg"));
    assert!(crate::MediaError::from(error).is_of_the_machine());
    assert!(!crate::MediaError::from(VideoError::NoTrack { what: "video" }).is_of_the_machine());
}
