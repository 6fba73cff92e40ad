//! What `ffprobe` says of a video, as numbers that hold.

use serde::Deserialize;

use super::error::VideoError;
use crate::Size;

/// How far the number of frames may be from duration times rate; more, and frames are counted by decoding them.
const TOLERATED_FRAMES: f64 = 1.5;

/// What a header says of a video; frames counted where it does not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoInfo {
    /// Number of frames.
    pub frames: u64,
    /// Frames per second, their mean.
    pub fps: f64,
    /// In seconds.
    pub duration_secs: f64,
    /// Of a frame as it is shown, rotation counted in.
    pub size: Size,
    /// The first track of sound.
    pub audio: Option<AudioTrack>,
}

/// A track of sound in a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioTrack {
    /// Samples per second and channel.
    pub rate: u32,
    /// Number of channels.
    pub channels: u32,
}

impl VideoInfo {
    /// Reads what `ffprobe` says as JSON; without a number of frames where they have to be counted.
    ///
    /// # Errors
    ///
    /// [`VideoError`] for what is no such answer, and where there is no video in it.
    pub fn from_ffprobe(json: &[u8]) -> Result<Self, VideoError> {
        let (info, frames) = Report::parse(json)?.info()?;
        Ok(Self { frames: frames.unwrap_or(0), ..info })
    }

    /// Whether there is a sound to it.
    pub fn has_audio(&self) -> bool {
        self.audio.is_some()
    }
}

/// The part of `ffprobe`'s JSON that is used; numbers come as text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    streams: Vec<Stream>,
    format: Format,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    duration: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    codec_type: Option<String>,
    width: u32,
    height: u32,
    avg_frame_rate: Option<String>,
    r_frame_rate: Option<String>,
    duration: Option<String>,
    nb_frames: Option<String>,
    nb_read_frames: Option<String>,
    sample_rate: Option<String>,
    channels: u32,
    disposition: Disposition,
    tags: Tags,
    side_data_list: Vec<SideData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Disposition {
    attached_pic: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags {
    /// Before `ffmpeg` 5.
    rotate: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SideData {
    rotation: Option<f64>,
}

impl Report {
    pub(super) fn parse(json: &[u8]) -> Result<Self, VideoError> {
        serde_json::from_slice(json).map_err(|e| VideoError::corrupt(format!("ffprobe's answer: {e}")))
    }

    /// Frames are missing where they have to be counted.
    pub(super) fn info(&self) -> Result<(VideoInfo, Option<u64>), VideoError> {
        let video = self.video().ok_or(VideoError::NoTrack { what: "video" })?;
        let stated = number::<u64>(video.nb_frames.as_ref()).filter(|&frames| frames > 0);
        let duration = number(video.duration.as_ref()).or(number(self.format.duration.as_ref()));
        let duration_secs = duration.filter(|secs: &f64| secs.is_finite() && *secs > 0.0).unwrap_or(0.0);
        let rate = ratio(video.avg_frame_rate.as_ref()).or(ratio(video.r_frame_rate.as_ref()));
        let fps = rate.unwrap_or(0.0);
        let frames = stated.filter(|&frames| {
            fps > 0.0 && duration_secs > 0.0 && (frames as f64 - duration_secs * fps).abs() < TOLERATED_FRAMES
        });
        let info = VideoInfo { frames: 0, fps, duration_secs, size: video.shown(), audio: self.audio() };
        Ok((info, frames))
    }

    /// Not one track was found.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// What was counted by decoding.
    pub(super) fn counted(&self) -> Option<u64> {
        number(self.video()?.nb_read_frames.as_ref())
    }

    pub(super) fn audio(&self) -> Option<AudioTrack> {
        let is_audio = |stream: &&Stream| stream.codec_type.as_deref() == Some("audio");
        let stream = self.streams.iter().find(is_audio)?;
        Some(AudioTrack { rate: number(stream.sample_rate.as_ref())?, channels: stream.channels })
    }

    /// Moving pictures, not the cover of an album.
    fn video(&self) -> Option<&Stream> {
        let is_video = |s: &&Stream| s.codec_type.as_deref() == Some("video") && s.disposition.attached_pic == 0;
        self.streams.iter().find(is_video)
    }
}

impl Stream {
    fn shown(&self) -> Size {
        let from_tag = number::<f64>(self.tags.rotate.as_ref());
        let degrees = self.side_data_list.iter().find_map(|data| data.rotation).or(from_tag).unwrap_or(0.0);
        let quarters = (degrees / 90.0).round() as i64;
        if quarters % 2 == 0 { Size::new(self.width, self.height) } else { Size::new(self.height, self.width) }
    }
}

fn number<T: std::str::FromStr>(text: Option<&String>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

/// `30000/1001`; nothing of `0/0`.
fn ratio(text: Option<&String>) -> Option<f64> {
    let (above, below) = text?.split_once('/')?;
    let ratio = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(video: &str) -> (VideoInfo, Option<u64>) {
        let json = format!(r#"{{"streams":[{video}],"format":{{"duration":"4.0"}}}}"#);
        Report::parse(json.as_bytes()).expect("json").info().expect("a video")
    }

    #[test]
    fn a_number_of_frames_counts_when_duration_and_rate_agree() {
        let video =
            |rest: &str| format!(r#"{{"codec_type":"video","width":6,"height":4,"avg_frame_rate":"25/1",{rest}}}"#);
        assert_eq!(info(&video(r#""nb_frames":"100""#)).1, Some(100));
        assert_eq!(info(&video(r#""nb_frames":"120""#)).1, None);
        assert_eq!(info(&video(r#""duration":"4.8","nb_frames":"120""#)).1, Some(120));
        assert_eq!(info(&video(r#""nb_frames":"N/A""#)).1, None);
    }

    #[test]
    fn a_quarter_turn_swaps_the_sides() {
        let size = |rest: &str| info(&format!(r#"{{"codec_type":"video","width":6,"height":4,{rest}}}"#)).0.size;
        assert_eq!(size(r#""side_data_list":[{"rotation":-90}]"#), Size::new(4, 6));
        assert_eq!(size(r#""side_data_list":[{"rotation":180}]"#), Size::new(6, 4));
        assert_eq!(size(r#""tags":{"rotate":"270"}"#), Size::new(4, 6));
        assert_eq!(size(r#""tags":{}"#), Size::new(6, 4));
    }

    #[test]
    fn a_cover_is_no_video() {
        let json = br#"{"streams":[{"codec_type":"video","disposition":{"attached_pic":1}},
            {"codec_type":"audio","sample_rate":"44100","channels":2}]}"#;
        let report = Report::parse(json).expect("json");
        assert_eq!(report.audio(), Some(AudioTrack { rate: 44_100, channels: 2 }));
        assert_eq!(report.info().expect_err("no video").reason(), "video_no_track");
    }
}
