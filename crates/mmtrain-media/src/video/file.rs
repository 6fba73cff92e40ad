//! Where `ffmpeg` finds a video: a regular file of a known container, under a name that can be nothing else.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::error::VideoError;
use super::limits::VideoLimits;
use crate::medium::{audio_kind, video_kind};
use crate::{AudioKind, VideoKind};

/// Bytes from which the container is found.
const HEAD: usize = 64;

/// A video on disk, sniffed and within the limit of bytes.
#[derive(Debug)]
pub struct VideoFile {
    path: PathBuf,
    /// `ffmpeg`'s name of the container: it does not guess.
    format: &'static str,
    /// Removes the file that bytes were put into.
    temporary: Option<tempfile::NamedTempFile>,
}

impl VideoFile {
    /// The file at `path`.
    pub fn open(path: &Path, limits: &VideoLimits) -> Result<Self, VideoError> {
        let path = std::path::absolute(path).map_err(|e| VideoError::unreadable(&e))?;
        let metadata = fs_err::metadata(&path).map_err(|e| VideoError::unreadable(&e))?;
        if !metadata.is_file() {
            return Err(VideoError::Unreadable { detail: format!("`{}` is no regular file", path.display()) });
        }
        limits.check_bytes(metadata.len())?;
        let mut head = Vec::new();
        let file = fs_err::File::open(&path).map_err(|e| VideoError::unreadable(&e))?;
        file.take(HEAD as u64).read_to_end(&mut head).map_err(|e| VideoError::unreadable(&e))?;
        Ok(Self { format: format(&head)?, path, temporary: None })
    }

    /// Bytes, such as a member of an archive; they are put into a temporary file, since the index of an MP4 may be at
    /// its end.
    pub fn from_bytes(bytes: &[u8], limits: &VideoLimits) -> Result<Self, VideoError> {
        limits.check_bytes(bytes.len() as u64)?;
        let format = format(bytes)?;
        let unreadable = |e: std::io::Error| VideoError::unreadable(&e);
        let mut file = tempfile::Builder::new().prefix("mmtrain-video-").tempfile().map_err(unreadable)?;
        file.write_all(bytes).map_err(unreadable)?;
        let path = std::path::absolute(file.path()).map_err(unreadable)?;
        Ok(Self { path, format, temporary: Some(file) })
    }

    /// Its path, unless it is a temporary one.
    pub(super) fn own_path(&self) -> Option<&Path> {
        self.temporary.is_none().then_some(self.path.as_path())
    }

    /// `-f FORMAT -i file:/absolute/path`: a name that begins with `-`, has a colon, or lists other files is just a name.
    pub(super) fn arguments(&self) -> [OsString; 4] {
        let mut url = OsString::from("file:");
        url.push(&self.path);
        ["-f".into(), self.format.into(), "-i".into(), url]
    }
}

fn format(head: &[u8]) -> Result<&'static str, VideoError> {
    if audio_kind(head) == Some(AudioKind::M4a) {
        return Ok("mov");
    }
    match video_kind(head) {
        Some(VideoKind::Mp4) => Ok("mov"),
        Some(VideoKind::Matroska) => Ok("matroska"),
        Some(VideoKind::Avi) => Ok("avi"),
        None => Err(VideoError::not_video(head)),
    }
}
