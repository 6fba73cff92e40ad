//! Samples to Whisper's log-mel features, and how many tokens a sound costs.
//!
//! Follows `feature_extraction_whisper.py` of `transformers`; computed in float64 and rounded once, which lies between
//! its numpy path (1e-7 away) and its torch path (3e-5).

use std::f64::consts::PI;

use crate::fft::{Fft, LARGEST_FACTOR};
use crate::mel::MelBank;
use crate::{MediaError, SoundLayout};

/// No filter reaches higher, whatever the sampling rate, in hertz.
const MAX_HERTZ: f64 = 8000.0;

/// Most mel bands: as many as make sense with 201 bins.
const MAX_MELS: u32 = 256;

/// How an audio encoder wants sound; the meaningful part of a `WhisperFeatureExtractor`'s file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMel {
    /// Mel bands (`feature_size`): 80, or 128 since `large-v3`.
    pub mels: u32,
    /// Samples per second that are expected.
    pub sampling_rate: u32,
    /// Samples in a frame.
    pub n_fft: u32,
    /// Samples from one frame to the next.
    pub hop_length: u32,
    /// To which every sound is padded or cut, in seconds (`chunk_length`).
    pub chunk_secs: u32,
}

/// The encoder's input for a sound.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioFeatures {
    /// `[mels, frames]`
    pub values: Vec<f32>,
    /// Bands and frames; those that hold sound are the ones of `feature_attention_mask`.
    pub layout: SoundLayout,
}

impl LogMel {
    /// Whisper's: 16 kHz, frames of 25 ms every 10 ms, 30 seconds.
    pub fn whisper(mels: u32) -> Self {
        Self { mels, sampling_rate: 16_000, n_fft: 400, hop_length: 160, chunk_secs: 30 }
    }

    /// Reads a `preprocessor_config.json`, or a `processor_config.json` with a `feature_extractor` in it.
    pub fn from_hf(json: &str) -> Result<Self, MediaError> {
        crate::hf::read_log_mel(json)
    }

    /// The `preprocessor_config.json` from which [`from_hf`](Self::from_hf) reads this back.
    pub fn to_hf(&self) -> serde_json::Value {
        crate::hf::write_log_mel(self)
    }

    /// Samples of a whole chunk; a longer sound is cut.
    pub fn max_samples(&self) -> usize {
        self.chunk_secs as usize * self.sampling_rate as usize
    }

    /// Frames of a whole chunk.
    pub fn frames(&self) -> usize {
        self.max_samples() / self.hop_length.max(1) as usize
    }

    /// Frames that hold sound, of `samples` samples.
    pub fn valid_frames(&self, samples: usize) -> usize {
        let heard = samples.min(self.max_samples());
        heard.div_ceil(self.hop_length.max(1) as usize).min(self.frames())
    }

    /// Bands and frames of a sound of `samples` samples.
    pub fn layout(&self, samples: usize) -> SoundLayout {
        let (frames, valid_frames) = (self.frames() as u32, self.valid_frames(samples) as u32);
        SoundLayout { mels: self.mels, frames, valid_frames }
    }

    /// Features of one channel of `samples` at [`sampling_rate`](Self::sampling_rate), each -1 to 1.
    pub fn process(&self, samples: &[f32]) -> Result<AudioFeatures, MediaError> {
        self.check()?;
        if samples.is_empty() {
            return Err(MediaError::audio("no samples"));
        }
        if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(MediaError::audio(format!("sample {at} is {}", samples[at])));
        }
        let heard = &samples[..samples.len().min(self.max_samples())];
        let values = normalised(&self.log_spectrogram(heard));
        Ok(AudioFeatures { values, layout: self.layout(samples.len()) })
    }

    /// log10 of the energies, not below 1e-10: `[mels, frames]`.
    fn log_spectrogram(&self, samples: &[f32]) -> Vec<f64> {
        let n_fft = self.n_fft as usize;
        let mut fft = Fft::new(n_fft);
        let window: Vec<f64> = (0..n_fft).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / n_fft as f64).cos()).collect();
        let bank = MelBank::new(self.mels as usize, n_fft / 2 + 1, MAX_HERTZ, f64::from(self.sampling_rate / 2));
        let frames = self.frames();
        let mut logs = vec![-10.0; self.mels as usize * frames];
        let mut pair = [vec![0.0; n_fft], vec![0.0; n_fft]];
        for first in (0..frames).step_by(2) {
            let [a, b] = &mut pair;
            if !(self.fill_frame(samples, first, &window, a) | self.fill_frame(samples, first + 1, &window, b)) {
                continue;
            }
            for (time, power) in (first..frames).zip(fft.power(a, b)) {
                for (mel, energy) in bank.energies(&power).enumerate() {
                    logs[mel * frames + time] = energy.max(1e-10).log10();
                }
            }
        }
        logs
    }

    /// The windowed frame around sample `time * hop_length`; says whether there is any sound in it.
    ///
    /// The chunk is mirrored at its two ends and silent behind the samples.
    fn fill_frame(&self, samples: &[f32], time: usize, window: &[f64], frame: &mut [f64]) -> bool {
        let last = self.max_samples() as isize - 1;
        let first = (time * self.hop_length as usize) as isize - (self.n_fft / 2) as isize;
        let mut any = false;
        for (i, (slot, weight)) in frame.iter_mut().zip(window).enumerate() {
            let at = (first + i as isize).abs();
            let mirrored = if at > last { 2 * last - at } else { at };
            let sample = samples.get(mirrored as usize).copied().unwrap_or(0.0);
            any |= sample != 0.0;
            *slot = f64::from(sample) * weight;
        }
        any
    }

    /// Sizes in range, and the chunk longer than the mirrored ends.
    pub(crate) fn check(&self) -> Result<(), MediaError> {
        for (key, value, range) in [
            ("feature_size", self.mels, 1..=MAX_MELS),
            ("sampling_rate", self.sampling_rate, 2..=192_000),
            ("n_fft", self.n_fft, 2..=16_384),
            ("hop_length", self.hop_length, 1..=self.n_fft),
            ("chunk_length", self.chunk_secs, 1..=600),
        ] {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                return Err(MediaError::processor(format!("`{key}` is {value}, must be {least} to {most}")));
            }
        }
        let (n_fft, samples) = (self.n_fft, self.max_samples());
        if !n_fft.is_multiple_of(2) || samples <= n_fft as usize || !Fft::handles(n_fft as usize) {
            return Err(MediaError::processor(format!(
                "`n_fft` is {n_fft}, must be even, below {samples} samples and a product of primes up to {LARGEST_FACTOR}"
            )));
        }
        Ok(())
    }
}

/// Not more than 8 decades below the loudest value; from about -1 to 1.
fn normalised(logs: &[f64]) -> Vec<f32> {
    let loudest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(|&log| ((log.max(loudest - 8.0) + 4.0) / 4.0) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{cases, floats, formula};
    use crate::{MediaLayout, MediaTokens};

    #[derive(Debug, serde::Deserialize)]
    #[serde(untagged)]
    enum Case {
        Features {
            name: String,
            config: serde_json::Value,
            samples: usize,
            shape: [usize; 2],
            stride: usize,
            valid_frames: u32,
            sum: f64,
        },
        Lengths {
            lengths: Vec<[usize; 3]>,
        },
    }

    /// `sound` of `make_preprocess_fixtures.py`.
    fn sound(samples: usize) -> Vec<f32> {
        let noise = formula(1, samples.div_ceil(3) as u32).data;
        let sample = |i: usize| {
            let i = i as i64;
            let saws: i64 = [110, 443, 1777, 5003].iter().map(|pitch| i * pitch % 16_000 - 8000).sum();
            let loud = if i / 2000 % 3 == 2 { 1 } else { 8 };
            let noise = i64::from(noise[i as usize]) - 128;
            ((saws.div_euclid(8) + noise * 8) * loud).div_euclid(8) as f32 / 32_768.0
        };
        (0..samples).map(sample).collect()
    }

    fn worst(values: &[f32], stride: usize, key: &str) -> f32 {
        let expected = floats("audio", key);
        assert_eq!(expected.len(), values.len().div_ceil(stride));
        values.iter().step_by(stride).zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn features_are_those_of_transformers() {
        let (mut seen, mut compared) = (0, 0);
        for case in cases::<Vec<Case>>("audio") {
            let Case::Features { name, config, samples, shape, stride, valid_frames, sum } = case else { continue };
            let log_mel = LogMel::from_hf(&config.to_string()).expect("readable");
            let features = log_mel.process(&sound(samples)).expect("usable");
            assert_eq!(MediaLayout::Sound(features.layout).shape(), shape);
            assert_eq!(features.layout.valid_frames, valid_frames, "{name} {samples}");
            let mean = features.values.iter().map(|&v| f64::from(v)).sum::<f64>() / features.values.len() as f64;
            assert!((mean - sum / features.values.len() as f64).abs() < 1e-7, "{name} {samples}: mean {mean}");
            let key = format!("{name}.{samples}");
            if log_mel.chunk_secs == 30 || samples == 9999 {
                let (torch, numpy) =
                    (worst(&features.values, stride, &key), worst(&features.values, stride, &format!("{key}.numpy")));
                assert!(torch <= 5e-5, "{key}: {torch} from the torch path");
                assert!(numpy <= 1e-6, "{key}: {numpy} from the numpy path");
                compared += 1;
            }
            seen += 1;
        }
        assert_eq!((seen, compared), (12, 8));
    }

    #[test]
    fn qwen2_audio_counts_are_those_of_transformers() {
        let log_mel = LogMel::whisper(128);
        let lengths = cases::<Vec<Case>>("audio").into_iter().find_map(|case| match case {
            Case::Lengths { lengths } => Some(lengths),
            Case::Features { .. } => None,
        });
        for [samples, frames, tokens] in lengths.expect("lengths among the cases") {
            assert_eq!(log_mel.valid_frames(samples), frames, "{samples}");
            let layout = MediaLayout::Sound(log_mel.layout(samples));
            assert_eq!(layout.tokens(MediaTokens::Sound { halvings: 2 }), tokens, "{samples}");
        }
    }

    #[test]
    fn sounds_without_sense_are_refused() {
        let error = |samples: &[f32]| LogMel::whisper(80).process(samples).expect_err("refused").to_string();
        assert!(error(&[]).contains("no samples"));
        assert!(error(&[0.0, f32::NAN]).contains("sample 1 is NaN"));
        assert!(error(&[f32::INFINITY]).contains("sample 0 is inf"));
    }

    #[test]
    fn silence_is_the_lowest_value_everywhere() {
        let short = LogMel { chunk_secs: 1, ..LogMel::whisper(80) };
        let features = short.process(&[0.0; 99]).expect("usable");
        assert!(features.values.iter().all(|&v| (v + 1.5).abs() < 1e-6));
    }

    #[test]
    fn sizes_without_sense_are_named() {
        let error = |log_mel: LogMel| log_mel.process(&[0.0]).expect_err("refused").to_string();
        let whisper = || LogMel::whisper(80);
        assert!(error(LogMel { mels: 0, ..whisper() }).contains("`feature_size` is 0"));
        assert!(error(LogMel { hop_length: 401, ..whisper() }).contains("`hop_length` is 401, must be 1 to 400"));
        assert!(error(LogMel { n_fft: 401, ..whisper() }).contains("`n_fft` is 401"));
        assert!(error(LogMel { n_fft: 2 * 17, hop_length: 10, ..whisper() }).contains("primes"));
        assert!(error(LogMel { sampling_rate: 300, chunk_secs: 1, ..whisper() }).contains("below 300 samples"));
        assert!(error(LogMel { chunk_secs: u32::MAX, ..whisper() }).contains("`chunk_length`"));
    }

    #[test]
    fn what_is_written_for_hugging_face_is_read_back_equal() {
        let log_mel = LogMel { chunk_secs: 20, ..LogMel::whisper(128) };
        let file = log_mel.to_hf();
        assert_eq!(LogMel::from_hf(&file.to_string()).expect("readable"), log_mel);
        let nested = serde_json::json!({ "feature_extractor": file, "processor_class": "Qwen2AudioProcessor" });
        assert_eq!(LogMel::from_hf(&nested.to_string()).expect("readable"), log_mel);
    }

    #[test]
    fn files_that_are_not_for_this_are_named() {
        let error = |json: &str| LogMel::from_hf(json).expect_err("refused").to_string();
        let whisper = |rest: &str| error(&format!(r#"{{"feature_extractor_type":"WhisperFeatureExtractor",{rest}}}"#));
        assert!(error(r#"{"feature_extractor_type":"ClapFeatureExtractor"}"#).contains("ClapFeatureExtractor"));
        assert!(error("{}").contains("missing"));
        assert!(whisper(r#""dither":0.1"#).contains("`dither` is 0.1"));
        assert!(whisper(r#""padding_value":1"#).contains("`padding_value`"));
        assert!(whisper(r#""do_normalize":true"#).contains("do_normalize"));
        assert!(whisper(r#""feature_size":-1"#).contains("`feature_size` is -1"));
    }
}
