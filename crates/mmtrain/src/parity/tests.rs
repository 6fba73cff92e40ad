//! Every committed case, and the same cases with a mistake in them.

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use mmtrain_model::weights::{TensorFile, write_safetensors};
use serde_json::{Value, json};

use super::*;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity")
}

fn case(name: &str) -> ParityReport {
    run(&cases().join(name), None, None).expect("a report")
}

/// A case copied aside, with `change` made to its `config.json`.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&cases().join(name), dir.path());
    let path = dir.path().join("config.json");
    let text = fs_err::read_to_string(&path).expect("config");
    let mut config: Value = serde_json::from_str(&text).expect("json");
    change(&mut config);
    fs_err::write(&path, config.to_string()).expect("written");
    dir
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("created");
    for entry in fs_err::read_dir(from).expect("listed") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::copy(&path, &target).expect("copied");
        }
    }
}

fn names(report: &ParityReport) -> Vec<&str> {
    report.comparisons.iter().map(|comparison| comparison.name.as_str()).collect()
}

fn run(dir: &Path, io: Option<&Path>, atol: Option<f32>) -> anyhow::Result<ParityReport> {
    super::run(&Asked { io, atol, ..Asked::of(dir) })
}

/// Adapters that PEFT has written, beside the `llava` case.
fn adapters(name: &str) -> PathBuf {
    cases().join("../parity_lora").join(name)
}

fn with_adapters(dir: &Path) -> anyhow::Result<ParityReport> {
    super::run(&Asked { adapter: Some(dir), ..Asked::of(&cases().join("llava")) })
}

#[test]
fn adapters_of_peft_mean_the_same_here() {
    for (name, tensors) in [("lora", 36), ("rslora", 28), ("dora", 48)] {
        let report = with_adapters(&adapters(name)).expect("a report");
        assert!(report.passed(), "{name}: {report}");
        assert_eq!(names(&report), ["logits", "loss"]);
        assert_eq!(report.gradients.as_ref().map(|gradients| gradients.tensors), Some(tensors), "{report}");
    }
}

#[test]
fn another_scale_or_kind_of_adapters_is_noticed() {
    for (name, from, to) in [
        ("lora", "\"lora_alpha\": 8", "\"lora_alpha\": 9"),
        ("lora", "q_proj\": 3", "q_proj\": 4"),
        ("rslora", "\"use_rslora\": true", "\"use_rslora\": false"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        copy(&adapters(name), dir.path());
        let path = dir.path().join("adapter_config.json");
        let text = fs_err::read_to_string(&path).expect("config");
        assert!(text.contains(from), "{name}");
        fs_err::write(&path, text.replace(from, to)).expect("written");
        assert!(with_adapters(dir.path()).map_or(true, |report| !report.passed()), "{name}: {to}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    copy(&adapters("lora"), dir.path());
    fs_err::write(dir.path().join("adapter_config.json"), "{}").expect("written");
    let error = with_adapters(dir.path()).expect_err("no configuration").to_string();
    assert!(error.contains("lora_alpha"), "{error}");
}

#[test]
fn every_committed_case_passes() {
    let mut seen = 0;
    let mut dirs = fs_err::read_dir(cases()).expect("listed").map(|e| e.expect("an entry").path()).collect::<Vec<_>>();
    dirs.sort();
    for dir in dirs.into_iter().filter(|dir| dir.join("config.json").is_file()) {
        let report = run(&dir, None, None).unwrap_or_else(|error| panic!("{}: {error:#}", dir.display()));
        assert!(report.passed(), "{report}");
        assert_eq!(report.gradients.is_some(), dir.join("grads").is_dir(), "{report}");
        seen += 1;
    }
    assert!(seen >= 36, "{seen} cases");
}

#[test]
fn every_recorded_output_is_compared_but_siglips_pooling_head() {
    let report = case("siglip_vision_head");
    assert_eq!((names(&report), report.ignored.as_slice()), (vec!["hs_m2", "last"], &["pool".to_owned()][..]));
    assert!(report.passed() && report.to_string().contains("LLaVA ignores it"), "{report}");
    assert_eq!(names(&case("clip_vision")), ["hs_m2", "last", "pool"]);
    let report = case("llava");
    assert_eq!(names(&report), ["generated_ids", "image_features", "logits", "loss"]);
    assert!(report.not_computed.is_empty());
    assert!(report.gradients.expect("gradients").tensors > 40);
}

#[test]
fn another_rope_theta_is_seen_in_outputs_and_gradients() {
    let dir = changed("llama", |config| {
        config["rope_theta"] = json!(1e5);
        config["rope_parameters"]["rope_theta"] = json!(1e5);
    });
    let report = run(dir.path(), None, None).expect("a report");
    let logits = report.comparisons.iter().find(|comparison| comparison.name == "logits").expect("logits");
    assert!(!logits.passed && !report.passed(), "{report}");
    assert!(!report.gradients.expect("gradients").passed());
}

/// Prompt and continuation of the case are longer than its window, so that the cache holds keys outside of it.
#[test]
fn another_window_is_seen_in_outputs_and_continuation() {
    assert_eq!(names(&case("mistral")), ["generated_ids", "logits", "loss"]);
    for other in [json!(5), json!(7), json!(null)] {
        let dir = changed("mistral", |config| config["sliding_window"] = other.clone());
        let report = run(dir.path(), None, None).expect("a report");
        assert!(report.comparisons.iter().all(|comparison| !comparison.passed), "{other}: {report}");
        assert!(!report.gradients.expect("gradients").passed(), "{other}");
    }
    let all_blocks = json!(["sliding_attention", "sliding_attention", "sliding_attention"]);
    let dir = changed("qwen2_sliding", |config| config["layer_types"] = all_blocks);
    let report = run(dir.path(), None, None).expect("a report");
    assert!(report.comparisons.iter().all(|comparison| !comparison.passed), "{report}");
}

#[test]
fn another_stretch_of_the_rotary_frequencies_is_seen() {
    for (case, key, other) in [
        ("llama_linear_rope", "factor", json!(2.0)),
        ("llama_dynamic_rope", "factor", json!(3.0)),
        ("llama3_rope", "high_freq_factor", json!(2.0)),
        ("llama_yarn", "attention_factor", json!(1.0)),
    ] {
        let dir = changed(case, |config| config["rope_parameters"][key] = other);
        let report = run(dir.path(), None, None).expect("a report");
        assert!(!report.passed(), "{case}: {report}");
    }
}

/// Writes a file anew with other values or names (integers as floats, which read the same).
fn rewrite(path: &Path, mut change: impl FnMut(&str, &mut Vec<f32>) -> String) {
    let file = TensorFile::open(path).expect("opens");
    let (mut tensors, mut data) = (Vec::new(), Vec::new());
    for name in file.names().map(str::to_owned).collect::<Vec<_>>() {
        let mut stored = file.read(&name).expect("reads");
        let name = change(&name, &mut stored.values);
        tensors.push((name, stored.shape.clone()));
        data.push(TensorData::new(stored.values, stored.shape));
    }
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &tensors, |index| data[index].clone()).expect("writes to memory");
    fs_err::write(path, bytes).expect("written");
}

/// Adds to what is recorded of the loss.
fn with_loss(dir: &Path, change: f32) -> ParityReport {
    rewrite(&dir.join("io.safetensors"), |name, values| {
        if name == "out.loss" {
            values[0] += change;
        }
        name.to_owned()
    });
    run(dir, None, None).expect("a report")
}

#[test]
fn a_loss_may_differ_by_half_of_what_other_outputs_may() {
    let loss = |change: f32| {
        let report = with_loss(changed("llama", |_| {}).path(), change);
        report.comparisons.into_iter().find(|comparison| comparison.name == "loss").expect("a loss")
    };
    assert!(loss(8e-6).passed);
    assert!(!loss(1.5e-5).passed, "the tolerance of the others is 2e-5");
}

#[test]
fn a_loss_without_axes_is_one_number() {
    let dir = changed("llama", |_| {});
    let path = dir.path().join("io.safetensors");
    let bytes = fs_err::read(&path).expect("read");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let shape = if name == "out.loss" { Vec::new() } else { view.shape().to_vec() };
        (name, safetensors::tensor::TensorView::new(view.dtype(), shape, view.data()).expect("as many values"))
    });
    fs_err::write(&path, safetensors::serialize(tensors.collect::<Vec<_>>(), None).expect("bytes")).expect("written");
    let report = run(dir.path(), None, None).expect("a report");
    assert!(report.passed(), "{report}");
}

#[test]
fn gradients_of_what_is_not_built_are_named_also_where_they_are_zero() {
    let with_extra = |value: f32| {
        let dir = changed("llama", |_| {});
        let path = dir.path().join("grads/model.safetensors");
        let file = TensorFile::open(&path).expect("opens");
        let mut tensors = file.names().map(str::to_owned).collect::<Vec<_>>().into_iter().map(|name| {
            let stored = file.read(&name).expect("reads");
            ((name, stored.shape.clone()), TensorData::new(stored.values, stored.shape))
        });
        let (mut names, mut data) = tensors.by_ref().unzip::<_, _, Vec<_>, Vec<_>>();
        names.push(("model.layers.99.extra.weight".to_owned(), vec![1]));
        data.push(TensorData::new(vec![value], [1]));
        let mut bytes = Vec::new();
        write_safetensors(&mut bytes, &names, |index| data[index].clone()).expect("writes to memory");
        fs_err::write(&path, bytes).expect("written");
        run(dir.path(), None, None).expect("a report")
    };
    let zero = with_extra(0.0);
    assert!(zero.passed() && zero.to_string().contains("model.layers.99.extra.weight"), "{zero}");
    let other = with_extra(0.5);
    assert!(!other.passed() && other.to_string().contains("model.layers.99.extra.weight"), "{other}");
}

#[test]
fn an_output_that_is_not_computed_fails() {
    let dir = changed("llama", |_| {});
    rewrite(&dir.path().join("io.safetensors"), |name, _| name.replace("out.loss", "out.perplexity"));
    let report = run(dir.path(), None, None).expect("a report");
    assert!(report.comparisons.iter().all(|comparison| comparison.passed), "{report}");
    assert_eq!(report.not_computed, ["perplexity"]);
    assert!(!report.passed() && report.to_string().ends_with("failed"), "{report}");
}

#[test]
fn another_epsilon_is_seen_where_activations_are_small() {
    let cases = [("llama_low_variance", "rms_norm_eps", 1e-6), ("siglip_vision_low_variance", "layer_norm_eps", 1e-5)];
    for (name, key, other) in cases {
        let dir = changed(name, |config| config[key] = json!(other));
        let report = run(dir.path(), None, None).expect("a report");
        assert!(!report.passed(), "{report}");
    }
}

#[test]
fn mistakes_in_a_tower_are_seen() {
    let fails = |name: &str, change: fn(&mut Value)| {
        let report = run(changed(name, change).path(), None, None).expect("a report");
        assert!(report.comparisons.iter().any(|comparison| !comparison.passed), "{report}");
        report
    };
    let report = fails("dinov2", |config| config["hidden_act"] = json!("gelu_pytorch_tanh"));
    assert!(!report.gradients.expect("gradients").passed());
    fails("dinov2_swiglu", |config| config["layer_norm_eps"] = json!(1e-5));
    fails("dinov2_registers", |config| config["model_type"] = json!("dinov2"));
    fails("blip2_vision", |config| config["num_attention_heads"] = json!(2));
    fails("mllama_vision", |config| config["norm_eps"] = json!(1e-5));
    fails("mllama_vision", |config| config["intermediate_layers_indices"] = json!([1, 2]));
    fails("qwen2_5_vl_vision", |config| config["fullatt_block_indexes"] = json!([2]));
    fails("qwen2_5_vl_vision", |config| config["window_size"] = json!(24));
    fails("idefics3_vision", |config| config["model_type"] = json!("siglip_vision_model"));
}

#[test]
fn one_wrong_gradient_is_seen_and_named() {
    let wrong = "language_model.model.layers.1.mlp.up_proj.weight";
    let dir = changed("llava", |_| {});
    let mut largest = 0.0_f32;
    rewrite(&dir.path().join("grads/model.safetensors"), |name, values| {
        if name == wrong {
            largest = values.iter().fold(0.0, |max, value| max.max(value.abs()));
            values[17] += 0.01 * largest;
        }
        name.to_owned()
    });
    assert!(largest > 0.0);
    let gradients = run(dir.path(), None, None).expect("a report").gradients.expect("gradients");
    assert!(!gradients.passed());
    assert_eq!(gradients.worst, wrong);
}

#[test]
fn recorded_gradients_of_blocks_that_are_not_built_must_be_zero() {
    let dir = changed("llava", |config| config["vision_feature_layer"] = json!(-3));
    let gradients = run(dir.path(), None, None).expect("a report").gradients.expect("gradients");
    assert!(!gradients.passed());
    assert!(gradients.unmatched.iter().any(|name| name.contains("encoder.layers.1.")), "{:?}", gradients.unmatched);
}

#[test]
fn without_a_prompt_the_batch_is_continued_without_its_padding() {
    let dir = changed("llama", |_| {});
    // The recorded prompt behind two positions of padding, in the place of the batch.
    let path = dir.path().join("io.safetensors");
    let file = TensorFile::open(&path).expect("opens");
    let prompt = file.read("in.prompt_ids").expect("the prompt").values;
    let expected = file.read("out.generated_ids").expect("its continuation");
    let seq = prompt.len() + 2;
    let row = |lead: [f32; 2], rest: Vec<f32>| TensorData::new([lead.to_vec(), rest].concat(), [1, seq]);
    let data = [
        ("in.input_ids", row([9.0, 9.0], prompt.clone())),
        ("in.attention_mask", row([0.0, 0.0], vec![1.0; prompt.len()])),
        ("out.generated_ids", TensorData::new(expected.values, expected.shape)),
    ];
    let tensors = data.iter().map(|(name, data)| ((*name).to_owned(), data.shape().to_vec())).collect::<Vec<_>>();
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &tensors, |index| data[index].1.clone()).expect("writes to memory");
    let io = dir.path().join("padded.safetensors");
    fs_err::write(&io, bytes).expect("written");
    fs_err::remove_dir_all(dir.path().join("grads")).expect("removed");
    let report = run(dir.path(), Some(&io), None).expect("a report");
    assert!(report.passed(), "{report}");
    assert_eq!(names(&report), ["generated_ids"]);
}

#[test]
fn another_feature_layer_is_seen() {
    let dir = changed("llava", |config| config["vision_feature_layer"] = json!(-1));
    let report = run(dir.path(), None, None).expect("a report");
    assert!(report.comparisons.iter().filter(|c| c.max_abs.is_some()).all(|c| !c.passed), "{report}");
    assert!(!report.passed());
}

#[test]
fn the_tolerance_is_the_one_asked_for_then_the_cases_own() {
    assert!((case("llama").tolerance - 2e-5).abs() < 1e-9);
    let report = run(&cases().join("llama"), None, Some(0.0)).expect("a report");
    assert!(!report.passed(), "two implementations agree in the last bit?");
    assert!(run(&cases().join("llama"), None, Some(f32::NAN)).is_err());
    let dir = changed("llama", |_| {});
    fs_err::write(dir.path().join("META.toml"), "max_abs = 0.0").expect("written");
    assert!(!run(dir.path(), None, None).expect("a report").passed());
}

#[test]
fn the_report_is_text_and_json() {
    let report = case("llava");
    let text = report.to_string();
    assert!(text.ends_with("passed") && text.contains("all 64 tokens equal"), "{text}");
    let json = serde_json::to_value(&report).expect("json");
    assert_eq!(json["comparisons"][0]["passed"], true);
    assert!(json["gradients"]["worst_ratio"].as_f64().expect("a number") <= 1.0);
}

#[test]
fn what_cannot_be_compared_is_an_error_that_says_why() {
    let says = |dir: &Path, io: Option<&Path>, words: &str| {
        let error = run(dir, io, None).expect_err("an error");
        assert!(format!("{error:#}").contains(words), "{error:#}");
    };
    let bert = changed("llama", |config| config["model_type"] = json!("bert"));
    says(bert.path(), None, "\"bert\" is not supported");
    let nameless = changed("llama", |config| config["model_type"] = json!(null));
    says(nameless.path(), None, "no `model_type`");
    says(&cases().join("llama"), Some(Path::new("/nowhere/io.safetensors")), "no recorded tensors");
    says(&cases().join("clip_vision"), Some(&cases().join("llama/io.safetensors")), "holds no `out.*` tensor");
    says(&cases().join("llava"), Some(&cases().join("llama/io.safetensors")), "cannot take");
    let smaller = cases().join("clip_vision_low_variance/io.safetensors");
    says(&cases().join("siglip_vision"), Some(&smaller), "shape [2, 3, 20, 20], this encoder takes [_, 3, 28, 28]");
    let ratios = changed("mllama_vision", |config| config["supported_aspect_ratios"][0] = json!([3, 1]));
    says(ratios.path(), None, "not the tiles of ratios [1, 4, 3]");
    let masked = changed("llava", |_| {});
    rewrite(&masked.path().join("io.safetensors"), |name, values| {
        if name == "in.attention_mask" {
            values[..5].fill(0.0);
        }
        // Without a prompt of its own, the batch is continued.
        if name == "in.prompt_ids" { "in.unused".to_owned() } else { name.to_owned() }
    });
    says(masked.path(), None, "hides placeholders of row 0");
}

/// As a GPU trains and answers: every model with a decoder, what it reads of media included.
#[test]
fn in_16_bits_every_model_says_the_same_but_for_rounding() {
    let (mut models, mut with_gradients) = (0, 0);
    for entry in fs_err::read_dir(cases()).expect("listed") {
        let dir = entry.expect("an entry").path();
        let asked = Asked { computing: DType::BF16, ..Asked::of(&dir) };
        let Ok(report) = super::run(&asked) else { continue };
        if !names(&report).contains(&"logits") {
            continue;
        }
        models += 1;
        for comparison in &report.comparisons {
            let worst = comparison.max_abs.unwrap_or(f32::INFINITY);
            assert!(comparison.passed && worst > 0.0, "{}: {} {worst}", dir.display(), comparison.name);
        }
        assert!(report.passed(), "{report}");
        with_gradients += usize::from(report.gradients.is_some());
    }
    assert!(models > 20 && with_gradients > 10, "{models} {with_gradients}");
}
