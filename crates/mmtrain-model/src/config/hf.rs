//! Hugging Face `config.json`, read tolerantly and written for both generations of `transformers`.
//!
//! Real files are sparse: what is absent, a key or a whole part, is the default of the `model_type`'s configuration class
//! (`configuration_{llava,qwen2_vl,clip,llama,…}.py`). What is there has the right type or is an error. Rotary settings stand in `rope_parameters`
//! (version 5) or in `rope_theta` + `rope_scaling` (version 4); both are read and both are written.

mod audio;
mod blip2;
#[cfg(test)]
mod defaults;
mod encoder;
mod idefics3;
mod keys;
mod kind;
mod llama_vision;
mod llava;
mod mllama;
mod own;
mod processor;
mod qwen2_audio;
mod qwen2_vl;
mod qwen_vl;
mod text;
mod vision;
mod whole;

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::{AudioConfig, EncoderConfig, MllamaVisionConfig, QwenVlVisionConfig, TextConfig, VisionConfig, VlmConfig};
use crate::error::ModelError;
use audio::parse_audio;
use keys::{object, string};
use mllama::parse_mllama_vision;
use qwen_vl::parse_qwen_vl_vision;
use text::text_of;
use vision::parse_vision;

pub use kind::{ENCODER_TYPES, ModelKind, read_kind};
pub use whole::{HubClass, MODEL_TYPES};

/// Reads `config.json` of an image tower, or the tower's part of a larger model.
pub fn read_vision(dir: &Path) -> Result<VisionConfig, ModelError> {
    read(dir, |json| parse_vision(object(json, "vision_config")?.unwrap_or(json)), VisionConfig::check)
}

/// Reads `config.json` of a Qwen2-VL's tower, or of a Qwen2-VL.
pub fn read_qwen_vl_vision(dir: &Path) -> Result<QwenVlVisionConfig, ModelError> {
    let parse = |json: &Value| parse_qwen_vl_vision(object(json, "vision_config")?.unwrap_or(json));
    read(dir, parse, QwenVlVisionConfig::check)
}

/// Reads `config.json` of a Mllama's tower, or of a Mllama.
pub fn read_mllama_vision(dir: &Path) -> Result<MllamaVisionConfig, ModelError> {
    let parse = |json: &Value| parse_mllama_vision(object(json, "vision_config")?.unwrap_or(json));
    read(dir, parse, MllamaVisionConfig::check)
}

/// Reads `config.json` of a Whisper, a Qwen2-Audio, or an audio encoder alone.
pub fn read_audio(dir: &Path) -> Result<AudioConfig, ModelError> {
    read(dir, |json| parse_audio(object(json, "audio_config")?.unwrap_or(json)), AudioConfig::check)
}

/// Reads the encoder of any model: an image tower, Qwen2-VL's, or one of sound.
///
/// `feature_layer` says which state of an image tower is used; whether the tower has it is for the caller to see.
pub fn read_encoder(dir: &Path, feature_layer: i32) -> Result<EncoderConfig, ModelError> {
    read(dir, |json| encoder::parse(json, feature_layer), EncoderConfig::check_sizes)
}

/// Reads `config.json` of a language model, or the decoder's part of a larger model.
pub fn read_text(dir: &Path) -> Result<TextConfig, ModelError> {
    read(dir, text_of, TextConfig::check)
}

/// Reads `config.json` of a whole model.
pub fn read_vlm(dir: &Path) -> Result<VlmConfig, ModelError> {
    read(dir, whole::parse, VlmConfig::check)
}

/// As [`read_vlm`], where parts that do not belong together are no error: also why they do not.
pub fn read_vlm_sizes(dir: &Path) -> Result<(VlmConfig, Option<String>), ModelError> {
    let config = read(dir, whole::parse, VlmConfig::check_sizes)?;
    let misfit = config.check_fit().err();
    Ok((config, misfit))
}

/// As [`read_vlm`], where the file is one of `transformers`.
pub(crate) fn read_published(dir: &Path) -> Option<VlmConfig> {
    let json = load(dir).ok()?;
    let kind = string(&json, "model_type").ok()??;
    if kind == own::MODEL_TYPE || !MODEL_TYPES.contains(&kind) {
        return None;
    }
    whole::parse(&json).ok()
}

/// Reads a directory's file, and refuses what cannot be built.
fn read<T>(
    dir: &Path,
    parse: impl FnOnce(&Value) -> Result<T, String>,
    check: impl FnOnce(&T) -> Result<(), String>,
) -> Result<T, ModelError> {
    let parsed = parse(&load(dir)?).and_then(|config| check(&config).map(|()| config));
    parsed.map_err(|message| config_error(&dir.join(FILE), &message, REFUSED))
}

/// The file of a directory, which holds one object.
fn load(dir: &Path) -> Result<Value, ModelError> {
    let path = dir.join(FILE);
    let text = match fs_err::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(config_error(&path, "there is none", NO_FILE)),
        text => text?,
    };
    let damaged = |message: String| config_error(&path, &message, DAMAGED);
    let json: Value = serde_json::from_str(&text).map_err(|error| damaged(format!("not JSON: {error}")))?;
    if json.is_object() { Ok(json) } else { Err(damaged("not a JSON object".to_owned())) }
}

const FILE: &str = "config.json";

const NO_FILE: &str = "sizes and architecture of a checkpoint stand in its `config.json`: put it beside the weights";

const DAMAGED: &str =
    "the file is damaged or cut short: fetch it again (`mmtrain fetch hf:ORG/NAME --include config.json`)";

const REFUSED: &str = "compare it with the published file (`mmtrain fetch hf:ORG/NAME --include config.json`); a key that is \
                       left out has the default of its class in transformers";

fn config_error(path: &Path, message: &str, hint: &str) -> ModelError {
    ModelError::Config { path: path.to_owned(), message: message.to_owned(), hint: hint.to_owned() }
}
