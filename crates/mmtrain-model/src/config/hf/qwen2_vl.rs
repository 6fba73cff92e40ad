//! Qwen2-VL and Qwen2.5-VL in `config.json`: the language model's keys at the top (transformers 4) or in a
//! `text_config` (5).

use serde_json::{Value, json};

use super::keys::usize_or;
use super::qwen_vl::parse_qwen_vl_vision;
use super::text::text_as;
use super::whole::HubClass;
use crate::config::{ConnectorConfig, EncoderConfig, QwenVlFamily, VlmConfig};

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
    })
}

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let mut vision = json.get("vision_config").cloned().ok_or("no `vision_config`: not a vision-language model")?;
    // Files of transformers 4 do not name the tower, or call it as the whole.
    if let Some(object) = vision.as_object_mut() {
        object.insert("model_type".into(), json["model_type"].clone());
    }
    Ok(VlmConfig {
        encoder: EncoderConfig::QwenVl(parse_qwen_vl_vision(&vision)?),
        connector: ConnectorConfig::Merger,
        text: text_as(json, &text_defaults())?,
        image_token_id: usize_or(json, "image_token_id", 151_655)?,
        video_token_id: Some(usize_or(json, "video_token_id", 151_656)?),
        image_grid_pinpoints: None,
        vision_bounds: Some([
            usize_or(json, "vision_start_token_id", 151_652)?,
            usize_or(json, "vision_end_token_id", 151_653)?,
        ]),
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
