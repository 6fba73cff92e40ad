//! The two programs, how they are started, and what is asked of them.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use super::child::{self, Ended, answers};
use super::error::VideoError;
use super::file::VideoFile;
use super::headers::Headers;
use super::limits::VideoLimits;
use super::probe::{Report, VideoInfo};
use crate::{FrameKey, VideoIdentity};

/// Longest answer of `ffprobe`, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Packets that are cut off make no frame.
const DROP_DAMAGED: [&str; 2] = ["-fflags", "+discardcorrupt"];

const FFMPEG: &str = "ffmpeg";
const FFPROBE: &str = "ffprobe";

/// `ffmpeg` and `ffprobe` as the `PATH` has them, and how their children are bounded.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    pub(super) limits: VideoLimits,
    /// Of `-vsync 0`, which later versions call otherwise.
    pub(super) keep_frames: [&'static str; 2],
    /// `setpriv` and `prlimit` of util-linux, as far as they are there.
    pub(super) wrapper: Vec<OsString>,
    /// Headers that have been read.
    pub(super) headers: Headers,
}

impl Ffmpeg {
    /// Looks for both programs.
    pub fn find(limits: VideoLimits) -> Result<Self, VideoError> {
        let mut version = Vec::new();
        for program in [FFPROBE, FFMPEG] {
            version.clear();
            let ended = child::run(program, Command::new(program).arg("-version"), limits.timeout_secs, |bytes| {
                version.extend_from_slice(bytes);
                Ok(())
            })?;
            if !ended.success {
                return Err(VideoError::NoFfmpeg { program, detail: ended.stderr });
            }
        }
        let keep_frames = if has_fps_mode(&version) { ["-fps_mode", "passthrough"] } else { ["-vsync", "0"] };
        Ok(Self { limits, keep_frames, wrapper: wrapper(&limits), headers: Headers::default() })
    }

    /// The bounds.
    pub fn limits(&self) -> &VideoLimits {
        &self.limits
    }

    /// What the header says, within the limits; frames are counted by decoding where it does not say how many. A file that
    /// has not changed is asked once.
    pub fn probe(&self, file: &VideoFile) -> Result<VideoInfo, VideoError> {
        let key = file.own_path().and_then(|path| FrameKey::new(VideoIdentity::File(path), &[], None).ok());
        if let Some(info) = key.and_then(|key| self.headers.get(&key)) {
            self.limits.check_header(info.size, info.duration_secs)?;
            return Ok(info);
        }
        let info = self.read_header(file)?;
        if let Some(key) = key {
            self.headers.put(key, &info);
        }
        Ok(info)
    }

    fn read_header(&self, file: &VideoFile) -> Result<VideoInfo, VideoError> {
        let (report, _) = self.report(file, &[])?;
        let (mut info, stated) = report.info()?;
        self.limits.check_header(info.size, info.duration_secs)?;
        info.frames = match stated {
            Some(frames) => frames,
            None => self.count_frames(file)?,
        };
        if info.fps <= 0.0 && info.duration_secs > 0.0 {
            info.fps = info.frames as f64 / info.duration_secs;
        }
        if info.frames == 0 || info.fps <= 0.0 {
            return Err(VideoError::corrupt(format!("{} frames at {} a second", info.frames, info.fps)));
        }
        if info.duration_secs <= 0.0 {
            info.duration_secs = info.frames as f64 / info.fps;
        }
        Ok(info)
    }

    /// Frames that can be decoded.
    pub(super) fn count_frames(&self, file: &VideoFile) -> Result<u64, VideoError> {
        let (report, stderr) = self.report(file, &["-count_frames", "-threads", "1", "-select_streams", "V:0"])?;
        report.counted().ok_or_else(|| VideoError::corrupt(stderr))
    }

    pub(super) fn report(&self, file: &VideoFile, options: &[&str]) -> Result<(Report, String), VideoError> {
        let mut command = self.command(FFPROBE);
        command.args(DROP_DAMAGED).args(options);
        command.args(["-show_streams", "-show_format", "-of", "json"]).args(file.arguments());
        let mut answer = Vec::new();
        let ended = child::run(FFPROBE, &mut command, self.limits.timeout_secs, |bytes| {
            answer.extend_from_slice(bytes);
            if answer.len() > MAX_ANSWER {
                return Err(VideoError::corrupt(format!("ffprobe's answer is longer than {MAX_ANSWER} bytes")));
            }
            Ok(())
        })?;
        match Report::parse(&answer) {
            Ok(report) if ended.success && !report.is_empty() => Ok((report, ended.stderr)),
            Err(error) if ended.success => Err(error),
            _ => Err(VideoError::corrupt(ended.stderr)),
        }
    }

    /// Raw output of `ffmpeg`, piece by piece.
    pub(super) fn decode(
        &self,
        file: &VideoFile,
        output: &[&str],
        sink: impl FnMut(&[u8]) -> Result<(), VideoError>,
    ) -> Result<Ended, VideoError> {
        let mut command = self.command(FFMPEG);
        command.args(["-nostdin", "-filter_threads", "1"]).args(DROP_DAMAGED);
        command.args(["-threads", "1"]).args(file.arguments());
        command.args(output).args(["-threads", "1", "pipe:1"]);
        child::run(FFMPEG, &mut command, self.limits.timeout_secs, sink)
    }

    /// The program behind its wrappers, with what both programs are told.
    fn command(&self, program: &str) -> Command {
        let mut words = self.wrapper.iter().map(OsString::as_os_str).chain([OsStr::new(program)]);
        let mut command = Command::new(words.next().unwrap_or(OsStr::new(program)));
        command.args(words).args(["-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe"]);
        command
    }
}

/// Killed with its parent; bounds on address space and processor time; no file is written.
fn wrapper(limits: &VideoLimits) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if answers("setpriv", "--version") {
        words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
    }
    if answers("prlimit", "--version") {
        let (memory, time) = (limits.max_child_bytes, limits.timeout_secs.saturating_add(1));
        words.extend(["prlimit", "--core=0", "--fsize=0"].map(OsString::from));
        words.extend([format!("--as={memory}"), format!("--cpu={time}"), "--".into()].map(OsString::from));
    }
    words
}

/// `-fps_mode` came with 5.1; a version that is no number is a recent build.
fn has_fps_mode(version: &[u8]) -> bool {
    let text = String::from_utf8_lossy(version);
    let number = text.strip_prefix("ffmpeg version ").unwrap_or(&text);
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) >= (5, 1),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::has_fps_mode;

    #[test]
    fn the_version_says_how_frames_are_kept() {
        for (version, expected) in [
            ("ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright", false),
            ("ffmpeg version 5.0 Copyright", false),
            ("ffmpeg version 5.1.9-0+deb12u1 Copyright", true),
            ("ffmpeg version 7.1 Copyright", true),
            ("ffmpeg version N-115000-gabc Copyright", true),
        ] {
            assert_eq!(has_fps_mode(version.as_bytes()), expected, "{version}");
        }
    }
}
