//! Numbers that went wrong: they never reach the weights, and the run does what it was told to.

use std::io::Read;

use serde_json::Value;

use crate::bad_input::place_with_weights;
use crate::resume::copy_until;
use crate::support::{Place, checkpoints};

/// A run that trains the connector of a model whose logits overflow: a row of its table of tokens is far too large.
fn place_with_a_poisoned_token() -> (Place, String) {
    let (place, run) = place_with_weights();
    let mut weights = place.read("hf/model.safetensors");
    poison(&mut weights, "embed_tokens.weight", 100, 3e38);
    place.write("hf/model.safetensors", &weights);
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen";
    (place, format!("{} {frozen}", run.replace(" --run-dir second", "")))
}

/// A run of which one sample of 48 gives numbers that nothing can be reckoned with: its picture is white, and a channel of the first layer
/// adds pixels up with weights with which only those of a white patch are more than a number holds.
fn place_with_a_poisoned_sample() -> (Place, String) {
    let (place, run) = place_with_weights();
    let shards = fs_err::read_dir(place.path("data")).expect("data").map(|entry| entry.expect("an entry").file_name());
    let mut shards = shards.map(|name| format!("data/{}", name.to_string_lossy()));
    let shard = shards.find(|name| name.contains("-train-")).expect("a shard");
    let bytes = place.read(&shard);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut builder = tar::Builder::new(Vec::new());
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let mut header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("readable");
        if entry.path_bytes().ends_with(b"17.jpg") {
            content = white_picture(32);
            header.set_size(content.len() as u64);
            header.set_cksum();
        }
        builder.append(&header, content.as_slice()).expect("appended");
    }
    place.write("own/own-train-0000.tar", &builder.into_inner().expect("finished"));
    let text = String::from_utf8(place.read("weights.toml")).expect("UTF-8");
    let mut config = text.parse::<toml::Table>().expect("TOML");
    let source = config["data"]["sources"][0].as_table_mut().expect("a table");
    source.remove("synth");
    source.insert("path".to_owned(), "own".into());
    place.write("weights.toml", config.to_string().as_bytes());
    let mut weights = place.read("hf/model.safetensors");
    poison(&mut weights, "patch_embedding.weight", 0, 4.8e35);
    place.write("hf/model.safetensors", &weights);
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen --set train.steps=24";
    (place, format!("{} {frozen}", run.replace(" --run-dir second", "")))
}

/// A bitmap of 24 bits a pixel.
fn white_picture(side: u32) -> Vec<u8> {
    let pixels = vec![255; (3 * side * side) as usize];
    let numbers = [54 + pixels.len() as u32, 0, 54, 40, side, side, 1 | 24 << 16, 0, pixels.len() as u32, 0, 0, 0, 0];
    [b"BM".to_vec(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect(), pixels].concat()
}

/// Sets a row of the first tensor whose name ends so to a value that cannot be reckoned with.
fn poison(file: &mut [u8], name: &str, row: usize, value: f32) {
    let header_len = u64::from_le_bytes(file[..8].try_into().expect("eight")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + header_len]).expect("JSON");
    let tensors = header.as_object().expect("an object");
    let (_, tensor) = tensors.iter().find(|(tensor, _)| tensor.ends_with(name)).expect("the tensor");
    assert_eq!(tensor["dtype"], "F32");
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let bytes = tensor["shape"].as_array().expect("a shape")[1..].iter().map(number).product::<usize>() * 4;
    let at = 8 + header_len + number(&tensor["data_offsets"][0]) + row * bytes;
    file[at..at + bytes].chunks_exact_mut(4).for_each(|stored| stored.copy_from_slice(&value.to_le_bytes()));
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
    let found: Value = serde_json::from_str(&place.exits("doctor stopped --json", 4).stdout).expect("JSON");
    let command = found["next"]["command"].as_str().expect("a command");
    assert!(command.contains("--run-dir stopped-2 --set train.seed="), "not the same step again: {command}");
}

#[test]
fn one_sample_costs_the_steps_that_it_is_in_and_no_other() {
    let (place, run) = place_with_a_poisoned_sample();
    place.ok(&format!("{run} --run-dir skipped --set train.guard.non_finite=skip"));
    let steps = faults(&place, "skipped").iter().map(|fault| fault["step"].as_u64()).collect::<Vec<_>>();
    let bad = bad_steps(&place, "skipped");
    assert_eq!(steps.len(), 2, "once an epoch: {steps:?}");
    let samples = |step: &Value| step["samples"].as_array().expect("a list").clone();
    let (first, second) = (samples(&bad[0]), samples(&bad[1]));
    let both = first.iter().filter(|sample| second.contains(sample)).collect::<Vec<_>>();
    assert!(!both.is_empty(), "{first:?} and {second:?} share what was poisoned");
    let losses = place.losses("skipped");
    assert_eq!(losses.len(), 22);
    assert!(losses.iter().all(|(_, loss)| loss.is_finite()), "{losses:?}");
    // The default stops there, and what was done so far is kept; going back leaves out the data, and gets to the end.
    let first = steps[0].expect("a step");
    let words = [&*format!("step {first}: "), "nothing was updated", "bad_batch.json"];
    place.fails(&format!("{run} --run-dir stopped --set checkpoint.every=1"), 5, &words);
    assert_eq!(checkpoints(&place.path("stopped")).len() as u64, (first - 1).min(3));
    assert!(place.losses("stopped").iter().eq(losses.iter().take_while(|(step, _)| *step < first)));
    place.ok(&format!("{run} --run-dir back --set checkpoint.every=1 --set train.guard.non_finite=rewind"));
    assert_eq!(place.losses("back").len(), 24);
    assert!(!faults(&place, "back").is_empty());
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
    let report: Value = serde_json::from_slice(&place.read("back/bad_batch.json")).expect("JSON");
    assert_eq!((&report["step"], report["samples"].as_array().map(Vec::len)), (&1.into(), Some(4)));
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
