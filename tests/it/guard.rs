//! Numbers that went wrong: they never reach the weights, and the run does what it was told to.

use serde_json::Value;

use crate::bad_input::place_with_weights;
use crate::resume::copy_until;
use crate::support::{Place, checkpoints};

/// A run that trains the connector of a model whose logits overflow: a row of its table of tokens is far too large.
fn place_with_a_poisoned_token() -> (Place, String) {
    let (place, run) = place_with_weights();
    let mut weights = place.read("hf/model.safetensors");
    poison(&mut weights, "embed_tokens.weight", 100);
    place.write("hf/model.safetensors", &weights);
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen";
    (place, format!("{} {frozen}", run.replace(" --run-dir second", "")))
}

/// Makes a row of the first tensor whose name ends so larger than what can be multiplied.
fn poison(file: &mut [u8], name: &str, row: usize) {
    let header_len = u64::from_le_bytes(file[..8].try_into().expect("eight")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + header_len]).expect("JSON");
    let tensors = header.as_object().expect("an object");
    let (_, tensor) = tensors.iter().find(|(tensor, _)| tensor.ends_with(name)).expect("the tensor");
    assert_eq!(tensor["dtype"], "F32");
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let bytes = number(&tensor["shape"][1]) * 4;
    let at = 8 + header_len + number(&tensor["data_offsets"][0]) + row * bytes;
    file[at..at + bytes].chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&3e38_f32.to_le_bytes()));
}

fn faults(place: &Place, run: &str) -> Vec<Value> {
    place.metrics(run).into_iter().filter(|line| line["kind"] == "fault").collect()
}

fn bad_steps(place: &Place, run: &str) -> Vec<Value> {
    let text = String::from_utf8(place.read(&format!("{run}/bad_steps.jsonl"))).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_run_stops_before_the_update_and_names_the_samples() {
    let (place, run) = place_with_a_poisoned_token();
    let words = ["step 1: loss is NaN", "nothing was updated", "Samples: tiny", "bad_batch.json"];
    place.fails(&format!("{run} --run-dir stopped"), 5, &words);
    let report: Value = serde_json::from_slice(&place.read("stopped/bad_batch.json")).expect("JSON");
    assert_eq!(report["samples"].as_array().map(Vec::len), Some(4));
    assert!(checkpoints(&place.path("stopped")).is_empty());
}

#[test]
fn three_in_a_row_are_too_many() {
    let (place, run) = place_with_a_poisoned_token();
    let done = place.exits(&format!("{run} --run-dir all --set train.guard.non_finite=skip").replace(" -q", ""), 5);
    assert!(done.stderr.contains("step 4: loss is NaN; nothing was updated"), "{}", done.stderr);
    assert!(done.stderr.contains("warning: step 3: loss is NaN; nothing was updated"), "{}", done.stderr);
    let faults = faults(&place, "all");
    let steps = faults.iter().map(|fault| (fault["step"].as_u64(), fault["value"].as_str(), fault["remedy"].as_str()));
    let expected = [1, 2, 3].map(|step| (Some(step), Some("NaN"), Some("skip")));
    assert_eq!(steps.collect::<Vec<_>>(), expected);
    assert!(bad_steps(&place, "all").iter().all(|step| step["samples"].as_array().is_some_and(|ids| ids.len() == 4)));
    let rewinds = format!("{run} --run-dir back --set train.guard.non_finite=rewind");
    place.fails(&rewinds, 5, &["no checkpoint yet to go back to", "hint:"]);
}

#[test]
fn weights_that_are_no_numbers_are_never_saved() {
    let place = Place::new();
    // A rate that carries weights out of what f32 holds: the loss before the update still is a number.
    let run = "pretrain --config tiny.toml -q --set train.max_grad_norm=0 --set train.steps=1 \
               --set train.connector.tuning.full.lr=3e38 --set train.connector.weight_decay=10";
    place.fails(&format!("{run} --run-dir run"), 5, &["not finite", "not written"]);
    assert!(checkpoints(&place.path("run")).is_empty());
}

/// A run whose losses are often above those before.
const SPIKES: &str = "pretrain --config tiny.toml -q --set train.steps=40 --set train.guard.spike_sigmas=1.0 \
                      --set train.guard.spike_window=8 --set train.guard.in_a_row=20 --set checkpoint.keep=0";

#[test]
fn a_step_that_is_skipped_changes_nothing_and_a_resume_decides_alike() {
    let place = Place::new();
    place.ok(&format!("{SPIKES} --set checkpoint.every=1 --run-dir whole"));
    let spikes = faults(&place, "whole");
    assert!((1..30).contains(&spikes.len()), "{} spikes", spikes.len());
    let weights = |step: u64| place.read(&format!("whole/step-{step:08}/model.safetensors"));
    let mut passed_over = 0;
    for step in 2..=40 {
        let is_spike = spikes.iter().any(|spike| spike["step"] == step);
        assert_eq!(weights(step) == weights(step - 1), is_spike, "step {step}");
        passed_over += u64::from(is_spike);
    }
    let state: Value = serde_json::from_slice(&place.read("whole/step-00000040/state.json")).expect("JSON");
    assert_eq!(state["guard"]["passed_over"], passed_over);
    assert_eq!(place.losses("whole").len() as u64, 40 - passed_over);
    let first = spikes[0]["step"].as_u64().expect("a step");
    for step in [first - 1, first, 35] {
        let part = format!("part-{step}");
        copy_until(&place, &part, step);
        place.ok(&format!("pretrain --resume {part} -q"));
        assert!(place.final_state(&part, 40) == place.final_state("whole", 40), "resumed at step {step}");
        assert_eq!(faults(&place, &part), spikes);
    }
}

#[test]
fn a_run_that_goes_back_leaves_out_the_data_and_ends() {
    let place = Place::new();
    let run =
        format!("{SPIKES} --set train.guard.spike=rewind --set train.guard.spike_sigmas=2.5 --set checkpoint.every=2");
    place.ok(&format!("{run} --run-dir whole"));
    let state: Value = serde_json::from_slice(&place.read("whole/step-00000040/state.json")).expect("JSON");
    let rewinds = state["guard"]["rewinds"].as_u64().expect("it went back");
    assert_eq!((bad_steps(&place, "whole").len() as u64, &state["guard"]["passed_over"]), (rewinds, &0.into()));
    // The data of the steps that were taken back are not seen again.
    let cursor = &state["cursor"];
    let seen = cursor["epoch"].as_u64().expect("epoch") * 48 + cursor["position"].as_u64().expect("position");
    assert!(seen > 40 * 4, "{cursor}");
    let losses = place.losses("whole");
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    let first = bad_steps(&place, "whole")[0]["step"].as_u64().expect("a step");
    copy_until(&place, "part", (first - 1) / 2 * 2);
    place.ok("pretrain --resume part -q");
    assert!(place.final_state("part", 40) == place.final_state("whole", 40), "it goes back once more");
    assert_eq!(place.losses("part"), losses);
}
