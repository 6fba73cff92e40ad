//! `mmtrain inspect` looks at checkpoints without loading them.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::Place;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(name);
    path.display().to_string()
}

fn inspect(place: &Place, dir: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("inspect {dir} --json")).stdout).expect("JSON")
}

#[test]
fn the_parts_of_a_checkpoint_are_counted_and_covered() {
    let place = Place::new();
    for (name, parts, dtype) in [
        ("llava", 3, "F32"),
        ("llava_sharded", 3, "F32"),
        ("llama_bf16", 1, "BF16"),
        ("siglip_vision", 1, "F32"),
        ("dinov2", 1, "F32"),
    ] {
        let report = inspect(&place, &fixture(name));
        assert_eq!(report["parts"].as_array().expect("parts").len(), parts, "{report}");
        assert_eq!(report["weights"]["missing"], json!([]), "{report}");
        let part = &report["parts"][0];
        assert_eq!(part["dtypes"][dtype], part["parameters"], "{report}");
    }
}

#[test]
fn seven_billion_parameters_are_counted_without_allocating_them() {
    let place = Place::new();
    // llava-hf/llava-1.5-7b-hf: 7,063,427,072 parameters, less the block behind the layer that LLaVA looks at.
    let config = json!({
        "model_type": "llava", "image_token_index": 32000,
        "vision_config": { "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
            "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14 },
        "text_config": { "model_type": "llama", "vocab_size": 32064 },
    });
    place.write("seven/config.json", config.to_string().as_bytes());
    let report = inspect(&place, "seven");
    assert_eq!(report["parameters"], 7_063_427_072_u64 - 12_596_224);
    assert_eq!(report["weights"], Value::Null);
    let text = place.ok("inspect seven --config cc3m").stdout;
    assert!(text.contains("frozen") && text.contains("full, lr"), "{text}");
    assert!(text.contains("model.layers.* (32 x)"), "{text}");
}

#[test]
fn qwen2_vl_2b_is_counted_exactly() {
    let place = Place::new();
    let config = serde_json::json!({
        "model_type": "qwen2_vl", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "rope_scaling": { "type": "mrope", "mrope_section": [16, 24, 24] },
        "tie_word_embeddings": true,
        "vision_config": { "depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "hidden_size": 1536,
                           "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2 },
    });
    place.write("hf/config.json", config.to_string().as_bytes());
    let report = inspect(&place, "hf");
    // Half of the bytes that the index of the published bf16 checkpoint sums up to.
    assert_eq!(report["parameters"], 4_417_971_200_u64 / 2);
}

#[test]
fn what_is_missing_and_what_is_too_much_is_named() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    let bytes = place.read("run/step-00000001/model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let renamed = |name: &str| name.replace("language_model.model.norm.weight", "language_model.model.norn.weight");
    let changed = tensors.tensors().into_iter().map(|(name, view)| (renamed(&name), view)).collect::<Vec<_>>();
    place.write("broken/model.safetensors", &safetensors::serialize(changed, None).expect("written"));
    place.write("broken/config.json", &place.read("run/step-00000001/config.json"));
    let done = place.run("inspect broken --depth 2");
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stdout.contains("missing: language_model.model.norm.weight"), "{}", done.stdout);
    assert!(done.stdout.contains("unused: language_model.model.norn.weight"), "{}", done.stdout);
}

#[test]
fn a_transposed_tensor_is_of_another_shape() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    let bytes = place.read("run/step-00000001/model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let turned = tensors.tensors().into_iter().map(|(name, view)| {
        let mut shape = view.shape().to_vec();
        if name.ends_with("layers.0.mlp.up_proj.weight") {
            shape.reverse();
        }
        let view = safetensors::tensor::TensorView::new(view.dtype(), shape, view.data()).expect("as many bytes");
        (name, view)
    });
    let turned = safetensors::serialize(turned.collect::<Vec<_>>(), None).expect("written");
    place.write("turned/model.safetensors", &turned);
    place.write("turned/config.json", &place.read("run/step-00000001/config.json"));
    let done = place.run("inspect turned");
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stdout.contains("of another shape: language_model.model.layers.0.mlp.up_proj"), "{}", done.stdout);
}

/// A run on a tower and a language model of the parity fixtures, both frozen.
fn with_frozen_parts() -> Place {
    let place = Place::new();
    for (part, case) in [("tower", "siglip_vision"), ("words", "llama_bf16")] {
        for file in ["config.json", "model.safetensors"] {
            place.write(
                &format!("{part}/{file}"),
                &fs_err::read(format!("{}/{file}", fixture(case))).expect("a fixture"),
            );
        }
    }
    place.write("words/tokenizer.json", crate::families::tokenizer((70, 80)).to_string().as_bytes());
    let mut config = crate::support::TINY.parse::<toml::Table>().expect("TOML");
    for (part, weights) in [("encoder", "tower"), ("decoder", "words")] {
        config["model"][part] = toml::Table::from_iter([("weights".to_owned(), weights.into())]).into();
        config["train"][part]["tuning"] = "frozen".into();
    }
    config["model"].as_table_mut().expect("a table").remove("tokenizer");
    place.write("frozen.toml", config.to_string().as_bytes());
    place.ok("pretrain --config frozen.toml --run-dir run -q --set train.steps=1");
    place
}

#[test]
fn a_run_with_frozen_parts_is_shown_whole_and_says_where_they_are() {
    let place = with_frozen_parts();
    let report = inspect(&place, "run");
    assert_eq!(report["parts"].as_array().map(Vec::len), Some(3), "{report}");
    let state: Value = serde_json::from_slice(&place.read("run/step-00000001/state.json")).expect("JSON");
    for (index, name, dtype) in [(0, "tower", "F32"), (2, "words", "BF16")] {
        let part = &report["parts"][index];
        let from = place.path(name).canonicalize().expect("there").display().to_string();
        assert_eq!(part["reference"]["weights"], json!([from]), "{part}");
        assert_eq!(part["reference"]["hash"], state["frozen"][usize::from(index == 2)]["hash"], "{part}");
        assert_eq!(part["dtypes"][dtype], part["parameters"], "{part}");
    }
    assert_eq!((&report["parts"][1]["reference"], &report["weights"]["missing"]), (&Value::Null, &json!([])));
    assert_eq!(report["weights"]["unused"], json!([]), "{report}");
    let text = place.ok("inspect run --config frozen.toml").stdout;
    for words in ["by reference, from `", "/tower`", "/words`", "(blake3 ", "frozen", "full, lr", " trained"] {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
    // A run that began from this one leads on to the same places.
    place.ok("pretrain --config frozen.toml --init run --run-dir next -q --set train.steps=1");
    assert_eq!(inspect(&place, "next")["parts"][0]["reference"], report["parts"][0]["reference"]);
    place.ok("export --model next --out exported");
    fs_err::rename(place.path("words"), place.path("elsewhere")).expect("renamed");
    place.fails("inspect run", 3, &["the frozen decoder of", "/words`", "is not there any more", "hint:"]);
}

#[test]
fn a_frozen_part_of_the_seed_is_said_to_be_one() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1 --set train.encoder.tuning=frozen");
    let report = inspect(&place, "run");
    let reference = &report["parts"][0]["reference"];
    assert_eq!((&reference["from_seed"], &reference["weights"]), (&json!(true), &json!([])), "{report}");
    assert!(place.ok("inspect run").stdout.contains("by reference, from the run's seed (blake3 "));
}

#[test]
fn what_a_configuration_would_train_is_summed_up() {
    let place = Place::new();
    let config = fixture("llava");
    let report: Value =
        serde_json::from_str(&place.ok(&format!("inspect {config} --config cc3m --json")).stdout).expect("JSON");
    let trained = report["parts"].as_array().expect("parts").iter();
    let trained = trained.filter(|part| part["tuning"] != "frozen").map(|part| part["parameters"].as_u64());
    assert_eq!(report["trained"].as_u64(), trained.sum::<Option<u64>>());
    assert!(report["trained"].as_u64() < report["parameters"].as_u64());
}

#[test]
fn a_model_type_alone_is_inspected_as_its_class_has_it() {
    let place = Place::new();
    place.write("bare/config.json", br#"{ "model_type": "llava" }"#);
    // As llava-hf/llava-1.5-7b-hf above, with 64 rows less in the table and in the head.
    let parameters = 7_063_427_072_u64 - 12_596_224 - 2 * 64 * 4096;
    assert_eq!(inspect(&place, "bare")["parameters"], parameters);
    place.write("bare/config.json", br#"{ "model_type": "qwen2_vl" }"#);
    let text = place.ok("inspect bare").stdout;
    assert!(text.contains("no run can use it") && text.contains("width 3584") && text.contains("8192 wide"), "{text}");
    place.fails("generate --model bare --prompt x", 2, &["bare/config.json", "width 3584", "8192 wide", "hint:"]);
}
