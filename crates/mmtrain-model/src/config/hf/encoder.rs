//! An encoder by itself, or that of a larger model.

use serde_json::Value;

use super::audio::parse_audio;
use super::keys::{given, object, str_or, with_default};
use super::mllama::parse_mllama_vision;
use super::qwen_vl::parse_qwen_vl_vision;
use super::vision::parse_vision;
use super::{blip2, idefics3, llama_vision, llava, own, qwen2_audio, qwen2_vl};
use crate::config::{EncoderConfig, VitConfig};

pub(super) fn parse(json: &Value, feature_layer: i32) -> Result<EncoderConfig, String> {
    let vit = |vision| EncoderConfig::Vit(VitConfig::new(vision, feature_layer));
    Ok(match str_or(json, "model_type", "")? {
        own::MODEL_TYPE if given(json, "mmtrain_encoder").is_some() => own::parse(json)?.encoder,
        "llava" | "llava_next" => vit(llava::vision_of(json)?),
        "blip-2" | "instructblip" => vit(blip2::vision_of(json)?),
        "idefics3" | "smolvlm" => vit(idefics3::vision_of(json)?),
        "mllama" => EncoderConfig::Mllama(llama_vision::vision_of(json)?),
        "qwen2_vl" | "qwen2_5_vl" if !qwen2_vl::is_tower(json) => EncoderConfig::QwenVl(qwen2_vl::vision_of(json)?),
        "qwen2_audio" => EncoderConfig::Audio(qwen2_audio::audio_of(json)?),
        kind => return tower(&tower_in(json, kind)?, feature_layer),
    })
}

/// The part of a model that is not known as a whole, such as CLIP with its text tower, or the file itself.
fn tower_in(json: &Value, kind: &str) -> Result<Value, String> {
    let part = object(json, "vision_config")?.or(object(json, "audio_config")?);
    Ok(part.map_or_else(|| json.clone(), |part| with_default(part, "model_type", kind)))
}

fn tower(json: &Value, feature_layer: i32) -> Result<EncoderConfig, String> {
    Ok(match str_or(json, "model_type", "")? {
        "qwen2_vl" | "qwen2_vl_vision" | "qwen2_5_vl" | "qwen2_5_vl_vision" => {
            EncoderConfig::QwenVl(parse_qwen_vl_vision(json)?)
        }
        "mllama_vision_model" => EncoderConfig::Mllama(parse_mllama_vision(json)?),
        "whisper" | "qwen2_audio_encoder" => EncoderConfig::Audio(parse_audio(json)?),
        _ => EncoderConfig::Vit(VitConfig::new(parse_vision(json)?, feature_layer)),
    })
}
