//! Idefics3 and SmolVLM in `config.json`.

use serde_json::{Value, json};

use super::keys::{count, flag, object, str_or, usize_or, with, within};
use super::text::text_part;
use super::vision::parse_vision;
use super::whole::HubClass;
use crate::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, TextConfig, VisionConfig, VitConfig, VlmConfig,
};

/// `image_token_id` where a file says nothing.
const IMAGE_TOKEN: usize = 128_257;

/// The tower, whatever it calls itself: that of the class.
pub(super) fn vision_of(json: &Value) -> Result<VisionConfig, String> {
    let kind = if str_or(json, "model_type", "")? == "smolvlm" { "smolvlm_vision" } else { "idefics3_vision" };
    let part = object(json, "vision_config")?.unwrap_or(&Value::Null);
    within("vision_config", parse_vision(&with(part, "model_type", kind)))
}

/// The language model.
pub(super) fn text_of(json: &Value) -> Result<TextConfig, String> {
    // Only the flag at the top counts for these classes.
    let tie_word_embeddings = flag(json, "tie_word_embeddings")?.unwrap_or(false);
    Ok(TextConfig { tie_word_embeddings, ..text_part(json, &json!({ "rms_norm_eps": 1e-5 }))? })
}

/// The classes are one model; which of them it was is kept in the tower.
pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    Ok(VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(vision_of(json)?, -1)),
        connector: ConnectorConfig::Mlp(MlpConfig {
            depth: 1,
            pixel_shuffle: usize_or(json, "scale_factor", 2)?,
            act: Activation::Gelu,
            bias: false,
        }),
        text: text_of(json)?,
        image_token_id: count(json, "image_token_id")?.unwrap_or(IMAGE_TOKEN),
        video_token_id: None,
        image_grid_pinpoints: None,
        vision_bounds: None,
    })
}

pub(super) fn write(config: &VlmConfig, class: HubClass) -> Value {
    let (EncoderConfig::Vit(vit), ConnectorConfig::Mlp(mlp)) = (&config.encoder, &config.connector) else {
        return Value::Null;
    };
    json!({
        "architectures": [class.architecture()],
        "model_type": class.model_type(),
        "image_token_id": config.image_token_id,
        "scale_factor": mlp.pixel_shuffle,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "torch_dtype": "float32",
        "dtype": "float32",
        "vision_config": vit.vision.to_hf(),
        "text_config": config.text.to_hf(),
    })
}
