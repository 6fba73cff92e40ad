//! Qwen2-Audio in `config.json`.

use serde_json::{Value, json};

use super::audio::parse_audio;
use super::keys::{count, object, with, within};
use super::text::text_as;
use super::whole::HubClass;
use crate::config::{Activation, AudioConfig, ConnectorConfig, EncoderConfig, MlpConfig, VlmConfig};

/// `audio_token_index` where a file says nothing.
const AUDIO_TOKEN: usize = 151_646;

/// The encoder, whatever it calls itself.
pub(super) fn audio_of(json: &Value) -> Result<AudioConfig, String> {
    let part = object(json, "audio_config")?.unwrap_or(&Value::Null);
    within("audio_config", parse_audio(&with(part, "model_type", "qwen2_audio_encoder")))
}

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let id = count(json, "audio_token_index")?.or(count(json, "audio_token_id")?);
    Ok(VlmConfig {
        encoder: EncoderConfig::Audio(audio_of(json)?),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 1, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text: text_as(json, &json!({ "model_type": "qwen2" }))?,
        image_token_id: id.unwrap_or(AUDIO_TOKEN),
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
