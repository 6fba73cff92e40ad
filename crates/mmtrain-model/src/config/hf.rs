//! Hugging Face `config.json`, read tolerantly and written for both generations of `transformers`.
//!
//! Real files are sparse: what is absent is the default of the `model_type`'s configuration class
//! (`configuration_{clip,siglip,llama,qwen2}.py`). Rotary settings stand in `rope_parameters`
//! (version 5) or in `rope_theta` + `rope_scaling` (version 4); both are read and both are written.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    Activation, FeatureSelect, MlpConfig, RopeScaling, TextConfig, TextFamily, VisionConfig, VisionFamily, VlmConfig,
};
use crate::error::ModelError;

/// Reads `config.json` of an image tower, or the tower's part of a larger model.
pub fn read_vision(dir: &Path) -> Result<VisionConfig, ModelError> {
    let json = load(dir)?;
    parse_vision(json.get("vision_config").unwrap_or(&json)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a language model, or the decoder's part of a larger model.
pub fn read_text(dir: &Path) -> Result<TextConfig, ModelError> {
    let json = load(dir)?;
    text_of(&json).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a LLaVA-shaped model.
pub fn read_vlm(dir: &Path) -> Result<VlmConfig, ModelError> {
    let json = load(dir)?;
    parse_vlm(&json).map_err(|message| at(dir, message))
}

fn load(dir: &Path) -> Result<Value, ModelError> {
    let path = dir.join("config.json");
    let text = fs_err::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| at(&path, format!("not JSON: {error}")))
}

fn at(path: &Path, message: String) -> ModelError {
    ModelError::Config { path: path.display().to_string(), message }
}

fn text_of(json: &Value) -> Result<TextConfig, String> {
    let text = json.get("text_config").unwrap_or(json);
    let tied = json.get("tie_word_embeddings").and_then(Value::as_bool);
    parse_text(text, tied)
}

fn parse_vision(json: &Value) -> Result<VisionConfig, String> {
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

fn parse_text(json: &Value, tied_above: Option<bool>) -> Result<TextConfig, String> {
    let family = match str_or(json, "model_type", "") {
        "llama" => TextFamily::Llama,
        "qwen2" => TextFamily::Qwen2,
        other => {
            return Err(format!("`model_type` \"{other}\" is no decoder this build knows (llama, qwen2)"));
        }
    };
    let (vocab, intermediate, positions) = match family {
        TextFamily::Llama => (32_000, 11_008, 2048),
        TextFamily::Qwen2 => (151_936, 22_016, 32_768),
    };
    let heads = usize_or(json, "num_attention_heads", 32)?;
    let hidden = usize_or(json, "hidden_size", 4096)?;
    let attention_bias = json.get("attention_bias").and_then(Value::as_bool).unwrap_or(false);
    let config = TextConfig {
        family,
        vocab_size: usize_or(json, "vocab_size", vocab)?,
        hidden_size: hidden,
        intermediate_size: usize_or(json, "intermediate_size", intermediate)?,
        num_hidden_layers: usize_or(json, "num_hidden_layers", 32)?,
        num_attention_heads: heads,
        num_key_value_heads: usize_or(json, "num_key_value_heads", heads)?,
        head_dim: usize_or(json, "head_dim", hidden / heads.max(1))?,
        qkv_bias: family == TextFamily::Qwen2 || attention_bias,
        o_bias: family == TextFamily::Llama && attention_bias,
        rope_theta: rope_theta(json),
        rope_scaling: rope_scaling(json)?,
        rms_norm_eps: f64_or(json, "rms_norm_eps", 1e-6),
        tie_word_embeddings: json.get("tie_word_embeddings").and_then(Value::as_bool).or(tied_above).unwrap_or(false),
        max_position_embeddings: usize_or(json, "max_position_embeddings", positions)?,
    };
    divides("num_key_value_heads", config.num_key_value_heads, "num_attention_heads", heads)?;
    reject_unsupported(json)?;
    Ok(config)
}

/// Switches that would change the numbers and that this build does not have.
fn reject_unsupported(json: &Value) -> Result<(), String> {
    if json.get("use_sliding_window").and_then(Value::as_bool) == Some(true) {
        return Err("`use_sliding_window` = true is not supported".into());
    }
    if json.get("mlp_bias").and_then(Value::as_bool) == Some(true) {
        return Err("`mlp_bias` = true is not supported".into());
    }
    match str_or(json, "hidden_act", "silu") {
        "silu" | "swish" => Ok(()),
        other => Err(format!("`hidden_act` \"{other}\" in the decoder is not supported (silu)")),
    }
}

fn parse_vlm(json: &Value) -> Result<VlmConfig, String> {
    let vision = json.get("vision_config").ok_or("no `vision_config`: not a vision-language model")?;
    json.get("text_config").ok_or("no `text_config`: not a vision-language model")?;
    let image_token_id = ["image_token_index", "image_token_id"]
        .iter()
        .find_map(|key| json.get(*key))
        .and_then(Value::as_u64)
        .ok_or("neither `image_token_index` nor `image_token_id`")?;
    let connector = match json.get("mmtrain_connector") {
        Some(own) => serde_json::from_value(own.clone()).map_err(|error| format!("`mmtrain_connector`: {error}"))?,
        None => MlpConfig {
            depth: 2,
            pixel_shuffle: 1,
            act: activation(json, "projector_hidden_act", Activation::Gelu)?,
            bias: json.get("multimodal_projector_bias").and_then(Value::as_bool).unwrap_or(true),
        },
    };
    let vision = parse_vision(vision)?;
    Ok(VlmConfig {
        feature_layer: feature_layer(json, &vision)?,
        vision,
        connector,
        text: text_of(json)?,
        image_token_id: image_token_id as usize,
        feature_select: match str_or(json, "vision_feature_select_strategy", "default") {
            "default" => FeatureSelect::Default,
            "full" => FeatureSelect::Full,
            other => {
                return Err(format!("`vision_feature_select_strategy` \"{other}\" is unknown (default, full)"));
            }
        },
    })
}

/// A hidden state that the tower has: 0 to its number of blocks, or counted from the end.
fn feature_layer(json: &Value, vision: &VisionConfig) -> Result<i32, String> {
    let value = match json.get("vision_feature_layer") {
        None | Some(Value::Null) => return Ok(-2),
        Some(value) => value,
    };
    let layer = value.as_i64().ok_or_else(|| format!("`vision_feature_layer` {value} is not one integer"))?;
    let blocks = vision.num_hidden_layers as i64;
    if (-blocks - 1..=blocks).contains(&layer) {
        return Ok(layer as i32);
    }
    Err(format!("`vision_feature_layer` is {layer}, the tower has {blocks} blocks ({} to {blocks})", -blocks - 1))
}

fn rope_theta(json: &Value) -> f64 {
    let nested = json.get("rope_parameters").and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64);
    nested.unwrap_or_else(|| f64_or(json, "rope_theta", 10_000.0))
}

fn rope_scaling(json: &Value) -> Result<RopeScaling, String> {
    let table = ["rope_parameters", "rope_scaling"].iter().find_map(|key| json.get(*key).filter(|v| v.is_object()));
    let Some(table) = table else {
        return Ok(RopeScaling::None);
    };
    let kind = table.get("rope_type").or_else(|| table.get("type")).and_then(Value::as_str).unwrap_or("default");
    let number = |key: &str| {
        table.get(key).and_then(Value::as_f64).ok_or_else(|| format!("rope scaling \"{kind}\" lacks `{key}`"))
    };
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position: number("original_max_position_embeddings")? as usize,
        },
        other => {
            return Err(format!("rope scaling \"{other}\" is not supported (default, linear, llama3)"));
        }
    })
}

impl VlmConfig {
    /// The `config.json` of a `LlavaForConditionalGeneration` with these sizes.
    ///
    /// What LLaVA's class cannot say (another depth, pixel shuffle) stands under `mmtrain_connector`.
    pub fn to_hf(&self) -> Value {
        json!({
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "image_token_index": self.image_token_id,
            "image_token_id": self.image_token_id,
            "image_seq_length": self.tokens_per_image(),
            "projector_hidden_act": self.connector.act.name(),
            "multimodal_projector_bias": self.connector.bias,
            "vision_feature_layer": self.feature_layer,
            "vision_feature_select_strategy": match self.feature_select {
                FeatureSelect::Default => "default",
                FeatureSelect::Full => "full",
            },
            "tie_word_embeddings": self.text.tie_word_embeddings,
            "torch_dtype": "float32",
            "dtype": "float32",
            "vision_config": self.vision.to_hf(),
            "text_config": self.text.to_hf(),
            "mmtrain_connector": self.connector,
        })
    }
}

impl VisionConfig {
    fn to_hf(&self) -> Value {
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

impl TextConfig {
    fn to_hf(&self) -> Value {
        let mut rope = match serde_json::to_value(self.rope_scaling) {
            Ok(Value::Object(table)) => table,
            _ => Map::new(),
        };
        if self.rope_scaling == RopeScaling::None {
            rope.insert("rope_type".into(), "default".into());
        }
        if let Some(original) = rope.remove("original_max_position") {
            rope.insert("original_max_position_embeddings".into(), original);
        }
        let scaling = if self.rope_scaling == RopeScaling::None { Value::Null } else { Value::Object(rope.clone()) };
        rope.insert("rope_theta".into(), self.rope_theta.into());
        json!({
            "model_type": match self.family { TextFamily::Llama => "llama", TextFamily::Qwen2 => "qwen2" },
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "attention_bias": self.family == TextFamily::Llama && self.qkv_bias,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "rope_parameters": rope,
            "tie_word_embeddings": self.tie_word_embeddings,
            "max_position_embeddings": self.max_position_embeddings,
        })
    }
}

fn str_or<'a>(json: &'a Value, key: &str, default: &'a str) -> &'a str {
    json.get(key).and_then(Value::as_str).unwrap_or(default)
}

fn f64_or(json: &Value, key: &str, default: f64) -> f64 {
    json.get(key).and_then(Value::as_f64).unwrap_or(default)
}

fn usize_or(json: &Value, key: &str, default: usize) -> Result<usize, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => match value.as_u64() {
            Some(number) if number > 0 => Ok(number as usize),
            _ => Err(format!("`{key}` is {value}, expected a positive integer")),
        },
    }
}

fn activation(json: &Value, key: &str, default: Activation) -> Result<Activation, String> {
    match json.get(key).and_then(Value::as_str) {
        None => Ok(default),
        Some(name) => Activation::from_name(name).ok_or_else(|| format!("`{key}` \"{name}\" is not supported")),
    }
}

fn divides(small: &str, a: usize, large: &str, b: usize) -> Result<(), String> {
    if b.is_multiple_of(a) { Ok(()) } else { Err(format!("`{large}` ({b}) is not a multiple of `{small}` ({a})")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llava(text: &Value) -> Value {
        json!({
            "image_token_index": 32000,
            "vision_config": { "model_type": "clip_vision_model", "hidden_size": 1024, "num_hidden_layers": 24,
                               "num_attention_heads": 16, "intermediate_size": 4096, "image_size": 336, "patch_size": 14 },
            "text_config": text,
        })
    }

    #[test]
    fn a_sparse_config_gets_the_defaults_of_its_model_type() {
        let config = parse_vlm(&llava(&json!({ "model_type": "llama", "vocab_size": 32064 }))).expect("parses");
        assert_eq!(config.text.intermediate_size, 11_008);
        assert_eq!(config.vision.hidden_act, Activation::QuickGelu);
        assert_eq!(config.feature_layer, -2);
        assert_eq!(config.tokens_per_image(), 576);
        assert_eq!(config.vision_layers(), 23);
    }

    #[test]
    fn both_spellings_of_the_rotary_settings_are_read() {
        let v4 = json!({ "model_type": "llama", "rope_theta": 5e5,
            "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 8192 } });
        let v5 = json!({ "model_type": "llama",
            "rope_parameters": { "rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 } });
        assert_eq!(parse_text(&v4, None), parse_text(&v5, None));
        assert!((parse_text(&v4, None).expect("parses").rope_theta - 5e5).abs() < 1e-9);
    }

    #[test]
    fn what_is_written_is_read_back_equal() {
        let mut config =
            parse_vlm(&llava(&json!({ "model_type": "qwen2", "tie_word_embeddings": true }))).expect("parses");
        config.connector.pixel_shuffle = 2;
        config.text.rope_scaling = RopeScaling::Linear { factor: 2.0 };
        assert_eq!(parse_vlm(&config.to_hf()).expect("parses"), config);
    }

    #[test]
    fn a_feature_layer_that_the_tower_does_not_have_is_an_error() {
        let parsed = |layer: i64| {
            let mut config = llava(&json!({ "model_type": "llama" }));
            config["vision_feature_layer"] = json!(layer);
            parse_vlm(&config)
        };
        for layer in [-25, 0, 24] {
            assert_eq!(parsed(layer).map(|config| i64::from(config.feature_layer)), Ok(layer));
        }
        for layer in [-26, 25, i64::from(i32::MAX) + 1] {
            assert!(parsed(layer).expect_err("no such state").contains("24 blocks"), "{layer}");
        }
    }

    #[test]
    fn unsupported_switches_are_named() {
        let error = parse_text(&json!({ "model_type": "mistral" }), None).expect_err("mistral");
        assert!(error.contains("mistral"), "{error}");
        let yarn = json!({ "model_type": "llama", "rope_scaling": { "type": "yarn", "factor": 4.0 } });
        assert!(parse_text(&yarn, None).expect_err("yarn").contains("yarn"));
    }
}
