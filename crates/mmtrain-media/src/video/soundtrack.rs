//! The sound of a video, and of sound files that only `ffmpeg` reads.

use super::error::VideoError;
use super::ffmpeg::Ffmpeg;
use super::file::VideoFile;
use super::probe::AudioTrack;
use crate::audio::{AudioLimits, Sound};
use crate::{AudioKind, MediaError};

impl Ffmpeg {
    /// The first track of sound, the mean of its channels at its own rate. M4A files have one too.
    pub fn decode_soundtrack(&self, file: &VideoFile, limits: &AudioLimits) -> Result<Sound, MediaError> {
        let (report, _) = self.report(file, &[])?;
        let track = report.audio().ok_or(VideoError::NoTrack { what: "audio" })?;
        limits.check_format(AudioKind::M4a, track.channels as usize, track.rate)?;
        let mut mean = Mean { track, limits: *limits, partial: Vec::new(), samples: Vec::new(), too_long: None };
        let (rate, channels) = (track.rate.to_string(), track.channels.to_string());
        let output = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-ar", &rate, "-ac", &channels, "-f", "f32le"];
        let ended = self.decode(file, &output, |bytes| mean.take(bytes));
        if let Some(error) = mean.too_long {
            return Err(error);
        }
        let ended = ended?;
        if !ended.success || mean.samples.is_empty() {
            return Err(VideoError::corrupt(ended.stderr).into());
        }
        Ok(Sound { samples: mean.samples, rate: track.rate })
    }
}

/// Interleaved float32 bytes to the mean of the channels, as they come.
struct Mean {
    track: AudioTrack,
    limits: AudioLimits,
    partial: Vec<u8>,
    samples: Vec<f32>,
    too_long: Option<MediaError>,
}

impl Mean {
    fn take(&mut self, bytes: &[u8]) -> Result<(), VideoError> {
        self.partial.extend_from_slice(bytes);
        let block = 4 * self.track.channels as usize;
        let whole = self.partial.len() / block * block;
        for block in self.partial[..whole].chunks_exact(block) {
            let (values, _) = block.as_chunks::<4>();
            let sum: f64 = values.iter().map(|value| f64::from(f32::from_le_bytes(*value))).sum();
            self.samples.push((sum / values.len() as f64) as f32);
        }
        self.partial.drain(..whole);
        let checked = self.limits.check_samples(AudioKind::M4a, self.samples.len() as u64, self.track.rate);
        checked.map_err(|error| {
            self.too_long = Some(error.into());
            VideoError::corrupt("longer than the limit")
        })
    }
}
