//! Weights that cannot be used, or not all of them, and how they are held in memory.

use burn::tensor::{Device, bf16};
use mmtrain_model::Vlm;
use mmtrain_model::config::read_vlm;
use mmtrain_model::params::Part;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::{Map, Value, json};

use crate::support::Place;

const FILES: [&str; 5] =
    ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"];

/// A place with a trained model in `hf`, as a checkpoint from elsewhere would lie there.
fn with_model() -> Place {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --run-dir run --set train.steps=1");
    for file in FILES {
        place.write(&format!("hf/{file}"), &place.read(&format!("run/step-00000001/{file}")));
    }
    place
}

const GENERATE: &str = "generate --model hf --max-new-tokens 6 --image run/samples/0.jpg";

/// Rounds all weights of `hf` to bf16.
fn round(place: &Place) {
    let bytes = place.read("hf/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors();
    let halves = tensors.iter().map(|(name, view)| {
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| bf16::from_f32(f32::from_le_bytes(*bytes)));
        (name.as_str(), view.shape().to_vec(), values.flat_map(bf16::to_le_bytes).collect::<Vec<_>>())
    });
    let halves = halves.collect::<Vec<_>>();
    let views = halves
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("of this size")));
    place.write("hf/model.safetensors", &serialize(views, None).expect("written"));
}

#[test]
fn halves_are_held_as_asked_and_answer_alike() {
    let place = with_model();
    // Nothing to choose in a file of f32.
    assert!(!place.ok(GENERATE).stderr.contains("weights:"));
    round(&place);
    let auto = place.ok(GENERATE);
    assert!(auto.stderr.contains("weights: widened to f32"), "{}", auto.stderr);
    let stored = place.ok(&format!("{GENERATE} --weights stored"));
    assert!(stored.stderr.contains("weights: kept as stored") && stored.stderr.contains("as f32"), "{}", stored.stderr);
    let wide = place.ok(&format!("{GENERATE} --weights f32 -q"));
    assert!(!wide.stderr.contains("weights:"), "{}", wide.stderr);
    assert_eq!((&auto.stdout, &stored.stdout), (&wide.stdout, &wide.stdout));
    let eval =
        |weights: &str| place.ok(&format!("eval --model hf --data data --limit 4 --json --weights {weights}")).stdout;
    assert_eq!(eval("stored"), eval("f32"));
    place.fails(&format!("{GENERATE} --weights f64"), 2, &["f64", "stored"]);
}

/// A frozen encoder stays as stored, which changes neither a bit of the run nor how it is gone on with.
#[test]
fn a_run_on_a_frozen_encoder_of_halves_is_the_run_on_the_same_values_in_f32() {
    let place = with_model();
    round(&place);
    place.ok("pretrain --config tiny.toml -q --run-dir halves --init hf --set train.encoder.tuning=frozen");
    widen(&place);
    let run = "pretrain --config tiny.toml -q --init hf --set train.encoder.tuning=frozen";
    place.ok(&format!("{run} --run-dir wide"));
    assert!(place.final_state("halves", 12)[..2] == place.final_state("wide", 12)[..2]);
    round(&place);
    place.ok(&format!("{run} --run-dir resumed --set checkpoint.keep=0"));
    fs_err::remove_dir_all(place.path("resumed/step-00000012")).expect("removed");
    place.ok("pretrain --resume resumed -q");
    assert!(place.final_state("resumed", 12) == place.final_state("halves", 12));
}

/// Where blocks compute in bf16, so do a frozen decoder and one with adapters.
#[test]
fn in_bf16_all_that_is_frozen_may_be_as_stored() {
    let place = with_model();
    let frozen = "--set train.encoder.tuning=frozen --set train.precision=bf16 --set train.decoder.tuning=";
    round(&place);
    for (name, tuning) in
        [("frozen", "frozen"), ("lora", "{lora={lr=1e-2,rank=4}}"), ("dora", "{lora={lr=1e-2,rank=4,use_dora=true}}")]
    {
        let run = format!("pretrain --config tiny.toml -q --init hf {frozen}{tuning} --run-dir {name}");
        place.ok(&format!("{run}-halves"));
        widen(&place);
        place.ok(&format!("{run}-wide"));
        let [halves, wide] = ["halves", "wide"].map(|kind| place.final_state(&format!("{name}-{kind}"), 12));
        assert!(halves[..2] == wide[..2], "{name}");
        round(&place);
        place.ok(&format!("{run}-resumed --set checkpoint.keep=0"));
        fs_err::remove_dir_all(place.path(&format!("{name}-resumed/step-00000012"))).expect("removed");
        place.ok(&format!("pretrain --resume {name}-resumed -q"));
        assert!(place.final_state(&format!("{name}-resumed"), 12) == halves, "{name}, resumed");
    }
}

/// Writes the weights of `hf` as f32, whatever they are.
fn widen(place: &Place) {
    let bytes = place.read("hf/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors();
    let wide = tensors.iter().map(|(name, view)| {
        let values = view.data().as_chunks::<2>().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32());
        (name.as_str(), view.shape().to_vec(), values.flat_map(f32::to_le_bytes).collect::<Vec<_>>())
    });
    let wide = wide.collect::<Vec<_>>();
    let views = wide
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("of this size")));
    place.write("hf/model.safetensors", &serialize(views, None).expect("written"));
}

/// A file of holes: its header keeps what it promises, and nothing of it is on the disk.
fn sparse_weights(place: &Place) {
    let model = Vlm::zeros(&read_vlm(&place.path("hf")).expect("sizes"), &Device::flex());
    let (mut header, mut at) = (Map::new(), 0);
    for info in Part::ALL.iter().flat_map(|&part| model.infos(part)) {
        let end = at + 4 * info.elements() as u64;
        let entry = json!({ "dtype": "F32", "shape": info.file_shape(), "data_offsets": [at, end] });
        header.insert(info.name, entry);
        at = end;
    }
    let header = serde_json::to_vec(&header).expect("JSON");
    place.write("hf/model.safetensors", &[&(header.len() as u64).to_le_bytes(), header.as_slice()].concat());
    let file = fs_err::OpenOptions::new().write(true).open(place.path("hf/model.safetensors")).expect("opens");
    file.set_len(8 + header.len() as u64 + at).expect("holes");
}

#[test]
fn a_model_larger_than_the_memory_is_refused_before_it_is_allocated() {
    let place = with_model();
    let mut config: Value = serde_json::from_slice(&place.read("hf/config.json")).expect("JSON");
    config["text_config"]["vocab_size"] = json!(1 << 24);
    config["text_config"]["hidden_size"] = json!(1 << 14);
    place.write("hf/config.json", config.to_string().as_bytes());
    // 2^24 x 2^14 values of four bytes.
    sparse_weights(&place);
    place.fails(GENERATE, 2, &["the weights need 1025.0 GiB, and ", "GiB of memory are available", "hint:"]);
    let init = "pretrain --config tiny.toml -q --run-dir second --init hf --set train.steps=1";
    place.fails(init, 2, &["weights (", "gradients (", "optimizer (", "GiB of memory are available", "hint:"]);
    assert!(!place.path("second").exists());
    let sizes = "--set model.decoder.arch.hidden_size=1048576 --set model.decoder.arch.intermediate_size=1048576 \
                 --set model.decoder.arch.num_hidden_layers=1024 --set data.max_seq=64";
    let huge = format!("pretrain --config tiny.toml -q --run-dir third {sizes}");
    place.fails(&huge, 2, &["weights (", "GiB of memory are available", "hint:"]);
    assert!(!place.path("third").exists());
    let dry = place.ok(&format!("{huge} --dry-run"));
    assert!(dry.stderr.contains("here the run would be refused"), "{}", dry.stderr);
}

#[test]
fn tensors_that_nobody_uses_are_counted_on_load_and_listed_by_inspect() {
    let place = with_model();
    assert!(!place.ok(GENERATE).stderr.contains("used by no part"));
    let bytes = place.read("hf/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let extra = ["x.1", "x.2", "x.3", "x.4", "language_model.model.rotary_emb.inv_freq"];
    let value = [0_u8; 4];
    let view = || TensorView::new(Dtype::F32, vec![1], &value).expect("of this size");
    let all = tensors.tensors().into_iter().chain(extra.map(|name| (name.to_owned(), view())));
    place.write("hf/model.safetensors", &serialize(all, None).expect("written"));
    let words =
        "4 tensors of `hf` are used by no part of the model: `x.1`, `x.2`, `x.3`, … (`mmtrain inspect` lists all)";
    let warned = place.ok(GENERATE).stderr;
    assert!(warned.contains(words), "{warned}");
    let inspected = place.ok("inspect hf").stdout;
    assert!(extra.iter().all(|name| inspected.contains(&format!("unused: {name}"))), "{inspected}");
}

#[test]
fn pickles_are_refused_wherever_they_stand_with_a_way_to_convert_them() {
    let place = with_model();
    let words = ["only safetensors are read", "save_pretrained", "AutoModelForImageTextToText"];
    for pickle in ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "last.ckpt"] {
        fs_err::rename(place.path("hf/model.safetensors"), place.path("hf").join(pickle)).expect("renamed");
        place.fails(GENERATE, 3, &[&words[..], &[pickle]].concat());
        let init = "pretrain --config tiny.toml -q --run-dir second --init hf --set train.steps=1";
        place.fails(init, 3, &[&words[..], &[pickle]].concat());
        place.fails(&format!("{init} --dry-run"), 3, &[&words[..], &[pickle]].concat());
        for command in ["inspect hf", "inspect hf --json", "parity hf", "export --model hf --out out"] {
            place.fails(command, 3, &[&words[..], &[pickle]].concat());
        }
        fs_err::rename(place.path("hf").join(pickle), place.path("hf/model.safetensors")).expect("renamed");
    }
    assert!(!place.path("second").exists());
    let index = json!({ "weight_map": { "a": "pytorch_model-00001-of-00002.bin" } });
    place.write("hf/model.safetensors.index.json", index.to_string().as_bytes());
    place.fails(GENERATE, 4, &["pytorch_model-00001-of-00002.bin", "is no safetensors file"]);
}

#[test]
fn a_tokenizer_of_another_model_is_refused_with_both_numbers() {
    let place = with_model();
    let mut config: Value = serde_json::from_slice(&place.read("hf/config.json")).expect("JSON");
    let key = ["image_token_index", "image_token_id"].into_iter().find(|key| config.get(key).is_some()).expect("an id");
    let ours = config[key].as_u64().expect("a number");
    config[key] = json!(ours - 1);
    place.write("hf/config.json", config.to_string().as_bytes());
    place.fails(GENERATE, 3, &[&format!("at id {ours}"), &format!("expects {}", ours - 1), "hint:"]);
}

#[test]
fn quantised_weights_are_named() {
    let place = with_model();
    let bytes = place.read("hf/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors();
    let quantised = tensors.iter().map(|(name, view)| {
        let elements = view.data().len() / 4;
        let is_matrix = name.ends_with("q_proj.weight");
        let (dtype, data) =
            if is_matrix { (Dtype::F8_E4M3, &view.data()[..elements]) } else { (Dtype::F32, view.data()) };
        (name.as_str(), TensorView::new(dtype, view.shape().to_vec(), data).expect("of this size"))
    });
    place.write("hf/model.safetensors", &serialize(quantised, None).expect("written"));
    place.fails(GENERATE, 4, &["not supported", "q_proj.weight: F8_E4M3", "quantised", "hint:"]);
    let inspected = place.run("inspect hf");
    assert_eq!(inspected.code, 4, "{}", inspected.stderr);
    assert!(inspected.stdout.contains("of a number type that is not supported: "), "{}", inspected.stdout);
}

#[test]
fn a_language_model_in_pickles_is_converted_as_one() {
    let place = Place::new();
    place.write("hf/config.json", br#"{ "model_type": "llama" }"#);
    place.write("hf/pytorch_model.bin", b"pickle");
    for command in ["inspect hf", "parity hf"] {
        place.fails(command, 3, &["`pytorch_model.bin` only", "AutoModelForCausalLM", "save_pretrained"]);
    }
}

/// 4 where a checkpoint is not what its configuration says, whichever command looks at it.
#[test]
fn tensors_that_are_missing_or_of_another_shape_have_one_exit_code() {
    let place = with_model();
    let config = String::from_utf8(place.read("hf/config.json")).expect("UTF-8");
    let io = "--io hf/model.safetensors";
    for (from, to, words) in [
        ("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2", "layers.1"),
        ("\"intermediate_size\": 32", "\"intermediate_size\": 48", "another shape"),
    ] {
        place.write("hf/config.json", config.replace(from, to).as_bytes());
        for command in [GENERATE, &format!("parity hf {io}"), "export --model hf --out out"] {
            place.fails(command, 4, &[words, "hint:"]);
        }
        assert_eq!(place.run("inspect hf").code, 4);
    }
    place.write("hf/config.json", config.as_bytes());
    let bytes = place.read("hf/model.safetensors");
    place.write("hf/model.safetensors", &bytes[..bytes.len() - 100]);
    for command in [GENERATE, &format!("parity hf {io}"), "export --model hf --out out", "inspect hf"] {
        place.fails(command, 4, &["model.safetensors", "promises", "hint:"]);
    }
}

/// What a person may do to a `config.json`, and which words say so.
#[test]
fn a_configuration_that_cannot_be_read_is_named_with_its_key() {
    let place = with_model();
    let config: Value = serde_json::from_slice(&place.read("hf/config.json")).expect("JSON");
    let commands = [GENERATE, "inspect hf", "parity hf", "export --model hf --out out"];
    let refused = |text: &str, words: &[&str]| {
        place.write("hf/config.json", text.as_bytes());
        for command in commands {
            place.fails(command, 2, &[words, &["`hf/config.json`: ", "hint:"]].concat());
        }
    };
    refused("{ \"model_type\": ", &["not JSON", "fetch"]);
    refused("[]", &["not a JSON object"]);
    for (part, key, value, words) in [
        ("text_config", "rms_norm_eps", json!("1e-5"), "the string \"1e-5\", expected a number"),
        ("text_config", "rope_parameters", json!("default"), "the string \"default\", expected an object"),
        ("vision_config", "layer_norm_eps", json!(true), "true, expected a number"),
        ("vision_config", "num_channels", json!([3]), "the list [3], expected a positive integer"),
        ("vision_config", "hidden_act", json!("mish"), "\"mish\" is not supported (quick_gelu, "),
        ("text_config", "model_type", json!("phi3"), "\"phi3\" is no decoder this build knows (llama, mistral, "),
    ] {
        let mut changed = config.clone();
        changed[part][key] = value;
        // Inspection and parity refuse before they look at weights.
        refused(&changed.to_string(), &[&format!("`{part}`: "), key, words]);
    }
    let mut other = config.clone();
    other["model_type"] = json!("bert");
    refused(&other.to_string(), &["\"bert\" is not supported", "qwen2_5_vl", "mistral", "whisper"]);
    fs_err::remove_file(place.path("hf/config.json")).expect("removed");
    place.fails("parity hf", 2, &["hf/config.json", "there is none", "hint:"]);
    place.fails("parity nowhere", 3, &["nowhere", "hint:"]);
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused_with_both_numbers() {
    let place = with_model();
    let mut tokenizer: Value = serde_json::from_slice(&place.read("hf/tokenizer.json")).expect("JSON");
    let config: Value = serde_json::from_slice(&place.read("hf/config.json")).expect("JSON");
    let rows = config["text_config"]["vocab_size"].as_u64().expect("a number");
    let added = tokenizer["added_tokens"].as_array_mut().expect("a list");
    let mut token = added[0].clone();
    token["id"] = json!(rows);
    token["content"] = json!("<|of another model|>");
    added.push(token);
    place.write("hf/tokenizer.json", tokenizer.to_string().as_bytes());
    let tokens = format!("the tokenizer has {} tokens", rows + 1);
    place.fails(GENERATE, 2, &[&tokens, &format!("embedding {rows} rows"), "hint:"]);
}
