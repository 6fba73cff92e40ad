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
    assert_eq!(done.code, 1, "{}", done.stderr);
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
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stdout.contains("of another shape: language_model.model.layers.0.mlp.up_proj"), "{}", done.stdout);
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    let mut bytes = place.read("run/step-00000001/model.safetensors");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("nan/model.safetensors", &bytes);
    for file in ["config.json", "tokenizer.json", "preprocessor_config.json"] {
        place.write(&format!("nan/{file}"), &place.read(&format!("run/step-00000001/{file}")));
    }
    place.fails("generate --model nan --image run/samples/0.jpg", 3, &["NaN or infinity in 1 tensors", "hint:"]);
}
