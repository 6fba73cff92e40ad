//! LLaVA and LLaVA-NeXT in `config.json`.

use serde_json::{Value, json};

use super::keys::{activation, count, flag, given, list, object, str_or, with_default, within};
use super::own;
use super::text::text_part;
use super::vision::parse_vision;
use super::whole::HubClass;
use crate::config::{
    Activation, ConnectorConfig, EncoderConfig, FeatureSelect, MlpConfig, VideoFeatures, VisionConfig, VitConfig,
    VlmConfig,
};

/// Canvases of `configuration_llava_next.py`.
const PINPOINTS: [[usize; 2]; 5] = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];

/// The tower of `configuration_llava.py` where there is no `vision_config`: CLIP-L for 336 pixels.
fn vision_default() -> Value {
    json!({ "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
            "num_attention_heads": 16, "image_size": 336, "patch_size": 14 })
}

/// `image_token_index` where a file says nothing.
const IMAGE_TOKEN: usize = 32_000;

/// The tower; one that does not say what it is, is CLIP's.
pub(super) fn vision_of(json: &Value) -> Result<VisionConfig, String> {
    let part = object(json, "vision_config")?.map(|part| with_default(part, "model_type", "clip_vision_model"));
    within("vision_config", parse_vision(&part.unwrap_or_else(vision_default)))
}

/// A file without a `model_type` has to have both parts to be taken for one.
pub(super) fn parse(json: &Value) -> Result<VlmConfig, String> {
    if given(json, "model_type").is_none() {
        for part in ["vision_config", "text_config"] {
            object(json, part)?
                .ok_or_else(|| format!("neither `model_type` nor `{part}`: not a vision-language model"))?;
        }
    }
    let vision = vision_of(json)?;
    let is_next = str_or(json, "model_type", "llava")? == "llava_next";
    let pinpoints = pinpoints(json)?;
    Ok(VlmConfig {
        image_token_id: image_token_id(json)?.unwrap_or(IMAGE_TOKEN),
        video_token_id: None,
        vision_bounds: None,
        connector: parse_connector(json)?,
        text: text_part(json, &Value::Null)?,
        image_grid_pinpoints: if is_next { pinpoints.or(Some(PINPOINTS.to_vec())) } else { pinpoints },
        encoder: EncoderConfig::Vit(VitConfig {
            feature_layer: feature_layer(json, &vision)?,
            feature_select: feature_select(json, &vision)?,
            vision,
            normed: false,
            video: VideoFeatures::Frames,
        }),
    })
}

/// The id that stands for a feature of a picture.
pub(super) fn image_token_id(json: &Value) -> Result<Option<usize>, String> {
    Ok(count(json, "image_token_index")?.or(count(json, "image_token_id")?))
}

/// LLaVA-NeXT's canvases, if there are any.
pub(super) fn pinpoints(json: &Value) -> Result<Option<Vec<[usize; 2]>>, String> {
    list(json, "image_grid_pinpoints", "pairs of pixels")
}

/// Which tokens the connector sees. LLaVA's class drops one token under "default", mmtrain all that are no patches.
fn feature_select(json: &Value, vision: &VisionConfig) -> Result<FeatureSelect, String> {
    match str_or(json, "vision_feature_select_strategy", "default")? {
        "default" if vision.registers() > 0 && str_or(json, "model_type", "llava")? != own::MODEL_TYPE => {
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
            bias: flag(json, "multimodal_projector_bias")?.unwrap_or(true),
        })),
    }
}

/// A hidden state that the tower has: 0 to its number of blocks, or counted from the end.
fn feature_layer(json: &Value, vision: &VisionConfig) -> Result<i32, String> {
    let Some(value) = given(json, "vision_feature_layer") else { return Ok(-2) };
    let layer = value.as_i64().ok_or_else(|| format!("`vision_feature_layer` {value} is not one integer"))?;
    let blocks = vision.num_hidden_layers as i64;
    if (-blocks - 1..=blocks).contains(&layer) {
        return Ok(layer as i32);
    }
    Err(format!("`vision_feature_layer` is {layer}, the tower has {blocks} blocks ({} to {blocks})", -blocks - 1))
}

/// The `config.json` of a class that both generations of `transformers` have.
pub(super) fn write(config: &VlmConfig, vit: &VitConfig, class: HubClass) -> Value {
    let mut json = json!({
        "architectures": [class.architecture()],
        "model_type": class.model_type(),
        "image_token_index": config.image_token_id,
        "image_token_id": config.image_token_id,
        "image_seq_length": config.tokens_per_image(),
        "vision_feature_layer": vit.feature_layer,
        "vision_feature_select_strategy": match vit.feature_select {
            FeatureSelect::Default => "default",
            FeatureSelect::Full => "full",
        },
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "torch_dtype": "float32",
        "dtype": "float32",
        "vision_config": vit.vision.to_hf(),
        "text_config": config.text.to_hf(),
    });
    if let ConnectorConfig::Mlp(mlp) = &config.connector {
        json["projector_hidden_act"] = mlp.act.name().into();
        json["multimodal_projector_bias"] = mlp.bias.into();
    }
    if let Some(pinpoints) = &config.image_grid_pinpoints {
        json["image_grid_pinpoints"] = json!(pinpoints);
        json["use_image_newline_parameter"] = true.into();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::hf::{read_vlm, whole};
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
        let config = parse(&llava(&json!({ "model_type": "llama", "vocab_size": 32064 }))).expect("parses");
        assert_eq!(config.text.intermediate_size, 11_008);
        let vit = config.encoder.vit().expect("an image tower");
        assert_eq!((vit.vision.hidden_act, vit.feature_layer), (Activation::QuickGelu, -2));
        assert_eq!((config.tokens_per_image(), config.encoder.num_layers()), (Some(576), 23));
    }

    #[test]
    fn what_is_written_is_read_back_equal() {
        let mut config = parse(&llava(&json!({ "model_type": "qwen2", "tie_word_embeddings": true }))).expect("parses");
        assert_eq!(config.to_checkpoint()["model_type"], "llava");
        config.connector =
            ConnectorConfig::Mlp(MlpConfig { depth: 3, pixel_shuffle: 2, act: Activation::Gelu, bias: true });
        assert_eq!(config.to_checkpoint()["model_type"], "mmtrain_vlm");
        config.text.rope_scaling = RopeScaling::Linear { factor: 2.0 };
        assert_eq!(whole::parse(&config.to_checkpoint()).expect("parses"), config);
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
    fn whole_models_of_absurd_sizes_are_refused() {
        let refused = |case: &str, words: &str, change: &dyn Fn(&mut Value)| {
            let fixture =
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(case);
            let text = fs_err::read_to_string(fixture.join("config.json")).expect("a fixture");
            let mut config = serde_json::from_str(&text).expect("json");
            change(&mut config);
            let dir = tempfile::tempdir().expect("a directory");
            fs_err::write(dir.path().join("config.json"), config.to_string()).expect("written");
            let error = read_vlm(dir.path()).expect_err(case).to_string();
            assert!(error.contains(words), "{error}");
        };
        refused("llava", "image_token_id", &|config| config["image_token_index"] = json!(50_000_000));
        refused("qwen2_vl", "temporal_patch_size", &|config| config["vision_config"]["temporal_patch_size"] = json!(3));
        refused("blip2", "num_hidden_layers", &|config| {
            config["qformer_config"]["num_hidden_layers"] = json!(1_000_000_000_000_u64);
        });
        refused("instructblip", "does not divide", &|config| {
            config["qformer_config"]["num_attention_heads"] = json!(3);
        });
        refused("mllama", "tie_word_embeddings", &|config| config["text_config"]["tie_word_embeddings"] = json!(true));
    }

    #[test]
    fn a_tower_that_is_written_under_other_names_is_not_called_llava() {
        let mut config = parse(&llava(&json!({ "model_type": "llama" }))).expect("parses");
        let EncoderConfig::Vit(vit) = &mut config.encoder else { panic!("an image tower") };
        vit.vision.family = VisionFamily::Dinov2 { gated_mlp: false, registers: 0 };
        assert_eq!(config.to_checkpoint()["model_type"], own::MODEL_TYPE);
        assert_eq!(whole::parse(&config.to_checkpoint()).expect("parses"), config);
    }

    #[test]
    fn registers_are_not_dropped_in_silence() {
        let mut config = llava(&json!({ "model_type": "llama" }));
        config["vision_config"] = json!({ "model_type": "dinov2_with_registers" });
        assert!(parse(&config).expect_err("transformers keeps registers").contains("register"));
        config["vision_feature_select_strategy"] = json!("full");
        assert!(parse(&config).is_ok());
    }

    #[test]
    fn another_kind_of_model_is_not_read_as_llava() {
        let mut config = llava(&json!({ "model_type": "llama" }));
        config["model_type"] = json!("bert");
        assert!(whole::parse(&config).expect_err("bert").contains("bert"));
    }

    #[test]
    fn a_feature_layer_that_the_tower_does_not_have_is_an_error() {
        let parsed = |layer: i64| {
            let mut config = llava(&json!({ "model_type": "llama" }));
            config["vision_feature_layer"] = json!(layer);
            parse(&config)
        };
        for layer in [-25, 0, 24] {
            let config = parsed(layer).expect("there is such a state");
            assert_eq!(config.encoder.vit().map(|vit| i64::from(vit.feature_layer)), Some(layer));
        }
        for layer in [-26, 25, i64::from(i32::MAX) + 1] {
            assert!(parsed(layer).expect_err("no such state").contains("24 blocks"), "{layer}");
        }
    }
}
