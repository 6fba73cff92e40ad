//! Hugging Face `config.json`, read tolerantly and written for both generations of `transformers`.
//!
//! Real files are sparse: what is absent is the default of the `model_type`'s configuration class
//! (`configuration_{clip,siglip,llama,mistral,qwen2,qwen3}.py`). Rotary settings stand in `rope_parameters`
//! (version 5) or in `rope_theta` + `rope_scaling` (version 4); both are read and both are written.

mod audio;
mod blip2;
mod encoder;
mod idefics3;
mod keys;
mod llama_vision;
mod llava;
mod mllama;
mod own;
mod qwen2_audio;
mod qwen2_vl;
mod qwen_vl;
mod text;
mod vision;
mod whole;

use std::path::Path;

use serde_json::Value;

use super::{AudioConfig, EncoderConfig, MllamaVisionConfig, QwenVlVisionConfig, TextConfig, VisionConfig, VlmConfig};
use crate::error::ModelError;
use audio::parse_audio;
use mllama::parse_mllama_vision;
use qwen_vl::parse_qwen_vl_vision;
use text::text_of;
use vision::parse_vision;

pub use whole::{HubClass, MODEL_TYPES};

/// Reads `config.json` of an image tower, or the tower's part of a larger model.
pub fn read_vision(dir: &Path) -> Result<VisionConfig, ModelError> {
    let json = load(dir)?;
    let config = parse_vision(json.get("vision_config").unwrap_or(&json));
    config.and_then(|config| config.check().map(|()| config)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a Qwen2-VL, or of its tower alone.
pub fn read_qwen_vl_vision(dir: &Path) -> Result<QwenVlVisionConfig, ModelError> {
    let json = load(dir)?;
    parse_qwen_vl_vision(json.get("vision_config").unwrap_or(&json)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a Mllama, or of its tower alone.
pub fn read_mllama_vision(dir: &Path) -> Result<MllamaVisionConfig, ModelError> {
    let json = load(dir)?;
    let config = parse_mllama_vision(json.get("vision_config").unwrap_or(&json));
    config.and_then(|config| config.check().map(|()| config)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a Whisper, a Qwen2-Audio, or an audio encoder alone.
pub fn read_audio(dir: &Path) -> Result<AudioConfig, ModelError> {
    let json = load(dir)?;
    parse_audio(json.get("audio_config").unwrap_or(&json)).map_err(|message| at(dir, message))
}

/// Reads the encoder of any model: an image tower, Qwen2-VL's, or one of sound.
///
/// `feature_layer` says which state of an image tower is used.
pub fn read_encoder(dir: &Path, feature_layer: i32) -> Result<EncoderConfig, ModelError> {
    let json = load(dir)?;
    let config = encoder::parse(&json, feature_layer).and_then(|config| config.check().map(|()| config));
    config.map_err(|message| at(dir, message))
}

/// Reads `config.json` of a language model, or the decoder's part of a larger model.
pub fn read_text(dir: &Path) -> Result<TextConfig, ModelError> {
    let json = load(dir)?;
    text_of(&json).and_then(|config| config.check().map(|()| config)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a whole model.
pub fn read_vlm(dir: &Path) -> Result<VlmConfig, ModelError> {
    let json = load(dir)?;
    let config = whole::parse(&json).and_then(|config| config.check().map(|()| config));
    config.map_err(|message| at(dir, message))
}

/// As [`read_vlm`], where the file is one of `transformers`.
pub(crate) fn read_published(dir: &Path) -> Option<VlmConfig> {
    let json = load(dir).ok()?;
    let kind = json.get("model_type").and_then(Value::as_str)?;
    if kind == own::MODEL_TYPE || !MODEL_TYPES.contains(&kind) {
        return None;
    }
    whole::parse(&json).ok()
}

fn load(dir: &Path) -> Result<Value, ModelError> {
    let path = dir.join("config.json");
    let text = fs_err::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| at(&path, format!("not JSON: {error}")))
}

fn at(path: &Path, message: String) -> ModelError {
    ModelError::Config { path: path.display().to_string(), message }
}
