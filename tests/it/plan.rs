//! `mmtrain plan`: what a run will cost.

use serde_json::Value;

use crate::support::Place;

fn plan(place: &Place, more: &str) -> Value {
    serde_json::from_str(&place.ok(&format!("plan --json {more}")).stdout).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn before_there_are_data_the_most_is_said_and_nothing_is_written() {
    let place = Place::new();
    let found = plan(&place, "--config tiny.toml");
    let cost = &found["plan"];
    assert_eq!((&cost["data_looked_at"], &cost["steps_made"]), (&false.into(), &0.into()));
    assert_eq!((&cost["largest_micro_batch_seen"]["seq"], &found["tokens_per_image"]), (&128.into(), &4.into()));
    assert!(number(&cost["flops_per_step"]["total"]) > 0.0 && number(&cost["seconds_per_step"]) > 0.0);
    assert!(place.ok("plan --config tiny.toml").stdout.contains("yet to be made"));
    assert!(!place.path("data").exists() && !place.path("checkpoints").exists());
}

#[test]
fn with_data_their_samples_are_counted() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=2 --set train.log_every=1");
    let found = plan(&place, "--config tiny.toml --look-at 2");
    let cost = &found["plan"];
    assert_eq!((&cost["data_looked_at"], &cost["steps_looked_at"]), (&true.into(), &2.into()));
    // The second one was made as well, for its time.
    assert_eq!(cost["steps_made"], 1);
    let global = number(&found["global_batch_size"]);
    assert!((number(&cost["samples_per_step"]) - global).abs() < 1e-9);
    let rows = found["global_batch_size"].as_u64().expect("a number");
    let image = &cost["media"]["image"];
    assert_eq!(
        (&image["count"], &image["tokens"], &image["most"]),
        (&(2 * rows).into(), &(8 * rows).into(), &4.into())
    );
    let total = number(&found["steps"]) * number(&cost["seconds_per_step"]);
    assert!((number(&cost["total_seconds"]) - total).abs() < 1e-6 * total);
    // The run's own account of the same two steps.
    let lines = place.metrics("run").into_iter();
    let fill = lines.filter(|line| line["kind"] == "train").map(|line| number(&line["padding"])).collect::<Vec<_>>();
    let [first, second] = fill.as_slice() else { panic!("two steps: {fill:?}") };
    let planned = number(&cost["fill"]);
    assert!(planned >= first.min(*second) - 1e-9 && planned <= first.max(*second) + 1e-9, "{planned} of {fill:?}");
}

#[test]
fn what_is_frozen_costs_less_and_more_rows_cost_more() {
    let place = Place::new();
    let flops =
        |more: &str| number(&plan(&place, &format!("--config tiny.toml {more}"))["plan"]["flops_per_step"]["total"]);
    let whole = flops("");
    let frozen = flops("--set train.encoder.tuning=frozen");
    assert!(frozen < whole, "{frozen} of {whole}");
    let twice = flops("--set train.global_batch_size=16");
    assert!((flops("--set train.global_batch_size=8") * 2.0 / twice - 1.0).abs() < 1e-9);
    let again = plan(&place, "--config tiny.toml --set train.recompute=all");
    assert!(number(&again["plan"]["flops_per_step"]["again"]) > 0.1 * whole);
    let rows = |plan: &Value| plan["plan"]["largest_micro_batch"].as_u64().expect("a number");
    assert!(rows(&again) > 1);
}

#[test]
fn a_stage_is_seen_by_its_configuration_and_what_is_missing_is_said() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    // A preset without a model takes that of the run.
    let found = plan(&place, "--stage sft --init run --data data --look-at 1 --set data.max_seq=512");
    assert_eq!(found["ledger"].as_array().map(Vec::len), Some(3));
    // Nor does it have to be told that pairs are compared, for which these data are not.
    place.fails("plan --config dpo --init run --data data", 2, &["preferences are pairs of answers", "hint:"]);
    place.fails("plan --config sft --stage dpo --init run", 2, &["`mmtrain dpo` compares answers", "hint:"]);
    place.fails("plan --config nowhere", 2, &["hint:"]);
}

#[test]
fn sixteen_bits_take_half_of_what_is_held_and_computed_in_them() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml --run-dir run -q --set train.steps=1");
    for dtype in ["f32", "bf16"] {
        place.ok(&format!("export --model run --out {dtype} --dtype {dtype}"));
    }
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen";
    let of = |init: &str, precision: &str| {
        let more = format!("--stage sft --init {init} --data data --look-at 1 --set data.max_seq=512");
        plan(&place, &format!("{more} {frozen} --set train.precision={precision}"))
    };
    let (wide, half) = (of("f32", "f32"), of("bf16", "bf16"));
    let bytes = |plan: &Value, name: &str| plan["plan"]["memory_bytes"][name].as_u64().expect("a number");
    let parameters = |part: &str| {
        let ledger = wide["ledger"].as_array().expect("a list");
        ledger.iter().find(|row| row["part"] == part).expect("a part")["parameters"].as_u64().expect("a number")
    };
    let frozen = parameters("encoder") + parameters("decoder");
    // Norms are held in 32 bits.
    let saved = bytes(&wide, "weights") - bytes(&half, "weights");
    assert!((19 * frozen / 10..=2 * frozen).contains(&saved), "{saved} of {}", 4 * frozen);
    // What is stored in 32 bits stays so.
    assert_eq!(bytes(&of("f32", "bf16"), "weights"), bytes(&wide, "weights"));
    assert_eq!(2 * bytes(&half, "activations"), bytes(&wide, "activations"));
    assert_eq!(bytes(&half, "head"), bytes(&wide, "head"));
}
