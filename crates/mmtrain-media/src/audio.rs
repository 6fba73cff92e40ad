//! Sound bytes to samples: container, header, limits, then the decoder behind a panic guard, then another rate.
//!
//! Two channels and more become one, their mean. Damage is an error wherever the format lets it be seen: a header's
//! number of samples is held against what was decoded, FLAC has checksums, Ogg marks its last page. An MP3 without a
//! Xing header states no length, so that a cut one is a shorter one.

mod error;

mod limits;

mod reader;

mod resample;

pub use error::AudioError;
pub use limits::AudioLimits;

use reader::Reader;

use crate::decode::caught;
use crate::medium::audio_kind;
use crate::{AudioKind, MediaError};

/// What a header says of a sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioInfo {
    /// Container.
    pub kind: AudioKind,
    /// Samples per second and channel.
    pub rate: u32,
    /// Number of channels.
    pub channels: u32,
    /// Samples of each channel, where the header states them: exact, or decoding fails.
    pub samples: Option<u64>,
}

impl AudioInfo {
    /// Where the header states it.
    pub fn duration_secs(&self) -> Option<f64> {
        self.samples.map(|samples| samples as f64 / f64::from(self.rate))
    }
}

/// How long a sound is, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundLength {
    /// Samples of one channel.
    pub samples: u64,
    /// Samples per second.
    pub rate: u32,
}

impl SoundLength {
    /// In seconds.
    pub fn secs(self) -> f64 {
        self.samples as f64 / f64::from(self.rate)
    }

    /// Samples at another rate, to the nearest: what [`Sound::resampled`] makes.
    pub fn at(self, rate: u32) -> u64 {
        let scaled = u128::from(self.samples) * u128::from(rate);
        let own = u128::from(self.rate.max(1));
        ((scaled + own / 2) / own) as u64
    }
}

/// Samples of one channel, each about -1 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// In order of time.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub rate: u32,
}

impl Sound {
    /// Exact.
    pub fn length(&self) -> SoundLength {
        SoundLength { samples: self.samples.len() as u64, rate: self.rate }
    }

    /// The same sound at `rate` samples per second, without delay; [`SoundLength::at`] says how many samples.
    pub fn resampled(self, rate: u32) -> Result<Self, MediaError> {
        let samples = resample::resample(self.samples, self.rate, rate)?;
        Ok(Self { samples, rate })
    }
}

/// Reads the header only, and checks it against `limits`.
pub fn probe_audio(bytes: &[u8], limits: &AudioLimits) -> Result<AudioInfo, MediaError> {
    with_reader(bytes, limits, |reader| Ok(reader.info()))
}

/// How long the sound is, from its header where that is exact (WAV, FLAC, MP3 with a Xing header), else by decoding it.
pub fn audio_length(bytes: &[u8], limits: &AudioLimits) -> Result<SoundLength, MediaError> {
    with_reader(bytes, limits, |reader| {
        let AudioInfo { rate, samples: stated, .. } = reader.info();
        let samples = stated.map_or_else(|| reader.decode(|_| Ok(())), Ok)?;
        Ok(SoundLength { samples, rate })
    })
}

/// Decodes a sound to the mean of its channels, at its own rate.
pub fn decode_audio(bytes: &[u8], limits: &AudioLimits) -> Result<Sound, MediaError> {
    with_reader(bytes, limits, |reader| {
        let AudioInfo { kind, rate, .. } = reader.info();
        let mut samples = Vec::new();
        reader.decode(|channels| append_mean(kind, channels, &mut samples))?;
        Ok(Sound { samples, rate })
    })
}

fn with_reader<T>(
    bytes: &[u8],
    limits: &AudioLimits,
    work: impl FnOnce(Reader<'_>) -> Result<T, AudioError>,
) -> Result<T, MediaError> {
    if bytes.is_empty() {
        return Err(AudioError::Empty { detail: "0 bytes" }.into());
    }
    limits.check_bytes(bytes.len())?;
    let kind = audio_kind(bytes).ok_or_else(|| AudioError::not_audio(bytes))?;
    let result = caught(|| Reader::open(kind, bytes, limits).and_then(work));
    Ok(result.unwrap_or_else(|detail| Err(AudioError::DecoderPanic { kind, detail }))?)
}

/// `channels` are of one length; their mean is taken in float64 and rounded once.
fn append_mean(kind: AudioKind, channels: &[Vec<f32>], samples: &mut Vec<f32>) -> Result<(), AudioError> {
    let start = samples.len();
    match channels {
        [one] => samples.extend_from_slice(one),
        [first, ..] => samples.extend((0..first.len()).map(|i| {
            let sum: f64 = channels.iter().map(|channel| f64::from(channel[i])).sum();
            (sum / channels.len() as f64) as f32
        })),
        [] => {}
    }
    match samples[start..].iter().position(|sample| !sample.is_finite()) {
        Some(at) => Err(AudioError::corrupt(kind, format!("sample {} is {}", start + at, samples[start + at]))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
