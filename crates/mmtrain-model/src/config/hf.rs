//! Hugging Face `config.json`, read tolerantly and written for both generations of `transformers`.
//!
//! Real files are sparse: what is absent is the default of the `model_type`'s configuration class
//! (`configuration_{clip,siglip,llama,mistral,qwen2,qwen3}.py`). Rotary settings stand in `rope_parameters`
//! (version 5) or in `rope_theta` + `rope_scaling` (version 4); both are read and both are written.

mod audio;
mod keys;
mod qwen_vl;
mod text;
mod vision;

use std::path::Path;

use serde_json::{Value, json};

use super::{
    Activation, AudioConfig, ConnectorConfig, FeatureSelect, MlpConfig, QwenVlVisionConfig, TextConfig, VisionConfig,
    VlmConfig,
};
use crate::error::ModelError;
use audio::parse_audio;
use keys::{activation, str_or};
use qwen_vl::parse_qwen_vl_vision;
use text::text_of;
use vision::parse_vision;

/// Reads `config.json` of an image tower, or the tower's part of a larger model.
pub fn read_vision(dir: &Path) -> Result<VisionConfig, ModelError> {
    let json = load(dir)?;
    let config = parse_vision(json.get("vision_config").unwrap_or(&json));
    config.and_then(|config| config.check().map(|()| config)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a Qwen2-VL, or of its tower alone.
pub fn read_qwen_vl_vision(dir: &Path) -> Result<QwenVlVisionConfig, ModelError> {
    let json = load(dir)?;
    parse_qwen_vl_vision(json.get("vision_config").unwrap_or(&json)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a Whisper, a Qwen2-Audio, or an audio encoder alone.
pub fn read_audio(dir: &Path) -> Result<AudioConfig, ModelError> {
    let json = load(dir)?;
    parse_audio(json.get("audio_config").unwrap_or(&json)).map_err(|message| at(dir, message))
}

/// Reads `config.json` of a language model, or the decoder's part of a larger model.
pub fn read_text(dir: &Path) -> Result<TextConfig, ModelError> {
    let json = load(dir)?;
    text_of(&json).and_then(|config| config.check().map(|()| config)).map_err(|message| at(dir, message))
}

/// `model_type`s of whole models: LLaVA's, and what mmtrain writes where LLaVA's class lacks the connector.
const WHOLE: [&str; 2] = ["llava", OWN];
const OWN: &str = "mmtrain_vlm";

/// Reads `config.json` of a LLaVA-shaped model.
pub fn read_vlm(dir: &Path) -> Result<VlmConfig, ModelError> {
    let json = load(dir)?;
    let config = parse_vlm(&json).and_then(|config| {
        config.vision.check().map_err(|message| format!("`vision_config`: {message}"))?;
        config.text.check().map_err(|message| format!("`text_config`: {message}"))?;
        Ok(config)
    });
    config.map_err(|message| at(dir, message))
}

fn load(dir: &Path) -> Result<Value, ModelError> {
    let path = dir.join("config.json");
    let text = fs_err::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| at(&path, format!("not JSON: {error}")))
}

fn at(path: &Path, message: String) -> ModelError {
    ModelError::Config { path: path.display().to_string(), message }
}

fn parse_vlm(json: &Value) -> Result<VlmConfig, String> {
    match json.get("model_type").and_then(Value::as_str) {
        Some(kind) if !WHOLE.contains(&kind) => {
            return Err(format!(
                "`model_type` \"{kind}\" is no vision-language model this build knows ({})",
                WHOLE.join(", ")
            ));
        }
        _ => {}
    }
    let vision = json.get("vision_config").ok_or("no `vision_config`: not a vision-language model")?;
    json.get("text_config").ok_or("no `text_config`: not a vision-language model")?;
    let image_token_id = ["image_token_index", "image_token_id"]
        .iter()
        .find_map(|key| json.get(*key))
        .and_then(Value::as_u64)
        .ok_or("neither `image_token_index` nor `image_token_id`")?;
    let connector = parse_connector(json)?;
    let vision = parse_vision(vision)?;
    Ok(VlmConfig {
        feature_layer: feature_layer(json, &vision)?,
        feature_select: feature_select(json, &vision)?,
        vision,
        connector,
        text: text_of(json)?,
        image_token_id: image_token_id as usize,
    })
}

/// Which tokens the connector sees. LLaVA's class drops one token under "default", mmtrain all that are no patches.
fn feature_select(json: &Value, vision: &VisionConfig) -> Result<FeatureSelect, String> {
    match str_or(json, "vision_feature_select_strategy", "default") {
        "default" if vision.registers() > 0 && str_or(json, "model_type", "llava") != OWN => {
            Err("`vision_feature_select_strategy` \"default\" keeps the register tokens of this tower: say \"full\""
                .into())
        }
        "default" => Ok(FeatureSelect::Default),
        "full" => Ok(FeatureSelect::Full),
        other => Err(format!("`vision_feature_select_strategy` \"{other}\" is unknown (default, full)")),
    }
}

/// What mmtrain wrote, or LLaVA's projector.
fn parse_connector(json: &Value) -> Result<ConnectorConfig, String> {
    match json.get("mmtrain_connector") {
        Some(own) => serde_json::from_value(own.clone()).map_err(|error| format!("`mmtrain_connector`: {error}")),
        None => Ok(ConnectorConfig::Mlp(MlpConfig {
            depth: 2,
            pixel_shuffle: 1,
            act: activation(json, "projector_hidden_act", Activation::Gelu)?,
            bias: json.get("multimodal_projector_bias").and_then(Value::as_bool).unwrap_or(true),
        })),
    }
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

impl VlmConfig {
    /// The `config.json` of these sizes: a `LlavaForConditionalGeneration`'s where that class has the connector
    /// and the tower is written under its published names, else of mmtrain's own `model_type`, so that nobody
    /// loads it as something that it is not.
    pub fn to_hf(&self) -> Value {
        let mut json = json!({
            "image_token_index": self.image_token_id,
            "image_token_id": self.image_token_id,
            "image_seq_length": self.tokens_per_image(),
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
        });
        let own = match &self.connector {
            ConnectorConfig::Mlp(mlp) if mlp.is_llava() && self.vision.family.keeps_its_names() => json!({
                "architectures": ["LlavaForConditionalGeneration"],
                "model_type": "llava",
                "projector_hidden_act": mlp.act.name(),
                "multimodal_projector_bias": mlp.bias,
            }),
            other => json!({ "model_type": OWN, "mmtrain_connector": other }),
        };
        if let (Value::Object(json), Value::Object(own)) = (&mut json, own) {
            json.extend(own);
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RopeScaling, VisionFamily};

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
    fn what_is_written_is_read_back_equal() {
        let mut config =
            parse_vlm(&llava(&json!({ "model_type": "qwen2", "tie_word_embeddings": true }))).expect("parses");
        assert_eq!(config.to_hf()["model_type"], "llava");
        config.connector =
            ConnectorConfig::Mlp(MlpConfig { depth: 3, pixel_shuffle: 2, act: Activation::Gelu, bias: true });
        assert_eq!(config.to_hf()["model_type"], "mmtrain_vlm");
        config.text.rope_scaling = RopeScaling::Linear { factor: 2.0 };
        assert_eq!(parse_vlm(&config.to_hf()).expect("parses"), config);
    }

    #[test]
    fn absurd_sizes_are_refused_before_anything_is_built() {
        for (key, value) in [
            ("rms_norm_eps", json!(-1.0)),
            ("rms_norm_eps", json!(0.0)),
            ("hidden_size", json!(1_u64 << 62)),
            ("num_hidden_layers", json!(1_000_000_000)),
            ("rope_theta", json!(0)),
            ("head_dim", json!(7)),
            ("vocab_size", json!(u64::MAX)),
        ] {
            let mut text = json!({ "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4 });
            text[key] = value;
            let dir = tempfile::tempdir().expect("a directory");
            fs_err::write(dir.path().join("config.json"), llava(&text).to_string()).expect("written");
            let error = read_vlm(dir.path()).expect_err(key).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_tower_that_is_written_under_other_names_is_not_called_llava() {
        let mut config = parse_vlm(&llava(&json!({ "model_type": "llama" }))).expect("parses");
        config.vision.family = VisionFamily::Dinov2 { gated_mlp: false, registers: 0 };
        assert_eq!(config.to_hf()["model_type"], OWN);
    }

    #[test]
    fn registers_are_not_dropped_in_silence() {
        let mut config = llava(&json!({ "model_type": "llama" }));
        config["vision_config"] = json!({ "model_type": "dinov2_with_registers" });
        assert!(parse_vlm(&config).expect_err("transformers keeps registers").contains("register"));
        config["vision_feature_select_strategy"] = json!("full");
        assert!(parse_vlm(&config).is_ok());
    }

    #[test]
    fn another_kind_of_model_is_not_read_as_llava() {
        let mut config = llava(&json!({ "model_type": "llama" }));
        config["model_type"] = json!("bert");
        assert!(parse_vlm(&config).expect_err("bert").contains("bert"));
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
}
