//! An encoder by itself, or that of a larger model.

use serde_json::Value;

use super::audio::parse_audio;
use super::keys::str_or;
use super::mllama::parse_mllama_vision;
use super::own;
use super::qwen_vl::parse_qwen_vl_vision;
use super::vision::parse_vision;
use crate::config::{EncoderConfig, VitConfig};

pub(super) fn parse(json: &Value, feature_layer: i32) -> Result<EncoderConfig, String> {
    if str_or(json, "model_type", "") == own::MODEL_TYPE && json.get("mmtrain_encoder").is_some() {
        return Ok(own::parse(json)?.encoder);
    }
    if let Some(audio) = json.get("audio_config") {
        return Ok(EncoderConfig::Audio(parse_audio(audio)?));
    }
    let tower = json.get("vision_config").unwrap_or(json);
    // The `vision_config` of older Qwen2-VL files does not say what it is.
    let kind = str_or(tower, "model_type", str_or(json, "model_type", ""));
    match kind {
        "qwen2_vl" | "qwen2_vl_vision" | "qwen2_5_vl" | "qwen2_5_vl_vision" => {
            Ok(EncoderConfig::QwenVl(parse_qwen_vl_vision(tower)?))
        }
        "mllama_vision_model" | "mllama" => Ok(EncoderConfig::Mllama(parse_mllama_vision(tower)?)),
        "whisper" | "qwen2_audio_encoder" => Ok(EncoderConfig::Audio(parse_audio(tower)?)),
        _ => Ok(EncoderConfig::Vit(VitConfig::new(parse_vision(tower)?, feature_layer))),
    }
}
