//! Mllama (Llama 3.2 Vision) as a whole in `config.json`.

use serde_json::{Value, json};

use super::keys::{count, list, object, usize_or, within};
use super::mllama::parse_mllama_vision;
use super::text::text_as;
use super::whole::HubClass;
use crate::config::{
    ConnectorConfig, CrossAttentionConfig, EncoderConfig, MllamaVisionConfig, TextConfig, Unseen, VlmConfig,
};

/// Rows of the embedding table behind the vocabulary (`MllamaTextModel`).
const EXTRA_EMBEDDINGS: usize = 8;

/// `MllamaTextConfig` where a file says nothing.
fn text_defaults() -> Value {
    json!({
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0,
    })
}

/// `image_token_index` where a file says nothing.
const IMAGE_TOKEN: usize = 128_256;

/// `cross_attention_layers` where a file says nothing.
const CROSS_ATTENTION_LAYERS: [usize; 8] = [3, 8, 13, 18, 23, 28, 33, 38];

/// The tower.
pub(super) fn vision_of(json: &Value) -> Result<MllamaVisionConfig, String> {
    within("vision_config", parse_mllama_vision(object(json, "vision_config")?.unwrap_or(&Value::Null)))
}

/// The language model without the layers that read pictures.
pub(super) fn text_of(json: &Value) -> Result<TextConfig, String> {
    Ok(text_beside(json)?.0)
}

/// The language model, and the blocks before which layers read pictures.
fn text_beside(json: &Value) -> Result<(TextConfig, Vec<usize>), String> {
    let (both, layers) = within("text_config", layers(object(json, "text_config")?.unwrap_or(&Value::Null)))?;
    let before_blocks = CrossAttentionConfig::from_mllama(&layers, both)?;
    let text = text_as(json, &text_defaults())?;
    let blocks = both - layers.len();
    Ok((TextConfig { num_hidden_layers: blocks, extra_embeddings: EXTRA_EMBEDDINGS, ..text }, before_blocks))
}

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let (text, before_blocks) = text_beside(json)?;
    Ok(VlmConfig {
        encoder: EncoderConfig::Mllama(vision_of(json)?),
        connector: ConnectorConfig::CrossAttention(CrossAttentionConfig {
            unseen: Unseen::MllamaAll,
            ..CrossAttentionConfig::beside(&text, before_blocks)
        }),
        image_token_id: count(json, "image_token_index")?.unwrap_or(IMAGE_TOKEN),
        text,
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    })
}

/// How many layers of both kinds there are, and which of them read the pictures.
fn layers(text: &Value) -> Result<(usize, Vec<usize>), String> {
    let reading = list(text, "cross_attention_layers", "numbers of layers")?;
    Ok((usize_or(text, "num_hidden_layers", 40)?, reading.unwrap_or(CROSS_ATTENTION_LAYERS.to_vec())))
}

pub(super) fn write(config: &VlmConfig, class: HubClass) -> Value {
    let (EncoderConfig::Mllama(vision), Some(cross)) = (&config.encoder, config.cross_attention()) else {
        return Value::Null;
    };
    let mut text = config.text.to_hf();
    text["model_type"] = "mllama_text_model".into();
    text["num_hidden_layers"] = (config.text.num_hidden_layers + cross.num_layers()).into();
    text["cross_attention_layers"] = json!(cross.mllama_layers());
    // The class asks for it; transformers 4 has no default of its own.
    if text.get("rope_scaling").is_none_or(Value::is_null) {
        text["rope_scaling"] = json!({ "rope_type": "default" });
    }
    json!({
        "architectures": [class.architecture()],
        "model_type": class.model_type(),
        "image_token_index": config.image_token_id,
        "image_token_id": config.image_token_id,
        "torch_dtype": "float32",
        "dtype": "float32",
        "vision_config": vision.to_hf(),
        "text_config": text,
    })
}
