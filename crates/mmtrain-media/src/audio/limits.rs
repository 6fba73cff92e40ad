//! Bounds checked before a sound costs memory, and again while it is decoded.

use serde::{Deserialize, Serialize};

use super::error::AudioError;
use crate::AudioKind;

/// Fewest samples per second. Nothing that is heard has as few, and to make a usual rate of one takes transforms of gigabytes.
const MIN_RATE: u32 = 100;

/// What a sound may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AudioLimits {
    /// Largest encoded size, in bytes.
    pub max_bytes: usize,
    /// Longest sound, in seconds.
    pub max_secs: u32,
    /// Most channels.
    pub max_channels: u32,
    /// Most samples per second and channel.
    pub max_rate: u32,
}

impl Default for AudioLimits {
    /// 256 MiB, an hour, 8 channels, 192 kHz: at most 2.6 GiB of samples; an hour at 16 kHz takes 220 MiB.
    fn default() -> Self {
        Self { max_bytes: 256 << 20, max_secs: 3600, max_channels: 8, max_rate: 192_000 }
    }
}

impl AudioLimits {
    pub(crate) fn check_bytes(&self, bytes: usize) -> Result<(), AudioError> {
        if bytes > self.max_bytes {
            return Err(AudioError::TooManyBytes { bytes, max_bytes: self.max_bytes });
        }
        Ok(())
    }

    pub(crate) fn check_format(&self, kind: AudioKind, channels: usize, rate: u32) -> Result<(), AudioError> {
        if channels == 0 || rate < MIN_RATE {
            return Err(AudioError::corrupt(kind, format!("the header says {channels} channels at {rate} hertz")));
        }
        let too_much = |what, found, most| Err(AudioError::TooMuch { kind, what, found, most });
        if channels as u64 > u64::from(self.max_channels) {
            return too_much("channels", channels as u64, self.max_channels.into());
        }
        if rate > self.max_rate {
            return too_much("samples per second", rate.into(), self.max_rate.into());
        }
        Ok(())
    }

    /// `samples` of each channel.
    pub(crate) fn check_samples(&self, kind: AudioKind, samples: u64, rate: u32) -> Result<(), AudioError> {
        if samples > u64::from(self.max_secs) * u64::from(rate) {
            let secs = samples as f64 / f64::from(rate);
            return Err(AudioError::TooLong { kind, secs, max_secs: self.max_secs });
        }
        Ok(())
    }
}
