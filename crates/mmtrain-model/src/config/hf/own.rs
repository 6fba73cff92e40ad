//! mmtrain's own `config.json`, for models that no class of `transformers` has.

use serde_json::{Value, json};

use super::keys::{count, given, list};
use super::llava;
use super::text::text_part;
use crate::config::{TextConfig, VlmConfig};

pub(super) const MODEL_TYPE: &str = "mmtrain_vlm";

/// The parts that are mmtrain's own stand as it describes them, the language model as in any `config.json`.
pub(super) fn write(config: &VlmConfig) -> Value {
    json!({
        "model_type": MODEL_TYPE,
        "mmtrain_encoder": config.encoder,
        "mmtrain_connector": config.connector,
        "text_config": config.text.to_hf(),
        "extra_embeddings": config.text.extra_embeddings,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "image_token_id": config.image_token_id,
        "video_token_id": config.video_token_id,
        "image_grid_pinpoints": config.image_grid_pinpoints,
        "vision_bounds": config.vision_bounds,
        "torch_dtype": "float32",
        "dtype": "float32",
    })
}

/// The language model.
pub(super) fn text_of(json: &Value) -> Result<TextConfig, String> {
    let extra_embeddings = count(json, "extra_embeddings")?.unwrap_or(0);
    Ok(TextConfig { extra_embeddings, ..text_part(json, &Value::Null)? })
}

/// Reads it back; files of before 2026-11 have a `vision_config` as LLaVA has it.
pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let part = |key: &str| json.get(key).cloned().ok_or_else(|| format!("no `{key}`"));
    let bad = |key: &str, error: serde_json::Error| format!("`{key}`: {error}");
    if given(json, "mmtrain_encoder").is_none() {
        return llava::parse(json);
    }
    Ok(VlmConfig {
        encoder: serde_json::from_value(part("mmtrain_encoder")?).map_err(|error| bad("mmtrain_encoder", error))?,
        connector: serde_json::from_value(part("mmtrain_connector")?)
            .map_err(|error| bad("mmtrain_connector", error))?,
        text: text_of(json)?,
        image_token_id: llava::image_token_id(json)?.ok_or("no `image_token_id`")?,
        video_token_id: count(json, "video_token_id")?,
        image_grid_pinpoints: llava::pinpoints(json)?,
        vision_bounds: list(json, "vision_bounds", "two ids")?,
    })
}
