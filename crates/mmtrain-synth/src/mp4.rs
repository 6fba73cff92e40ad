//! Frames to MP4 files, by a child process of ffmpeg.
//!
//! One thread and bit-exact flags: the same ffmpeg writes the same bytes.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::SynthError;

/// An ffmpeg that answers.
#[derive(Debug, Clone)]
pub(crate) struct Ffmpeg {
    program: &'static str,
    /// Options of the encoder: H.264, or MPEG-4 part 2 where there is no libx264.
    codec: &'static [&'static str],
}

const H264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p"];
const MPEG4: &[&str] = &["-c:v", "mpeg4", "-q:v", "2", "-pix_fmt", "yuv420p"];

/// Size and speed of a clip.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Side in pixels.
    pub(crate) size: u32,
    /// Frames in a second.
    pub(crate) fps: u32,
}

impl Ffmpeg {
    /// Looks for `ffmpeg` on the path.
    pub(crate) fn find() -> Result<Self, SynthError> {
        Self::at("ffmpeg")
    }

    fn at(program: &'static str) -> Result<Self, SynthError> {
        let asked = Command::new(program).args(["-hide_banner", "-encoders"]).stdin(Stdio::null()).output();
        match asked {
            Ok(answer) if answer.status.success() => {
                let encoders = String::from_utf8_lossy(&answer.stdout);
                let has_h264 = encoders.split_whitespace().any(|word| word == "libx264");
                Ok(Self { program, codec: if has_h264 { H264 } else { MPEG4 } })
            }
            Ok(answer) => Err(failed(&answer.stderr)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SynthError::NoFfmpeg),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes `frames`, each `[size, size, 3]`, to `path`.
    pub(crate) fn write(&self, path: &Path, frames: &[u8], shape: Shape) -> Result<(), SynthError> {
        let mut child = self.start(path, shape)?;
        let sent = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(frames));
        let ended = child.wait_with_output()?;
        // where ffmpeg gives up, the pipe breaks; what it says is the reason
        if !ended.status.success() {
            return Err(failed(&ended.stderr));
        }
        Ok(sent?)
    }

    fn start(&self, path: &Path, shape: Shape) -> Result<Child, SynthError> {
        let (size, fps) = (format!("{0}x{0}", shape.size), shape.fps.to_string());
        let child = Command::new(self.program)
            .args(["-hide_banner", "-loglevel", "error", "-y", "-threads", "1"])
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", &fps, "-i", "pipe:0"])
            .args(["-an", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"])
            .args(self.codec)
            .args(["-threads", "1", "-f", "mp4"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(child)
    }
}

/// The last thing that ffmpeg said.
fn failed(stderr: &[u8]) -> SynthError {
    let said = String::from_utf8_lossy(stderr);
    let detail = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned();
    SynthError::Ffmpeg { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ffmpeg_is_named_with_a_way_to_get_it() {
        let error = Ffmpeg::at("no-such-ffmpeg").expect_err("it is not there");
        assert!(matches!(error, SynthError::NoFfmpeg));
        assert!(error.hint().is_some_and(|hint| hint.contains("apt-get install ffmpeg")));
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = Ffmpeg::at("false").expect_err("it fails");
        assert!(matches!(error, SynthError::Ffmpeg { .. }), "{error}");
    }
}
