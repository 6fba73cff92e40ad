//! The image tower in `config.json`.

use serde_json::{Map, Value, json};

use super::keys::{activation, divides, f64_or, flag, str_or, three_channels, usize_or};
use crate::config::{VisionConfig, VisionFamily};

/// Sizes of a configuration class, for what a file leaves out.
struct Defaults {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    patch_size: usize,
}

/// Most classes: ViT-B.
const BASE: Defaults = Defaults {
    hidden_size: 768,
    intermediate_size: 3072,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    patch_size: 16,
};

impl Defaults {
    /// `configuration_{clip,siglip,dinov2,blip_2,idefics3}.py`.
    fn of(family: VisionFamily) -> Self {
        match family {
            VisionFamily::Clip => Self { patch_size: 32, ..BASE },
            VisionFamily::Dinov2 { registers: 0, .. } => Self { patch_size: 14, ..BASE },
            VisionFamily::Siglip | VisionFamily::Dinov2 { .. } => BASE,
            VisionFamily::Blip2 => Self {
                hidden_size: 1408,
                intermediate_size: 6144,
                num_hidden_layers: 39,
                num_attention_heads: 16,
                patch_size: 14,
            },
            VisionFamily::Idefics3 | VisionFamily::SmolVlm => {
                Self { hidden_size: 1152, num_attention_heads: 16, patch_size: 32, ..BASE }
            }
        }
    }
}

pub(super) fn parse_vision(json: &Value) -> Result<VisionConfig, String> {
    let family = family(json)?;
    three_channels(json, "num_channels")?;
    let defaults = Defaults::of(family);
    let hidden_size = usize_or(json, "hidden_size", defaults.hidden_size)?;
    let config = VisionConfig {
        family,
        hidden_size,
        intermediate_size: match family {
            VisionFamily::Dinov2 { .. } => mlp_ratio_times(hidden_size, json)?,
            _ => usize_or(json, "intermediate_size", defaults.intermediate_size)?,
        },
        num_hidden_layers: usize_or(json, "num_hidden_layers", defaults.num_hidden_layers)?,
        num_attention_heads: usize_or(json, "num_attention_heads", defaults.num_attention_heads)?,
        image_size: usize_or(json, "image_size", 224)?,
        patch_size: usize_or(json, "patch_size", defaults.patch_size)?,
        layer_norm_eps: f64_or(json, "layer_norm_eps", family.default_eps())?,
        hidden_act: activation(json, "hidden_act", family.default_act())?,
    };
    divides("num_attention_heads", config.num_attention_heads, "hidden_size", config.hidden_size)?;
    if config.patch_size > config.image_size {
        return Err(format!("`patch_size` {} does not fit `image_size` {}", config.patch_size, config.image_size));
    }
    Ok(config)
}

fn family(json: &Value) -> Result<VisionFamily, String> {
    let gated_mlp = || Ok::<_, String>(flag(json, "use_swiglu_ffn")?.unwrap_or(false));
    let family = match str_or(json, "model_type", "")? {
        "clip_vision_model" | "clip" => VisionFamily::Clip,
        "siglip_vision_model" | "siglip" => VisionFamily::Siglip,
        "dinov2" => VisionFamily::Dinov2 { gated_mlp: gated_mlp()?, registers: 0 },
        "dinov2_with_registers" => {
            VisionFamily::Dinov2 { gated_mlp: gated_mlp()?, registers: usize_or(json, "num_register_tokens", 4)? }
        }
        "blip_2_vision_model" | "instructblip_vision_model" => VisionFamily::Blip2,
        "idefics3_vision" | "idefics3" => VisionFamily::Idefics3,
        "smolvlm_vision" | "smolvlm" => VisionFamily::SmolVlm,
        other => {
            let known = "clip, siglip, dinov2, dinov2_with_registers, blip_2, idefics3, smolvlm; as towers with another \
                         layout also qwen2_vl, qwen2_5_vl and mllama";
            return Err(format!("`model_type` \"{other}\" is no image tower this build knows ({known})"));
        }
    };
    if flag(json, "qkv_bias")? == Some(false) {
        return Err("`qkv_bias` false is not supported: no published tower has it".to_owned());
    }
    Ok(family)
}

/// DINOv2 states the MLP's width as a multiple of the tower's.
fn mlp_ratio_times(hidden_size: usize, json: &Value) -> Result<usize, String> {
    let ratio = f64_or(json, "mlp_ratio", 4.0)?;
    let width = (hidden_size as f64 * ratio).floor();
    if (1.0..1e9).contains(&width) { Ok(width as usize) } else { Err(format!("`mlp_ratio` is {ratio}")) }
}

impl VisionConfig {
    pub(super) fn to_hf(&self) -> Value {
        let mut json = json!({
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_channels": 3,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": self.hidden_act.name(),
        });
        if let Some(object) = json.as_object_mut() {
            self.family_keys(object);
        }
        json
    }

    fn family_keys(&self, json: &mut Map<String, Value>) {
        let mut set = |key: &str, value: Value| json.insert(key.to_owned(), value);
        let name = match self.family {
            VisionFamily::Clip => "clip_vision_model",
            VisionFamily::Siglip => "siglip_vision_model",
            VisionFamily::Dinov2 { registers: 0, .. } => "dinov2",
            VisionFamily::Dinov2 { .. } => "dinov2_with_registers",
            VisionFamily::Blip2 => "blip_2_vision_model",
            VisionFamily::Idefics3 => "idefics3_vision",
            VisionFamily::SmolVlm => "smolvlm_vision",
        };
        set("model_type", json!(name));
        match self.family {
            VisionFamily::Dinov2 { gated_mlp, registers } => {
                set("mlp_ratio", ratio(self.intermediate_size, self.hidden_size));
                set("use_swiglu_ffn", json!(gated_mlp));
                if registers > 0 {
                    set("num_register_tokens", json!(registers));
                } else {
                    set("use_mask_token", json!(false));
                }
            }
            _ => {
                set("intermediate_size", json!(self.intermediate_size));
            }
        }
        if matches!(self.family, VisionFamily::Clip | VisionFamily::Siglip) {
            set("vision_use_head", json!(false));
        }
    }
}

/// An integer where it is one: the configuration class insists.
pub(super) fn ratio(width: usize, hidden: usize) -> Value {
    if width.is_multiple_of(hidden) { json!(width / hidden) } else { json!(width as f64 / hidden as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_read_back_as_it_is_written() {
        let types = ["clip_vision_model", "siglip_vision_model", "dinov2", "dinov2_with_registers"];
        for model_type in types.into_iter().chain(["blip_2_vision_model", "idefics3_vision", "smolvlm_vision"]) {
            let config = parse_vision(&json!({ "model_type": model_type })).expect("class defaults");
            assert_eq!(config.to_hf()["model_type"], model_type);
            assert_eq!(parse_vision(&config.to_hf()).expect("parses"), config);
        }
    }

    #[test]
    fn dinov2_giants_mlp_is_as_wide_as_its_checkpoints() {
        let json =
            json!({ "model_type": "dinov2", "hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": true });
        let config = parse_vision(&json).expect("parses");
        assert_eq!((config.intermediate_size, config.mlp_width()), (6144, 4096));
    }

    #[test]
    fn a_tower_that_cannot_be_built_is_refused() {
        let refused = |json: Value| parse_vision(&json).expect_err("refused");
        assert!(refused(json!({ "model_type": "vit" })).contains("\"vit\" is no image tower"));
        assert!(refused(json!({ "model_type": "dinov2", "qkv_bias": false })).contains("qkv_bias"));
        assert!(refused(json!({ "model_type": "dinov2", "mlp_ratio": 0.0 })).contains("mlp_ratio"));
    }
}
