//! Sparse files mean what `transformers` takes them for: its own full description of each of them, from versions 4 and 5
//! (`scripts/parity/make_config_defaults.py`), is read to the same sizes.

use std::fmt::Debug;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::text::text_of;
use super::{encoder, whole};

/// What each version says, and which it is.
fn described() -> Vec<(String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/config_defaults");
    let files = fs_err::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        let text = fs_err::read_to_string(&path).expect("a fixture");
        (path.display().to_string(), serde_json::from_str(&text).expect("JSON"))
    };
    files.map(read).collect()
}

/// Reads a sparse file of each name and the full one. `parts`: those that the sparse one has, empty.
fn compare<T: Debug + PartialEq>(
    kind: &str,
    parts: impl Fn(&Map<String, Value>) -> Vec<String>,
    parse: impl Fn(&Value) -> Result<T, String>,
) {
    for (version, described) in described() {
        for (name, full) in described[kind].as_object().expect("by name") {
            let mut sparse = json!({ "model_type": name });
            for part in parts(full.as_object().expect("a file")) {
                sparse[part] = json!({});
            }
            let [sparse, full] =
                [&sparse, full].map(|json| parse(json).unwrap_or_else(|error| panic!("{json}: {error}")));
            assert_eq!(sparse, full, "{name}, {version}");
        }
    }
}

#[test]
fn a_model_type_alone_is_the_model_that_its_class_makes_of_it() {
    assert_eq!(described().len(), 2);
    compare("whole", |_| Vec::new(), whole::parse);
    compare("decoders", |_| Vec::new(), text_of);
    compare("encoders", |_| Vec::new(), |json| encoder::parse(json, -1));
    // The encoder of a whole model is found without the rest.
    compare("whole", |_| Vec::new(), |json| encoder::parse(json, -1));
}

#[test]
fn empty_parts_are_those_that_their_classes_make_of_them() {
    let parts = |full: &Map<String, Value>| full.keys().filter(|key| key.ends_with("_config")).cloned().collect();
    compare("empty_parts", parts, whole::parse);
}

#[test]
fn a_bare_qwen2_vl_has_rotary_sections_and_widths_that_do_not_fit() {
    let config = whole::parse(&json!({ "model_type": "qwen2_vl" })).expect("class defaults");
    let text = &config.text;
    assert_eq!((text.hidden_size, text.num_hidden_layers, text.mrope_section), (8192, 80, Some([16, 24, 24])));
    assert!((text.rope_theta - 1e6).abs() < 1e-6 && config.is_multimodal_rope());
    // As in transformers, whose class makes a tower for one decoder and another decoder.
    let misfit = config.check().expect_err("3584 and 8192");
    assert!(misfit.contains("width 3584") && misfit.contains("8192 wide"), "{misfit}");
}

#[test]
fn llava_without_parts_is_its_published_shape() {
    let config = whole::parse(&json!({ "model_type": "llava" })).expect("class defaults");
    assert_eq!((config.tokens_per_image(), config.image_token_id), (Some(576), 32_000));
    config.check().expect("fits");
}

#[test]
fn blips_default_is_a_decoder_that_is_not_known() {
    let error = whole::parse(&json!({ "model_type": "blip-2", "image_token_index": 5 })).expect_err("OPT");
    assert!(error.contains("OPT") && error.contains("llama, mistral"), "{error}");
}

/// Every key of a wrong type, as a file may have it: where, which, and what it should be.
#[test]
fn a_key_of_a_wrong_type_is_named_with_both_types_wherever_it_stands() {
    for (kind, part, key, value, expected) in [
        ("llava", "text_config", "rms_norm_eps", json!("1e-5"), "a number"),
        ("llava", "text_config", "rope_parameters", json!("default"), "an object"),
        ("llava", "text_config", "rope_scaling", json!([1]), "an object"),
        ("llava", "text_config", "rope_theta", json!("1e4"), "a number"),
        ("llava", "text_config", "hidden_act", json!(3), "a string"),
        ("llava", "text_config", "tie_word_embeddings", json!("yes"), "true or false"),
        ("llava", "text_config", "max_position_embeddings", json!(2048.5), "a positive integer"),
        ("llava", "vision_config", "layer_norm_eps", json!([1e-5]), "a number"),
        ("llava", "vision_config", "num_channels", json!("3"), "a positive integer"),
        ("llava", "vision_config", "model_type", json!(7), "a string"),
        ("llava", "", "vision_config", json!("clip"), "an object"),
        ("llava", "", "text_config", json!([]), "an object"),
        ("llava", "", "image_token_index", json!("32000"), "an integer from 0 up"),
        ("llava", "", "vision_feature_select_strategy", json!(true), "a string"),
        ("llava", "", "multimodal_projector_bias", json!(1), "true or false"),
        ("llava", "", "tie_word_embeddings", json!("no"), "true or false"),
        ("llava_next", "", "image_grid_pinpoints", json!("all"), "pairs of pixels"),
        ("qwen2_vl", "", "vision_start_token_id", json!(-1), "an integer from 0 up"),
        ("qwen2_5_vl", "vision_config", "fullatt_block_indexes", json!(7), "numbers of blocks"),
        ("qwen2_5_vl", "vision_config", "tokens_per_second", json!("2"), "a number"),
        ("mllama", "text_config", "cross_attention_layers", json!("all"), "numbers of layers"),
        ("mllama", "vision_config", "norm_eps", json!("small"), "a number"),
        ("idefics3", "", "scale_factor", json!("2"), "a positive integer"),
        ("qwen2_audio", "audio_config", "activation_function", json!(1), "a string"),
        ("qwen2_audio", "", "audio_config", json!(1), "an object"),
    ] {
        let mut json = json!({ "model_type": kind });
        if part.is_empty() {
            json[key] = value;
        } else {
            json[part][key] = value;
        }
        let error = whole::parse(&json).expect_err(key);
        let place = if part.is_empty() { format!("`{key}` is ") } else { format!("`{part}`: `{key}` is ") };
        assert!(error.starts_with(&place) && error.ends_with(&format!("expected {expected}")), "{json}: {error}");
    }
    for (kind, key, value) in [
        ("dinov2", "use_swiglu_ffn", json!("true")),
        ("dinov2", "qkv_bias", json!(1)),
        ("dinov2", "mlp_ratio", json!("4")),
        ("dinov2_with_registers", "num_register_tokens", json!("4")),
        ("whisper", "d_model", json!("384")),
    ] {
        let error = encoder::parse(&json!({ "model_type": kind, key: value }), -1).expect_err(key);
        assert!(error.starts_with(&format!("`{key}` is ")) && error.contains("expected"), "{error}");
    }
    let grey = encoder::parse(&json!({ "model_type": "clip_vision_model", "num_channels": 1 }), -1).expect_err("grey");
    assert!(grey.contains("`num_channels` is 1"), "{grey}");
}
