//! Exactly the frames that are asked for, as pictures.

use super::error::VideoError;
use super::ffmpeg::Ffmpeg;
use super::file::VideoFile;
use super::probe::VideoInfo;
use crate::resize::resize;
use crate::{Filter, Rgb8, Size};

/// How `ffmpeg` turns its planes into RGB: the same bits on every machine.
const TO_RGB: &str = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact,format=rgb24";

/// Frames that one child picks: a filter of more would be too long for a command line.
const PICKED_AT_ONCE: usize = 1024;

/// A size that frames are brought to as they come, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSize {
    /// Of the result.
    pub size: Size,
    /// Pillow's, as for pictures.
    pub filter: Filter,
}

impl Ffmpeg {
    /// The frames of these numbers, in this order, as they are shown (rotation applied); `info` is the video's.
    ///
    /// Numbers count decoded frames, whatever time they are shown at. All up to the last one are decoded, and those
    /// that are asked for come through the pipe. Without `resized` they have the size of the video.
    pub fn decode_frames(
        &self,
        file: &VideoFile,
        info: &VideoInfo,
        indices: &[u64],
        resized: Option<FrameSize>,
    ) -> Result<Vec<Rgb8>, VideoError> {
        if let Some(&index) = indices.iter().find(|&&index| index >= info.frames) {
            return Err(VideoError::NoSuchFrame { index, frames: info.frames });
        }
        let mut wanted = indices.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.limits.check_frames(wanted.len().max(indices.len()), resized.map_or(info.size, |resized| resized.size))?;
        let mut frames = Vec::with_capacity(wanted.len());
        for wanted in wanted.chunks(PICKED_AT_ONCE) {
            frames.extend(self.decode_ascending(file, info, wanted, resized)?);
        }
        if wanted == indices {
            return Ok(frames);
        }
        let place = |index| wanted.binary_search(index).expect("`wanted` has every index");
        Ok(indices.iter().map(|index| frames[place(index)].clone()).collect())
    }

    /// `wanted` ascends.
    fn decode_ascending(
        &self,
        file: &VideoFile,
        info: &VideoInfo,
        wanted: &[u64],
        resized: Option<FrameSize>,
    ) -> Result<Vec<Rgb8>, VideoError> {
        let filter = format!("select='{}',scale={}:{}:{TO_RGB}", any_of(wanted), info.size.width, info.size.height);
        let count = wanted.len().to_string();
        let [keep, all] = self.keep_frames;
        let output =
            ["-map", "0:V:0", "-an", "-sn", "-dn", keep, all, "-vf", &filter, "-frames:v", &count, "-f", "rawvideo"];
        let mut frames =
            Frames { size: info.size, most: wanted.len(), resized, partial: Vec::new(), whole: Vec::new() };
        let ended = self.decode(file, &output, |bytes| frames.take(bytes))?;
        let whole = frames.whole;
        if whole.len() < wanted.len() {
            return Err(self.too_few(file, info.frames, ended.stderr));
        }
        if ended.success { Ok(whole) } else { Err(VideoError::corrupt(ended.stderr)) }
    }

    /// Frames are missing if the file has fewer than it claims.
    fn too_few(&self, file: &VideoFile, claimed: u64, stderr: String) -> VideoError {
        match self.count_frames(file) {
            Ok(found) if found >= claimed => VideoError::corrupt(stderr),
            found => VideoError::MissingFrames { claimed, found: found.unwrap_or(0), stderr },
        }
    }
}

/// An expression of `n`, the number of a frame, that is not 0 for these. It halves what is left at each question: `ffmpeg`
/// refuses a sum of hundreds of comparisons.
fn any_of(ascending: &[u64]) -> String {
    match ascending {
        [] => "0".to_owned(),
        [index] => format!("eq(n\\,{index})"),
        _ => {
            let (left, right) = ascending.split_at(ascending.len() / 2);
            format!("if(lt(n\\,{})\\,{}\\,{})", right[0], any_of(left), any_of(right))
        }
    }
}

/// Bytes to pictures, as they come.
struct Frames {
    /// Of a frame in the pipe.
    size: Size,
    most: usize,
    resized: Option<FrameSize>,
    /// The frame that is coming.
    partial: Vec<u8>,
    whole: Vec<Rgb8>,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), VideoError> {
        let frame_bytes = self.size.pixels() as usize * 3;
        while !bytes.is_empty() {
            if self.whole.len() == self.most {
                return Err(VideoError::corrupt("more frames come than were asked for"));
            }
            let (now, later) = bytes.split_at(bytes.len().min(frame_bytes - self.partial.len()));
            self.partial.extend_from_slice(now);
            bytes = later;
            if self.partial.len() == frame_bytes {
                self.finish();
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        let data = std::mem::take(&mut self.partial);
        let frame = Rgb8 { width: self.size.width, height: self.size.height, data };
        self.whole.push(match self.resized {
            Some(FrameSize { size, filter }) => resize(&frame, size, filter),
            None => frame,
        });
    }
}
