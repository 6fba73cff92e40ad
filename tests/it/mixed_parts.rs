//! Parts of different checkpoints: what fits together is used, what does not is refused before anything is trained.

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use mmtrain_model::weights::{TensorFile, write_safetensors};
use serde_json::{Value, json};

use crate::families::tokenizer;
use crate::support::Place;

fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(case)
}

/// Puts a case into a directory of the place, with a tokenizer whose placeholder has this id.
fn put(place: &Place, dir: &str, case: &str, image: Option<(usize, usize)>) {
    for file in ["config.json", "model.safetensors"] {
        place.write(&format!("{dir}/{file}"), &fs_err::read(fixture(case).join(file)).expect("a fixture"));
    }
    if let Some(image) = image {
        place.write(&format!("{dir}/tokenizer.json"), tokenizer(image).to_string().as_bytes());
    }
}

/// The tiny run without a table of what it describes itself.
fn tiny_without(place: &Place, table: &str) {
    let tiny = String::from_utf8(place.read("tiny.toml")).expect("UTF-8");
    let start = tiny.find(table).expect("described");
    let end = start + 1 + tiny[start + 1..].find("\n[").expect("another table");
    place.write("base.toml", format!("{}{}", &tiny[..start], &tiny[end..]).as_bytes());
}

/// The tiny run on a tower of the fixtures.
fn with_tower(case: &str, preprocessor: Option<&Value>, rest: &str) -> Place {
    let place = Place::new();
    put(&place, "tower", case, None);
    if let Some(preprocessor) = preprocessor {
        place.write("tower/preprocessor_config.json", preprocessor.to_string().as_bytes());
    }
    tiny_without(&place, "[model.encoder.arch]");
    place.write("other.toml", format!("extends = 'base.toml'\n{rest}[model.encoder]\nweights = 'tower'\n").as_bytes());
    place
}

fn config_of(place: &Place, dir: &str) -> Value {
    serde_json::from_slice(&place.read(&format!("{dir}/config.json"))).expect("JSON")
}

/// Writes tensors anew; `change` may alter the values of each, or leave it out.
fn rewrite(place: &Place, file: &str, mut change: impl FnMut(&str, &mut Vec<f32>) -> bool) {
    let stored = TensorFile::open(&place.path(file)).expect("opens");
    let (mut names, mut data) = (Vec::new(), Vec::new());
    for name in stored.names().map(str::to_owned).collect::<Vec<_>>() {
        let mut tensor = stored.read(&name).expect("reads");
        if change(&name, &mut tensor.values) {
            names.push((name, tensor.shape.clone()));
            data.push(TensorData::new(tensor.values, tensor.shape));
        }
    }
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &names, |index| data[index].clone()).expect("written");
    place.write(file, &bytes);
}

const TWO: &str = "-q --set schedule.kind=constant --set schedule.warmup_steps=1 --set checkpoint.every=2";

#[test]
fn pooled_frames_are_gone_on_with_and_not_exported() {
    let place = with_tower("clip_vision", None, "");
    let pooled = "--config other.toml --set model.encoder.video=pooled --set model.encoder.pooled_frames=3";
    place.ok(&format!("pretrain {pooled} --run-dir whole {TWO} --set train.steps=4"));
    place.ok(&format!("pretrain {pooled} --run-dir cut {TWO} --set train.steps=2"));
    place.ok("pretrain --resume cut -q --set train.steps=4");
    assert!(place.final_state("whole", 4)[..2] == place.final_state("cut", 4)[..2]);
    let config = config_of(&place, "whole/step-00000004");
    assert_eq!(config["mmtrain_encoder"]["video"], json!({ "pooled": { "frames": 3 } }));
    place.fails("export --model whole --out exported", 2, &["LlavaForConditionalGeneration", "pooled frames", "hint:"]);
}

#[test]
fn a_model_from_the_hub_makes_of_clips_what_the_configuration_says() {
    let place = Place::new();
    put(&place, "hf", "llava", Some((70, 80)));
    let start = format!("pretrain --config tiny.toml --init hf {TWO} --set train.steps=2");
    place.ok(&format!("{start} --run-dir pooled --set model.encoder.video=pooled --set model.encoder.pooled_frames=3"));
    let config = config_of(&place, "pooled/step-00000002");
    assert_eq!(config["mmtrain_encoder"]["video"], json!({ "pooled": { "frames": 3 } }));
    place.ok(&format!("{start} --run-dir frames"));
    assert_eq!(config_of(&place, "frames/step-00000002")["model_type"], "llava");
}

#[test]
fn a_block_that_the_tower_does_not_have_is_refused_before_the_run() {
    let place = with_tower("clip_vision", None, "");
    for layer in [-5, -100] {
        let words =
            [format!("`model.encoder.feature_layer` ({layer}) leaves no block of the tower's 3"), "hint:".into()];
        let words = words.each_ref().map(String::as_str);
        for dry in ["", "--dry-run"] {
            let run = format!(
                "pretrain --config other.toml --run-dir run -q --set model.encoder.feature_layer={layer} {dry}"
            );
            place.fails(&run, 2, &words);
        }
    }
    assert!(!place.path("run/step-00000012").exists());
    let plan = place.ok("pretrain --config other.toml --dry-run --set model.encoder.feature_layer=-3").stdout;
    assert!(plan.contains("tensors read, all values are finite"), "{plan}");
}

#[test]
fn a_feature_layer_of_a_tower_that_has_no_choice_is_refused() {
    let qwen = json!({ "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2,
                       "merge_size": 2, "min_pixels": 64, "max_pixels": 1024 });
    let place = with_tower("qwen2_vl", Some(&qwen), "");
    let words = ["`model.encoder.feature_layer` is -2", "Qwen2-VL's tower", "hint:"];
    place.fails("pretrain --config other.toml --dry-run --set model.encoder.feature_layer=-2", 2, &words);
}

#[test]
fn preprocessing_of_other_patches_than_the_towers_is_refused() {
    let with = |key: &str, value: u32| {
        let mut qwen = json!({ "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2,
                               "merge_size": 2, "min_pixels": 256, "max_pixels": 1024 });
        qwen[key] = value.into();
        qwen
    };
    for (key, value, words) in [
        ("merge_size", 4, ["4 x 4 to a token", "2 x 2 to a token"]),
        ("patch_size", 8, ["patches of 8 pixels", "patches of 4 pixels"]),
        ("temporal_patch_size", 1, ["of 1 frames", "of 2 frames"]),
    ] {
        let place = with_tower("qwen2_vl", Some(&with(key, value)), "");
        let words = [words[0], words[1], "the preprocessor_config.json belongs to another encoder"];
        place.fails("pretrain --config other.toml --dry-run", 2, &words);
        // The same of a whole model.
        put(&place, "hf", "qwen2_vl", Some((70, 80)));
        place.write("hf/preprocessor_config.json", with(key, value).to_string().as_bytes());
        place.fails("pretrain --config tiny.toml --init hf --run-dir run -q", 2, &words);
    }
}

#[test]
fn the_tokenizer_of_another_family_is_refused_before_the_run() {
    let place = Place::new();
    put(&place, "hf", "llava", Some((75, 80)));
    let words = ["image placeholder at id 75, the model expects 70", "hint:"];
    place.fails("pretrain --config tiny.toml --init hf --run-dir run -q", 3, &words);
    place.fails("pretrain --config tiny.toml --init hf --dry-run", 3, &words);
    assert!(place.entries("run").iter().all(|name| !name.starts_with("step-")));
}

/// The decoder inside a Qwen2-VL or Mllama, behind a tower of its own choice.
#[test]
fn the_language_model_of_a_multimodal_model_is_a_decoder() {
    for (case, image) in [("qwen2_vl", (70, 80)), ("qwen2_5_vl", (70, 80)), ("mllama", (80, 81))] {
        let place = Place::new();
        put(&place, "words", case, Some(image));
        tiny_without(&place, "[model.decoder.arch]");
        place.edit("base.toml", "[model.tokenizer]\ntrain_bpe = { vocab_size = 300 }\n", "");
        place.write("other.toml", b"extends = 'base.toml'\n[model.decoder]\nweights = 'words'\n");
        let begun = place.ok(&format!("pretrain --config other.toml --run-dir whole {TWO} --set train.steps=4"));
        // Layers that read pictures, and rows of the tower, are not asked for and not missed.
        assert!(!begun.stderr.contains("warning:"), "{case}: {}", begun.stderr);
        place.ok(&format!("pretrain --config other.toml --run-dir cut {TWO} --set train.steps=2"));
        place.ok("pretrain --resume cut -q --set train.steps=4");
        assert!(place.final_state("whole", 4)[..2] == place.final_state("cut", 4)[..2], "{case}");
        let text = &config_of(&place, "whole/step-00000004")["text_config"];
        assert_eq!(text["rope_parameters"].get("mrope_section"), None, "{case}: positions of a line");
        place.ok("export --model whole --out exported");
        let says = |model: &str| {
            place.ok(&format!("generate --model {model} --image whole/samples/0.jpg --max-new-tokens 4 --json")).stdout
        };
        assert_eq!(says("exported"), says("whole"), "{case}");
    }
}

#[test]
fn a_connector_without_biases_is_taken_from_idefics3() {
    let idefics = json!({ "image_processor_type": "Idefics3ImageProcessor", "size": { "longest_edge": 40 },
                          "max_image_size": { "longest_edge": 20 }, "do_image_splitting": true });
    let connector = "[model.connector]\nkind = 'mlp'\ndepth = 1\npixel_shuffle = 2\nweights = 'tower'\n\
                     [model.decoder.arch]\nhidden_size = 24\nnum_attention_heads = 3\n";
    let place = with_tower("idefics3", Some(&idefics), connector);
    place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    let config = config_of(&place, "run/step-00000001");
    assert_eq!(config["model_type"], "mmtrain_vlm");
    assert_eq!(config["mmtrain_connector"]["bias"], false);
    // Now the parts are those of the class.
    place.ok("export --model run --out exported");
    assert_eq!(config_of(&place, "exported")["model_type"], "idefics3");
    let words = ["lacks 1 of the model's tensors", "linear_1.bias"];
    place.fails("pretrain --config other.toml --dry-run --set model.connector.bias=true", 4, &words);
}

#[test]
fn what_keeps_parts_out_of_their_class_is_said_by_export() {
    let idefics = json!({ "image_processor_type": "Idefics3ImageProcessor", "size": { "longest_edge": 40 },
                          "max_image_size": { "longest_edge": 20 }, "do_image_splitting": true });
    let connector = "[model.connector]\nkind = 'mlp'\ndepth = 1\npixel_shuffle = 2\n";
    let place = with_tower("idefics3", Some(&idefics), connector);
    place.ok("pretrain --config other.toml --run-dir biased -q --set train.steps=1");
    let words = ["Idefics3ForConditionalGeneration", "no bias (`model.connector.bias = false`)", "hint:"];
    place.fails("export --model biased --out exported", 2, &words);
    place.ok("pretrain --config other.toml --run-dir plain -q --set train.steps=1 --set model.connector.bias=false");
    place.ok("export --model plain --out exported");

    let mllama = json!({ "image_processor_type": "MllamaImageProcessor", "size": { "height": 20, "width": 20 },
                         "max_image_tiles": 4 });
    let place = with_tower("mllama", Some(&mllama), "[model.connector]\nkind = 'cross_attention'\ninterval = 1\n");
    place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    let words = ["MllamaForConditionalGeneration", "begin from a Mllama with `--init`", "8 rows more", "hint:"];
    place.fails("export --model run --out exported", 2, &words);
}

#[test]
fn tensors_of_a_part_that_nobody_uses_are_named() {
    let place = with_tower("clip_vision", None, "");
    rewrite(&place, "tower/model.safetensors", |_, _| true);
    let quiet = place.ok("pretrain --config other.toml --run-dir first -q --set train.steps=1");
    assert!(!quiet.stderr.contains("are used by no part"), "{}", quiet.stderr);
    // A block behind the feature layer.
    let deep =
        "pretrain --config other.toml --run-dir second -q --set train.steps=1 --set model.encoder.feature_layer=-2";
    let done = place.ok(deep);
    assert!(done.stderr.contains("tensors of `tower` are used by no part of the model"), "{}", done.stderr);
    assert!(done.stderr.contains("layers.2."), "{}", done.stderr);
}

#[test]
fn the_text_half_of_a_connector_is_not_dropped_in_silence() {
    let q_former = "[model.connector]\nkind = 'q_former'\nnum_queries = 6\nhidden_size = 16\nintermediate_size = 24\n\
                    num_hidden_layers = 3\nnum_attention_heads = 2\nweights = 'tower'\n\
                    [model.decoder.arch]\nhidden_size = 24\nnum_attention_heads = 3\n";
    let place = with_tower("instructblip", None, q_former);
    let done = place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    assert!(done.stderr.contains("tensors of `tower` are used by no part of the model"), "{}", done.stderr);
    assert!(done.stderr.contains("qformer."), "{}", done.stderr);
    // The parts that are not asked for are no loss.
    assert!(!done.stderr.contains("language_model."), "{}", done.stderr);
}

/// A model of its own whose parts all have a fault.
fn broken(change: impl Fn(&str, &mut Vec<f32>) -> bool) -> Place {
    let place = Place::new();
    put(&place, "hf", "llava", Some((70, 80)));
    rewrite(&place, "hf/model.safetensors", change);
    place
}

const OF_EACH_PART: [&str; 3] =
    ["vision_model.encoder.layers.0.mlp.fc1.weight", "linear_2.weight", "model.layers.1.mlp.up_proj.weight"];

fn is_of_each_part(name: &str) -> bool {
    OF_EACH_PART.iter().any(|end| name.ends_with(end))
}

#[test]
fn tensors_that_parts_lack_are_listed_for_all_parts_at_once() {
    let place = broken(|name, _| !is_of_each_part(name));
    let words = [&["lacks 3 of the model's tensors"][..], &OF_EACH_PART].concat();
    place.fails("generate --model hf --prompt x", 4, &words);
    place.fails("pretrain --config tiny.toml --init hf --run-dir run -q", 4, &words);
    place.fails("pretrain --config tiny.toml --init hf --dry-run", 4, &words);
}

#[test]
fn tensors_that_parts_from_different_places_lack_are_listed_at_once() {
    let place = with_tower(
        "clip_vision",
        None,
        "[model.connector]\nkind = 'mlp'\nweights = 'hf'\n\
                                                 [model.decoder.arch]\nhidden_size = 24\nnum_attention_heads = 3\n",
    );
    put(&place, "hf", "llava", None);
    rewrite(&place, "hf/model.safetensors", |name, _| !name.ends_with(OF_EACH_PART[1]));
    rewrite(&place, "tower/model.safetensors", |name, _| !name.ends_with(OF_EACH_PART[0]));
    let words = ["`tower` lacks 1", OF_EACH_PART[0], "`hf` lacks 1", OF_EACH_PART[1], "hint:"];
    place.fails("pretrain --config other.toml --run-dir run -q", 4, &words);
    place.fails("pretrain --config other.toml --dry-run", 4, &words);
}

#[test]
fn what_is_not_finite_is_found_in_all_parts_before_the_run() {
    let place = broken(|name, values| {
        if is_of_each_part(name) {
            values[0] = f32::NAN;
        }
        true
    });
    let words = [&["NaN or infinity in 3 tensors", "hint:"][..], &OF_EACH_PART].concat();
    place.fails("pretrain --config tiny.toml --init hf --run-dir run -q", 4, &words);
    place.fails("pretrain --config tiny.toml --init hf --dry-run", 4, &words);
    place.fails("generate --model hf --prompt x", 4, &words);
}

#[test]
fn inspect_reads_values_where_it_is_asked_to() {
    let place = broken(|name, values| {
        if is_of_each_part(name) {
            values[0] = f32::INFINITY;
        }
        true
    });
    let headers = place.ok("inspect hf").stdout;
    assert!(!headers.contains("infinite"), "{headers}");
    let values = place.exits("inspect hf --values", 4).stdout;
    for name in OF_EACH_PART {
        assert!(values.lines().any(|line| line.contains("NaN or infinite: ") && line.ends_with(name)), "{values}");
    }
    let json: Value = serde_json::from_str(&place.exits("inspect hf --values --json", 4).stdout).expect("JSON");
    assert_eq!(json["weights"]["not_finite"].as_array().map(Vec::len), Some(3));
    rewrite(&place, "hf/model.safetensors", |_, values| {
        values.iter_mut().filter(|value| value.is_infinite()).for_each(|value| *value = 0.0);
        true
    });
    assert!(place.ok("inspect hf --values").stdout.contains("all values are finite"));
}

/// What a configuration says of the pictures of a model that a run begins with is done or refused, not passed over.
#[test]
fn what_is_said_of_the_encoder_of_a_model_that_is_gone_on_with_counts() {
    let place = Place::new();
    let start = "pretrain --config tiny.toml -q --set train.steps=1";
    place.ok(&format!("{start} --run-dir run"));
    place.ok(&format!("{start} --init run --run-dir padded --set model.encoder.image_fit=pad_square"));
    let processor = |run: &str| place.read(&format!("{run}/preprocessor_config.json"));
    assert_ne!(processor("run"), processor("padded"), "pictures are padded now");
    place.ok(&format!("{start} --init run --run-dir same --set model.encoder.feature_layer=-1"));
    place.write(
        "deep.toml",
        b"extends = 'tiny.toml'\n[model.encoder.arch]\nnum_hidden_layers = 3\n[model.encoder]\nfeature_layer = -2\n",
    );
    place.ok("pretrain --config deep.toml --run-dir deep -q --set train.steps=1");
    place.fails(
        "pretrain --config deep.toml --init deep --run-dir next -q --set model.encoder.feature_layer=-3",
        2,
        &["`model.encoder.feature_layer` is -3, the model of", "has -2", "hint:"],
    );
}
