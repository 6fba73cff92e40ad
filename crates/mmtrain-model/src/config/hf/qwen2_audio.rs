//! Qwen2-Audio in `config.json`.

use serde_json::{Value, json};

use super::audio::parse_audio;
use super::keys::usize_or;
use super::text::text_as;
use super::whole::HubClass;
use crate::config::{Activation, ConnectorConfig, EncoderConfig, MlpConfig, VlmConfig};

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let mut audio = json.get("audio_config").cloned().ok_or("no `audio_config`: not a Qwen2-Audio")?;
    if let Some(object) = audio.as_object_mut() {
        object.insert("model_type".into(), "qwen2_audio_encoder".into());
    }
    let id = ["audio_token_index", "audio_token_id"].into_iter().find(|key| json.get(*key).is_some());
    Ok(VlmConfig {
        encoder: EncoderConfig::Audio(parse_audio(&audio)?),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 1, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text: text_as(json, &json!({ "model_type": "qwen2" }))?,
        image_token_id: usize_or(json, id.unwrap_or("audio_token_index"), 151_646)?,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    })
}

pub(super) fn write(config: &VlmConfig, class: HubClass) -> Value {
    let EncoderConfig::Audio(audio) = &config.encoder else { return Value::Null };
    json!({
        "architectures": [class.architecture()],
        "model_type": class.model_type(),
        "audio_token_index": config.image_token_id,
        "audio_token_id": config.image_token_id,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "torch_dtype": "float32",
        "dtype": "float32",
        "audio_config": audio.to_hf(),
        "text_config": config.text.to_hf(),
    })
}
