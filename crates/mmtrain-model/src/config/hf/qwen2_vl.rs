//! Qwen2-VL and Qwen2.5-VL in `config.json`: the language model's keys at the top (transformers 4) or in a
//! `text_config` (5).

use serde_json::{Value, json};

use super::keys::{count, given, object, with, within};
use super::qwen_vl::parse_qwen_vl_vision;
use super::text::text_as;
use super::whole::HubClass;
use crate::config::{ConnectorConfig, EncoderConfig, QwenVlFamily, QwenVlVisionConfig, TextConfig, VlmConfig};

/// `Qwen2VLTextConfig` where a file says nothing.
fn text_defaults() -> Value {
    json!({
        "model_type": "qwen2",
        "vocab_size": 152_064,
        "hidden_size": 8192,
        "intermediate_size": 29_568,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e6,
        "mrope_section": [16, 24, 24],
        "max_window_layers": 80,
    })
}

/// Whether a file of transformers 4, whose tower may call itself as the whole, is that of a tower.
pub(super) fn is_tower(json: &Value) -> bool {
    ["depth", "embed_dim", "out_hidden_size", "spatial_merge_size"].iter().any(|key| given(json, key).is_some())
}

/// The tower. Files of transformers 4 do not name it, or call it as the whole.
pub(super) fn vision_of(json: &Value) -> Result<QwenVlVisionConfig, String> {
    let part = object(json, "vision_config")?.unwrap_or(&Value::Null);
    within("vision_config", parse_qwen_vl_vision(&with(part, "model_type", json["model_type"].clone())))
}

/// The language model.
pub(super) fn text_of(json: &Value) -> Result<TextConfig, String> {
    text_as(json, &text_defaults())
}

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let id = |key, default| Ok::<_, String>(count(json, key)?.unwrap_or(default));
    Ok(VlmConfig {
        encoder: EncoderConfig::QwenVl(vision_of(json)?),
        connector: ConnectorConfig::Merger,
        text: text_of(json)?,
        image_token_id: id("image_token_id", 151_655)?,
        video_token_id: Some(id("video_token_id", 151_656)?),
        image_grid_pinpoints: None,
        vision_bounds: Some([id("vision_start_token_id", 151_652)?, id("vision_end_token_id", 151_653)?]),
    })
}

pub(super) fn class(family: &QwenVlFamily) -> HubClass {
    match family {
        QwenVlFamily::Qwen2 => HubClass::Qwen2Vl,
        QwenVlFamily::Qwen2_5(_) => HubClass::Qwen2_5Vl,
    }
}

/// The language model's keys stand at the top, where both generations read them, and the multimodal rotary settings in
/// both spellings.
pub(super) fn write(config: &VlmConfig, class: HubClass) -> Value {
    let EncoderConfig::QwenVl(vision) = &config.encoder else { return Value::Null };
    let mut json = config.text.to_hf();
    json["architectures"] = json!([class.architecture()]);
    json["model_type"] = class.model_type().into();
    json["vision_config"] = vision.to_hf();
    json["image_token_id"] = config.image_token_id.into();
    json["video_token_id"] = json!(config.video_token_id);
    if let Some([start, end]) = config.vision_bounds {
        json["vision_start_token_id"] = start.into();
        json["vision_end_token_id"] = end.into();
    }
    json["torch_dtype"] = "float32".into();
    json["dtype"] = "float32".into();
    json
}
