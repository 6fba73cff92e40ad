//! Commands that only read, and `data synth`.

use serde_json::Value;

use crate::support::Place;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_dry_run_writes_nothing_and_lists_parts_and_memory() {
    let place = Place::new();
    let plan = json(&place.ok("pretrain --config tiny.toml --dry-run --json").stdout);
    assert_eq!(plan["steps"], 12);
    assert_eq!(plan["tokens_per_image"], 4);
    assert_eq!(plan["ledger"].as_array().map(Vec::len), Some(3));
    assert!(plan["memory_bytes"]["total"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(!place.path("data").exists() && !place.path("checkpoints").exists());
}

#[test]
fn a_dry_run_says_that_a_vocabulary_which_is_yet_to_be_learned_is_an_upper_bound() {
    let place = Place::new();
    let decoder = |plan: &Value| plan["ledger"][2]["parameters"].as_u64().expect("a number");
    let sets = "--set model.tokenizer.train_bpe.vocab_size=2000";
    let dry = format!("pretrain --config tiny.toml --dry-run {sets}");
    let before = json(&place.ok(&format!("{dry} --json")).stdout);
    assert_eq!((&before["vocab_size"], &before["vocab_size_is_upper_bound"]), (&2000.into(), &true.into()));
    assert!(place.ok(&dry).stdout.contains("2000 tokens at most"));
    place.ok(&format!("pretrain --config tiny.toml --run-dir run -q --set train.steps=1 {sets}"));
    let after = json(&place.ok("pretrain --resume run --dry-run --json").stdout);
    assert_eq!(after["vocab_size_is_upper_bound"], false);
    let config = json(&String::from_utf8(place.read("run/step-00000001/config.json")).expect("UTF-8"));
    assert_eq!(after["vocab_size"], config["text_config"]["vocab_size"]);
    assert!(decoder(&after) < decoder(&before), "these captions have not 2000 tokens");
    // Of a run, data are seen with its tokenizer.
    place.ok("data show --config run/config.toml -n 1");
    place.write("run/tokenizer.json", b"{}");
    place.fails("data show --config run/config.toml -n 1", 3, &["tokenizer.json"]);
    // What merely lies beside a configuration is no run's.
    place.write("tokenizer.json", b"{}");
    place.ok("data show --config tiny.toml -n 1");
}

#[test]
fn made_data_are_equal_per_seed_and_check_clean() {
    let place = Place::new();
    for out in ["a", "b"] {
        place.ok(&format!("data synth --like cc3m --out {out} --samples 40 --seed 5 --size 32"));
    }
    assert!(place.read("a/cc3m-train-0000.tar") == place.read("b/cc3m-train-0000.tar"));
    let report = json(&place.ok("data check a --json").stdout);
    assert_eq!((report["ok"].as_u64(), report["bad"].as_u64()), (Some(104), Some(0)), "{report}");
    let shown = place.ok("data show a --json -n 2");
    let sample = json(shown.stdout.lines().next().expect("a line"));
    assert_eq!(sample["input_ids"].as_array().map(Vec::len), sample["labels"].as_array().map(Vec::len));
    let stats = json(&place.ok("data stats a --json --png lengths.png").stdout);
    let counts = stats["a"]["seq_histogram"]["counts"].as_array().expect("bars").iter().filter_map(Value::as_u64);
    assert_eq!(Some(counts.sum()), stats["a"]["samples"].as_u64());
    assert!(place.read("lengths.png").starts_with(b"\x89PNG"));
    assert!(place.ok("data stats a").stdout.contains("tokens per sample, bars of"));
    let speed = json(&place.ok("data speed a -n 40 --seconds 60 --json").stdout);
    let figure = |key: &str| speed[key].as_f64().unwrap_or_default();
    assert!(figure("samples") >= 40.0 && figure("seconds") < 60.0, "as many as asked for: {speed}");
    assert_eq!((figure("media"), figure("left_out")), (figure("samples"), 0.0), "{speed}");
    assert!(figure("tokens") > 9.0 * figure("samples"), "a picture is nine: {speed}");
    place.ok("data show a -n 2 --html page.html");
    let page = String::from_utf8(place.read("page.html")).expect("UTF-8");
    assert_eq!(page.matches("<img alt=\"image\" src=\"data:image/jpeg;base64,").count(), 2);
    assert_eq!(page.matches("<mark>").count(), 3, "the legend and two captions");
    assert!(place.ok("data show a -n 1").stdout.contains("<image 0: 32x32, "), "media stand as one mark");
}

#[test]
fn configurations_can_be_shown_checked_and_described() {
    let place = Place::new();
    let shown = place.ok("config show tiny.toml --set train.seed=5").stdout;
    assert!(shown.contains("train.seed = 5") && shown.contains("--set"), "{shown}");
    place.ok("config check quickstart");
    assert!(json(&place.ok("config schema").stdout)["properties"]["train"].is_object());
    assert!(place.ok("config presets").stdout.contains("cc3m"));
}

#[test]
fn parity_holds_and_fails_where_it_should() {
    let place = Place::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parity");
    place.ok(&format!("parity {fixtures}/llava"));
    let report = json(&place.ok(&format!("parity {fixtures}/qwen2 --json")).stdout);
    assert!(report.is_object());
    assert_eq!(place.run(&format!("parity {fixtures}/llava --atol 1e-12")).code, 1);
}

#[test]
fn real_photographs_are_read_and_described() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q");
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos");
    let report = json(&place.ok(&format!("data check {photos} --json")).stdout);
    assert_eq!((report["ok"].as_u64(), report["bad"].as_u64()), (Some(16), Some(0)), "{report}");
    let eval = json(&place.ok(&format!("eval --model run --data {photos} --max-new-tokens 3 --json")).stdout);
    assert_eq!(eval["samples"], 16);
    place.ok(&format!("generate --model run --image {photos}/camera_gray.jpg --max-new-tokens 3"));
}
