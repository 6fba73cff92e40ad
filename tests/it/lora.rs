//! Low-rank adapters: trained, resumed, looked at, handed on to a next stage, written for others.

use serde_json::Value;

use crate::resume::ends_bit_identical;
use crate::support::Place;

const RUN: &str = "pretrain --config tiny.toml -q --set train.encoder.tuning=frozen --set train.steps=6";
const DECODER: &str = "--set train.decoder.tuning={lora={lr=1e-2,rank=4,alpha=8}}";

fn names(place: &Place, file: &str) -> Vec<String> {
    let bytes = place.read(file);
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut names = tensors.names().into_iter().map(str::to_owned).collect::<Vec<_>>();
    names.sort();
    names
}

fn tensor(place: &Place, file: &str, name: &str) -> Vec<u8> {
    let bytes = place.read(file);
    safetensors::SafeTensors::deserialize(&bytes).expect("safetensors").tensor(name).expect(name).data().to_vec()
}

#[test]
fn runs_with_adapters_resumed_anywhere_end_bit_identical() {
    let encoder = "--set train.encoder.tuning={lora={lr=1e-2,rank=2,dropout=0.2,use_rslora=true}}";
    let decoder = "--set train.decoder.tuning={lora={lr=1e-2,dropout=0.3,targets=['q_proj','mlp.up_proj']}}";
    let dora = "--set train.decoder.tuning={lora={lr=1e-2,use_dora=true,dropout=0.1}}";
    for settings in [DECODER.to_owned(), format!("{encoder} {decoder}"), dora.to_owned()] {
        ends_bit_identical(&format!("{RUN} {settings}"), 6, &[1, 4]);
    }
}

#[test]
fn dropout_changes_the_run_and_recomputing_does_not_change_the_dropout() {
    let place = Place::new();
    let run = |name: &str, dropout: &str, recompute: &str| {
        let tuning = format!("--set train.decoder.tuning={{lora={{lr=1e-2,dropout={dropout}}}}}");
        place.ok(&format!("{RUN} --run-dir {name} {tuning} --set train.recompute={recompute}"));
        place.losses(name)
    };
    let (with, again, without) = (run("a", "0.4", "none"), run("b", "0.4", "all"), run("c", "0.0", "none"));
    for ((_, kept), (_, recomputed)) in with.iter().zip(&again) {
        assert!((kept / recomputed - 1.0).abs() < 1e-5, "{with:?} {again:?}");
    }
    assert!((with[5].1 / without[5].1 - 1.0).abs() > 1e-5, "{with:?} {without:?}");
}

#[test]
fn a_checkpoint_holds_what_is_trained_and_the_adapters_for_peft() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run {DECODER}"));
    let held = names(&place, "run/step-00000006/model.safetensors");
    let adapters = held.iter().filter(|name| name.contains(".lora_")).count();
    assert_eq!(adapters, 14, "{held:?}");
    assert!(held.iter().all(|name| name.contains(".lora_") || name.starts_with("multi_modal_projector.")), "{held:?}");
    let peft = names(&place, "run/step-00000006/adapter_model.safetensors");
    let first = "base_model.model.model.language_model.layers.0.mlp.down_proj.lora_A.weight";
    assert_eq!((peft.len(), peft[0].as_str()), (14, first));
    let config: Value =
        serde_json::from_slice(&place.read("run/step-00000006/adapter_config.json")).expect("adapter_config.json");
    assert_eq!((&config["r"], &config["lora_alpha"], &config["peft_type"]), (&4.into(), &8.into(), &"LORA".into()));
    assert_eq!(config["target_modules"].as_array().map(Vec::len), Some(7));
    place.ok("export --model run --adapter --out peft");
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        assert!(place.read(&format!("peft/{file}")) == place.read(&format!("run/step-00000006/{file}")), "{file}");
    }
    assert_eq!(place.entries("peft"), ["adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn the_export_has_the_adapters_in_its_weights_and_the_base_has_not() {
    let place = Place::new();
    for (name, tuning) in [("lora", "{lora={lr=3e-2}}"), ("dora", "{lora={lr=3e-2,use_dora=true}}")] {
        place.ok(&format!("{RUN} --run-dir {name} --set train.decoder.tuning={tuning}"));
        place.ok(&format!("export --model {name} --out {name}-merged"));
        place.ok(&format!("export --model {name} --base --out {name}-base"));
        let weight = "language_model.model.layers.0.self_attn.q_proj.weight";
        let [merged, base] =
            ["merged", "base"].map(|kind| tensor(&place, &format!("{name}-{kind}/model.safetensors"), weight));
        assert!(merged != base);
        // The next step's loss is that of the run, whichever way it is begun.
        let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen --set train.steps=1";
        let begun = |from: &str| {
            place.ok(&format!("pretrain --config tiny.toml -q {frozen} --init {from} --run-dir from-{from}"));
            place.losses(&format!("from-{from}"))[0].1
        };
        let (run, merged, base) = (begun(name), begun(&format!("{name}-merged")), begun(&format!("{name}-base")));
        assert!((run - merged).abs() < 1e-5, "{run} {merged}");
        assert!((run - base).abs() > 1e-3, "{run} {base}");
        // Generation sees the same model.
        let caption = |model: &str| {
            let scored = place.ok(&format!("eval --model {model} --data data --limit 4 --json")).stdout;
            serde_json::from_str::<Value>(&scored).expect("JSON")
        };
        assert_eq!(caption(name), caption(&format!("{name}-merged")));
    }
}

#[test]
fn a_next_stage_merges_the_adapters_or_goes_on_with_them() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir first {DECODER}"));
    let next = "pretrain --config tiny.toml -q --set train.encoder.tuning=frozen --set train.steps=2 --init first";
    let continued = "--set train.decoder.tuning={lora={lr=1e-2,rank=4,alpha=8,continued=true}}";
    place.ok(&format!("{next} --run-dir merged {DECODER}"));
    place.ok(&format!("{next} --run-dir continued {continued} --set checkpoint.every=1 --set checkpoint.keep=0"));
    let [merged, continued] = ["merged", "continued"].map(|run| place.losses(run)[0].1);
    assert!((merged - continued).abs() < 1e-5, "{merged} {continued}");
    // What is saved leads back to both.
    let bits = |run: &str| {
        let scored = place.ok(&format!("eval --model {run} --data data --limit 4 --json")).stdout;
        place.ok(&format!("inspect {run}"));
        scored
    };
    bits("merged");
    bits("continued");
    // A third stage on top of the second, whose part lies in the first.
    place.ok(&format!("{next} --run-dir third {DECODER}").replace("--init first", "--init merged"));
    place.ok(&format!("{next} --run-dir fourth {DECODER}").replace("--init first", "--init continued"));
    place.ok("eval --model third --data data --limit 2");
    place.ok("eval --model fourth --data data --limit 2");
    let state = String::from_utf8(place.read("continued/step-00000002/state.json")).expect("UTF-8");
    assert!(state.contains("\"continued\": true"), "{state}");
    let other = "--set train.decoder.tuning={lora={lr=1e-2,rank=8,alpha=8,continued=true}}";
    place.fails(&format!("{next} --run-dir x {other}"), 2, &["has lora r=4, alpha=8", "asks for lora r=8, alpha=8"]);
    let nothing = format!("pretrain --config tiny.toml -q --run-dir x {other}");
    place.fails(&nothing, 2, &["train.decoder.tuning.lora.continued", "nothing to go on with"]);
}

#[test]
fn a_target_that_is_no_layer_is_refused_before_the_run_with_those_there_are() {
    let place = Place::new();
    let wrong = "--set train.decoder.tuning={lora={lr=1e-2,targets=['query']}}";
    for how in ["--dry-run", ""] {
        let words = ["no layer of the decoder", "`query`", "`q_proj`", "`up_proj`"];
        place.fails(&format!("{RUN} --run-dir run {how} {wrong}"), 2, &words);
    }
    assert!(!place.path("run").exists());
}

#[test]
fn ledger_inspection_and_log_say_what_is_trained() {
    let place = Place::new();
    let run = format!("{RUN} --run-dir run {DECODER}").replace(" -q", "");
    // Of one block, by hand: rank 4 beside q 16x16, k and v 16x8, o 16x16, gate and up 16x32, down 32x16.
    let numbers = 4 * (32 + 24 + 24 + 32 + 48 + 48 + 48);
    let ledger: Value = serde_json::from_str(&place.ok(&format!("{run} --dry-run --json")).stdout).expect("JSON");
    let decoder =
        ledger["ledger"].as_array().expect("rows").iter().find(|row| row["part"] == "decoder").expect("there");
    assert_eq!(decoder["trained"], numbers);
    let of = format!("lora r=4, alpha=8, 1,024 of {}", decoder["parameters"].as_u64().map(grouped).expect("a number"));
    assert!(decoder["tuning"].as_str().is_some_and(|tuning| tuning.starts_with(&of)), "{decoder} {of}");
    let connector = ledger["ledger"].as_array().expect("rows").iter().find(|row| row["part"] == "connector");
    let of_connector = connector.expect("there")["trained"].as_u64().expect("a number");
    assert_eq!(ledger["memory_bytes"]["optimizer"], 8 * (numbers + of_connector));
    let gradients = 4 * (numbers + 2 * of_connector);
    assert_eq!(ledger["memory_bytes"]["gradients"], gradients, "two ranks hand on what is of the decoder's blocks");

    let log = place.ok(&format!("-v {run}")).stderr;
    assert!(log.contains("step 1: ") && log.contains("trained tensors of the decoder changed"), "{log}");
    assert!(log.contains("frozen tensors stayed"), "{log}");
    let text = place.ok("inspect run").stdout;
    assert!(text.contains("lora r=4, alpha=8") && text.contains("by reference"), "{text}");
    let report: Value = serde_json::from_str(&place.ok("inspect run --json").stdout).expect("JSON");
    assert_eq!(report["weights"]["missing"], Value::Array(Vec::new()), "{report}");
    assert_eq!(report["weights"]["unused"], Value::Array(Vec::new()), "{report}");
    let with_config: Value =
        serde_json::from_str(&place.ok(&format!("inspect run --json --config tiny.toml {DECODER}")).stdout)
            .expect("JSON");
    assert!(with_config["trained"].as_u64().is_some_and(|trained| trained > numbers), "{with_config}");
}

/// Up to six digits.
fn grouped(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}
