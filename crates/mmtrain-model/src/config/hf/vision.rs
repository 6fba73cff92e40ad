//! The image tower in `config.json`.

use serde_json::{Value, json};

use super::keys::{activation, divides, f64_or, str_or, usize_or};
use crate::config::{VisionConfig, VisionFamily};

pub(super) fn parse_vision(json: &Value) -> Result<VisionConfig, String> {
    let family = match str_or(json, "model_type", "") {
        "clip_vision_model" | "clip" => VisionFamily::Clip,
        "siglip_vision_model" | "siglip" => VisionFamily::Siglip,
        other => {
            return Err(format!("`model_type` \"{other}\" is no image tower this build knows (clip, siglip)"));
        }
    };
    let default_patch = if family == VisionFamily::Clip { 32 } else { 16 };
    let config = VisionConfig {
        family,
        hidden_size: usize_or(json, "hidden_size", 768)?,
        intermediate_size: usize_or(json, "intermediate_size", 3072)?,
        num_hidden_layers: usize_or(json, "num_hidden_layers", 12)?,
        num_attention_heads: usize_or(json, "num_attention_heads", 12)?,
        image_size: usize_or(json, "image_size", 224)?,
        patch_size: usize_or(json, "patch_size", default_patch)?,
        layer_norm_eps: f64_or(json, "layer_norm_eps", family.default_eps()),
        hidden_act: activation(json, "hidden_act", family.default_act())?,
    };
    divides("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
    if config.patch_size == 0 || config.patch_size > config.image_size {
        return Err(format!("`patch_size` {} does not fit `image_size` {}", config.patch_size, config.image_size));
    }
    Ok(config)
}

impl VisionConfig {
    pub(super) fn to_hf(&self) -> Value {
        json!({
            "model_type": match self.family {
                VisionFamily::Clip => "clip_vision_model",
                VisionFamily::Siglip => "siglip_vision_model",
            },
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_channels": 3,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": self.hidden_act.name(),
            "vision_use_head": false,
        })
    }
}
