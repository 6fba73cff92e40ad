//! What an audio encoder wants of a sound: resampled, its first chunk as log-mel features.

use crate::audio::{Sound, SoundLength};
use crate::{LogMel, MediaError, MediaLayout, MediaValues, SoundLayout};

/// What comes behind the chunk is resampled along with it for so long, so that the filter finds at the chunk's end what the
/// whole sound has there; in seconds.
const MARGIN_SECS: u32 = 1;

/// Decoded sound to the input of Whisper's encoder and its relatives.
///
/// A sound that is longer than a chunk (30 seconds) is cut there, as `WhisperFeatureExtractor` does it;
/// [`is_cut`](Self::is_cut) says so before anything is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundProcessor {
    /// The features.
    pub log_mel: LogMel,
}

impl SoundProcessor {
    /// Reads a `preprocessor_config.json`, or a `processor_config.json` with a `feature_extractor` in it, of Whisper or
    /// `Qwen2-Audio`.
    pub fn from_hf(json: &str) -> Result<Self, MediaError> {
        Ok(Self { log_mel: LogMel::from_hf(json)? })
    }

    /// Bands and frames of a sound of this length; costs no sample.
    pub fn layout(&self, length: SoundLength) -> SoundLayout {
        self.log_mel.layout(length.at(self.log_mel.sampling_rate) as usize)
    }

    /// Whether such a sound is longer than a chunk, and its end not heard.
    pub fn is_cut(&self, length: SoundLength) -> bool {
        length.at(self.log_mel.sampling_rate) > self.log_mel.max_samples() as u64
    }

    /// The encoder's input: `[mels, frames]`.
    pub fn process(&self, mut sound: Sound) -> Result<MediaValues, MediaError> {
        let layout = self.layout(sound.length());
        let heard_secs = u64::from(self.log_mel.chunk_secs.saturating_add(MARGIN_SECS));
        sound.samples.truncate((heard_secs * u64::from(sound.rate)) as usize);
        let sound = sound.resampled(self.log_mel.sampling_rate)?;
        let values = self.log_mel.process(&sound.samples)?.values;
        Ok(MediaValues { values, layout: MediaLayout::Sound(layout) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::fixture_bytes;
    use crate::{AudioLimits, audio_length, decode_audio};

    fn whisper() -> SoundProcessor {
        SoundProcessor { log_mel: LogMel::whisper(80) }
    }

    fn noise(samples: usize, rate: u32) -> Sound {
        let sample = |i: usize| ((i * i * 7 + i * 131) % 4001) as f32 / 4000.0 - 0.5;
        Sound { samples: (0..samples).map(sample).collect(), rate }
    }

    #[test]
    fn the_layout_before_decoding_is_the_one_of_the_values() {
        let limits = AudioLimits::default();
        for (name, frames) in [("stereo.flac", 25), ("tones.mp3", 50), ("no_xing.mp3", 58), ("tones.ogg", 50)] {
            let bytes = fixture_bytes(&format!("sound/{name}"));
            let expected = whisper().layout(audio_length(&bytes, &limits).expect("a length"));
            let values = whisper().process(decode_audio(&bytes, &limits).expect("a sound")).expect("usable");
            assert_eq!(values.layout, MediaLayout::Sound(expected), "{name}");
            assert_eq!((expected.valid_frames, values.shape()), (frames, vec![80, 3000]), "{name}");
        }
    }

    #[test]
    fn samples_at_the_encoders_rate_go_straight_to_the_features() {
        let sound = noise(20_000, 16_000);
        let features = whisper().log_mel.process(&sound.samples).expect("usable");
        assert_eq!(whisper().process(sound).expect("usable").values, features.values);
    }

    #[test]
    fn only_the_first_chunk_is_heard_and_one_can_know_it() {
        let processor = SoundProcessor { log_mel: LogMel { chunk_secs: 1, ..LogMel::whisper(80) } };
        let (whole, long) = (noise(44_100, 44_100), noise(5 * 44_100, 44_100));
        assert_eq!([&whole, &long].map(|sound| processor.is_cut(sound.length())), [false, true]);
        assert_eq!(processor.layout(long.length()).valid_frames, 100);
        // what lies behind the margin makes no difference, to the bit
        let two = Sound { samples: long.samples[..2 * 44_100].to_vec(), rate: long.rate };
        assert_eq!(processor.process(long).expect("usable"), processor.process(two).expect("usable"));
    }

    #[test]
    fn it_is_read_from_the_file_of_whisper_and_of_qwen2_audio() {
        let file = LogMel::whisper(128).to_hf();
        let processor = SoundProcessor::from_hf(&file.to_string()).expect("readable");
        assert_eq!(processor.log_mel, LogMel::whisper(128));
    }
}
