//! `WhisperFeatureExtractor`'s file to [`LogMel`] and back.

use serde_json::{Value, json};

use super::names::WHISPER;
use super::settings::Settings;
use crate::{LogMel, MediaError};

pub(crate) fn read_log_mel(json: &str) -> Result<LogMel, MediaError> {
    let settings = Settings::parse(json, &["feature_extractor", "audio_processor"])?;
    match settings.text("feature_extractor_type")? {
        Some(WHISPER) => {}
        Some(other) => {
            let detail = format!("`feature_extractor_type` is `{other}`, known is {WHISPER}");
            return Err(MediaError::processor(detail));
        }
        None => return Err(MediaError::processor("`feature_extractor_type` is missing")),
    }
    check_steps(&settings)?;
    let count = |key, default| Ok::<_, MediaError>(settings.count(key)?.unwrap_or(default));
    let default = LogMel::whisper(80);
    let log_mel = LogMel {
        mels: count("feature_size", default.mels)?,
        sampling_rate: count("sampling_rate", default.sampling_rate)?,
        n_fft: count("n_fft", default.n_fft)?,
        hop_length: count("hop_length", default.hop_length)?,
        chunk_secs: count("chunk_length", default.chunk_secs)?,
    };
    log_mel.check()?;
    Ok(log_mel)
}

/// Noise, another silence than zero and normalised samples are not done here.
fn check_steps(settings: &Settings) -> Result<(), MediaError> {
    for key in ["dither", "padding_value"] {
        if let Some(value) = settings.number(key)?.filter(|value| *value != 0.0) {
            return Err(MediaError::processor(format!("`{key}` is {value}, supported is 0")));
        }
    }
    if settings.flag("do_normalize")? == Some(true) {
        return Err(MediaError::processor("`do_normalize = true` is not supported for sound"));
    }
    Ok(())
}

pub(crate) fn write_log_mel(log_mel: &LogMel) -> Value {
    json!({
        "feature_extractor_type": WHISPER,
        "feature_size": log_mel.mels,
        "sampling_rate": log_mel.sampling_rate,
        "n_fft": log_mel.n_fft,
        "hop_length": log_mel.hop_length,
        "chunk_length": log_mel.chunk_secs,
        "n_samples": log_mel.max_samples(),
        "nb_max_frames": log_mel.frames(),
        "padding_side": "right",
        "padding_value": 0.0,
        "dither": 0.0,
        "return_attention_mask": false,
    })
}
