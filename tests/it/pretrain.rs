//! The main job from nothing to an answer.

use serde_json::Value;

use crate::bad_input::place_with_weights_of;
use crate::support::{Place, checkpoints};

#[test]
fn pretrain_eval_and_generate_work_from_nothing() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run --set train.eval_every=6");
    assert_eq!(checkpoints(&place.path("run")), ["step-00000004", "step-00000008", "step-00000012"]);
    for file in ["config.toml", "metrics.jsonl", "plots/loss.png", "report.html", "latest", "finished", "samples/0.jpg"]
    {
        assert!(place.path("run").join(file).exists(), "{file}");
    }
    let steps = place.losses("run").into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let metrics = String::from_utf8(place.read("run/metrics.jsonl")).expect("UTF-8");
    assert!(metrics.lines().any(|line| line.contains("\"kind\":\"eval\"") && line.contains("attribute_accuracy")));

    let eval = place.ok("eval --model run --data data --limit 5 --json");
    let eval: Value = serde_json::from_str(&eval.stdout).expect("JSON");
    assert_eq!(eval["samples"], 5);
    assert!(eval["attribute_accuracy"].is_number() && eval["exact_match"].is_number(), "{eval}");

    for group in ["unseen_combinations", "seen_combinations"] {
        assert!(eval[group]["samples"].is_u64() && eval[group]["attribute_accuracy"].is_number(), "{eval}");
    }
    let text = place.ok("eval --model run --data data --limit 0 --max-new-tokens 2 --output run/eval.json").stdout;
    assert!(text.contains("\nunseen combinations ") && text.contains("\nseen combinations "), "{text}");
    assert!(text.lines().count() < 15, "{text}");
    let all: Value = serde_json::from_slice(&place.read("run/eval.json")).expect("JSON");
    assert_eq!(all["samples"], 64, "0 takes all");

    // A link stays one, and what is no file is written to.
    std::os::unix::fs::symlink("run/eval.json", place.path("link.json")).expect("linked");
    place.ok("eval --model run --data data --limit 1 --max-new-tokens 2 --output link.json");
    assert!(place.path("link.json").is_symlink());
    let one: Value = serde_json::from_slice(&place.read("run/eval.json")).expect("JSON");
    assert_eq!(one["samples"], 1);
    let both = place.ok("eval --model run --data data --limit 1 --max-new-tokens 2 --output /dev/stdout").stdout;
    assert!(both.contains("\"samples\": 1") && both.contains("attribute accuracy"), "{both}");
    place.fails(
        "eval --model run --data data --limit 1 --output nowhere/eval.json",
        4,
        &["nowhere/eval.json", "hint:"],
    );

    let answer = place.ok("generate --model run --image run/samples/0.jpg --max-new-tokens 4 --json");
    let answer: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert!(answer["tokens"].as_u64().is_some_and(|tokens| tokens <= 4));
    let sampled =
        "generate --model run/step-00000008 --image run/samples/0.jpg --temperature 1 --seed 5 --max-new-tokens 6";
    assert_eq!(place.ok(sampled).stdout, place.ok(sampled).stdout, "a seed fixes what is sampled");
}

#[test]
fn a_stage_that_trains_the_connector_alone_saves_little_else() {
    let (place, run) = place_with_weights_of("--set model.decoder.arch.hidden_size=512");
    place.ok(&format!("{run} --set train.encoder.tuning=frozen --set train.decoder.tuning=frozen"));
    let files = fs_err::read_dir(place.path("second/step-00000012")).expect("a checkpoint");
    let bytes: u64 = files.map(|file| file.expect("an entry").metadata().expect("a file").len()).sum();
    // Two layers with biases, from 16 channels to 512, and two moments of each.
    let trained = 4 * 3 * (16 * 512 + 512 + 512 * 512 + 512);
    assert!(bytes > trained && bytes as f64 <= 1.05 * trained as f64, "{bytes} bytes, {trained} of them needed");
}

#[test]
fn training_learns() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run --set train.steps=60 --set schedule.warmup_steps=5 -q");
    let losses = place.losses("run");
    let mean = |lines: &[(u64, f64)]| lines.iter().map(|(_, loss)| loss).sum::<f64>() / lines.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[55..]));
    assert!(last < first - 0.5, "{first} to {last}");
}

#[test]
fn a_run_starts_from_the_weights_of_another_with_frozen_parts() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir first -q");
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen --set train.steps=3";
    place.ok(&format!("pretrain --config tiny.toml --init first --run-dir second -q {frozen}"));
    let checkpoint = safetensors(&place.read("second/step-00000003/model.safetensors"));
    assert!(checkpoint.iter().all(|name| name.starts_with("multi_modal_projector.")), "{checkpoint:?}");
}

fn safetensors(bytes: &[u8]) -> Vec<String> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).expect("safetensors");
    tensors.names().into_iter().map(ToOwned::to_owned).collect()
}

#[test]
fn the_trained_checkpoint_is_a_hugging_face_directory() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q");
    let dir = "run/step-00000012";
    let names = safetensors(&place.read(&format!("{dir}/model.safetensors")));
    for name in [
        "vision_tower.vision_model.embeddings.patch_embedding.weight",
        "multi_modal_projector.linear_1.weight",
        "language_model.model.layers.0.self_attn.q_proj.weight",
    ] {
        assert!(names.iter().any(|have| have == name), "{name}");
    }
    let config: Value = serde_json::from_slice(&place.read(&format!("{dir}/config.json"))).expect("JSON");
    assert_eq!(config["architectures"][0], "LlavaForConditionalGeneration");
    assert_eq!(config["vision_feature_select_strategy"], "full", "a tower without class token");
}
