//! Idefics3 and SmolVLM in `config.json`.

use serde_json::{Value, json};

use super::keys::{flag, usize_or};
use super::text::text_of;
use super::vision::parse_vision;
use super::whole::HubClass;
use crate::config::{Activation, ConnectorConfig, EncoderConfig, MlpConfig, VitConfig, VlmConfig};

pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    let mut vision = json.get("vision_config").cloned().unwrap_or_else(|| json!({}));
    if let Some(object) = vision.as_object_mut() {
        object.insert("model_type".into(), "idefics3_vision".into());
    }
    json.get("text_config").ok_or("no `text_config`: not a vision-language model")?;
    let mut text = text_of(json)?;
    // Only the flag at the top counts for these classes.
    text.tie_word_embeddings = flag(json, "tie_word_embeddings")?.unwrap_or(false);
    Ok(VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(parse_vision(&vision)?, -1)),
        connector: ConnectorConfig::Mlp(MlpConfig {
            depth: 1,
            pixel_shuffle: usize_or(json, "scale_factor", 2)?,
            act: Activation::Gelu,
            bias: false,
        }),
        text,
        image_token_id: usize_or(json, "image_token_id", 128_257)?,
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
