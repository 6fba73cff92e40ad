//! Every stage with every connector, with and without accumulation and packing, and every way of tuning: a run that is resumed ends
//! as one that was not.

use serde_json::Value;

use crate::resume::copy_until;
use crate::stages::{PREFERENCE, later};
use crate::support::Place;

/// Steps of each run: `MMTRAIN_GRID_STEPS`, or few.
fn last() -> u64 {
    std::env::var("MMTRAIN_GRID_STEPS")
        .map_or(6, |steps| steps.parse().expect("MMTRAIN_GRID_STEPS is a number of steps"))
}

const CONNECTORS: [(&str, &str); 3] = [
    ("mlp", "kind = 'mlp'\npixel_shuffle = 2\n"),
    (
        "q_former",
        "kind = 'q_former'\nnum_queries = 3\nhidden_size = 12\nnum_hidden_layers = 1\nnum_attention_heads = 3\n",
    ),
    ("cross_attention", "kind = 'cross_attention'\ninterval = 1\n"),
];

/// What is set beside the configuration: accumulation and packing.
const WAYS: [&str; 4] = [
    "--set train.micro_batch_size=4 --set train.ranks=1",
    "--set train.micro_batch_size=1 --set train.ranks=2",
    "--set train.micro_batch_size=4 --set train.ranks=1 --set data.packing=true",
    "--set train.micro_batch_size=1 --set train.ranks=2 --set data.packing=true",
];

/// The same: what is tuned how.
const TUNINGS: [&str; 7] = [
    "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen",
    "--set train.encoder.tuning=frozen --set train.decoder.tuning={full={lr=1e-3,from_block=1}}",
    "--set train.decoder.tuning={lora={lr=1e-2,rank=4,dropout=0.1}}",
    "--set train.encoder.tuning={lora={lr=1e-2,rank=2,use_rslora=true}} --set train.decoder.tuning={full={lr=1e-3}}",
    "--set train.decoder.tuning={lora={lr=1e-2,use_dora=true,dropout=0.1}}",
    "--set train.decoder.tuning={lora={lr=1e-2,rank=4,quantization='int8'}}",
    "--set train.encoder.tuning=frozen --set train.decoder.tuning={lora={lr=1e-2,rank=4,quantization='nf4'}}",
];

/// Where each run is interrupted: everywhere, or at one step that differs from run to run.
fn breaks(number: usize) -> Vec<u64> {
    let last = last();
    if std::env::var_os("MMTRAIN_SLOW").is_some() { (1..last).collect() } else { vec![1 + number as u64 % (last - 1)] }
}

/// One stage of one model.
struct Stage<'a> {
    name: &'a str,
    config: &'a str,
    /// The run that it starts from.
    init: Option<&'a str>,
    /// Whether its rows can be packed; those of pairs and of cross-attention cannot.
    packs: bool,
}

/// Some ways of one stage.
fn stage_goes_on(place: &Place, stage: &Stage<'_>, ways: &[&str], number: &mut usize) {
    let Stage { name: stage, config, init, packs } = *stage;
    let last = last();
    for (way, set) in ways.iter().enumerate().filter(|(_, set)| packs || !set.contains("packing")) {
        let whole = format!("{stage}-{way}");
        let init = init.map_or_else(String::new, |init| format!(" --init {init}"));
        place.ok(&format!(
            "{stage} --config {config}{init} -q --run-dir whole {set} --set train.steps={last} --set checkpoint.keep=0 \
             --set checkpoint.every=1"
        ));
        let expected = place.final_state("whole", last);
        for step in breaks(*number) {
            let part = format!("part-{step}");
            copy_until(place, &part, step);
            place.ok(&format!("{stage} --resume {part} -q"));
            assert!(place.final_state(&part, last) == expected, "{config}, {set}: resumed at step {step}");
            assert_eq!(place.losses(&part), place.losses("whole"), "{config}, {set}: resumed at step {step}");
            fs_err::remove_dir_all(place.path(&part)).expect("removed");
        }
        *number += 1;
        fs_err::rename(place.path("whole"), place.path(&whole)).expect("renamed");
    }
}

/// The configurations of three stages; `more` is of the model's.
fn place_with(connector: &str, more: &str) -> Place {
    let place = Place::new();
    place.write("first.toml", format!("extends = \"tiny.toml\"\n\n[model.connector]\n{connector}{more}").as_bytes());
    place.write("second.toml", later("llava-instruct", "template = 'vicuna_v1'", "").as_bytes());
    place.write("third.toml", later("rlaif-v", "", PREFERENCE).as_bytes());
    place
}

fn every_stage_goes_on((name, connector): (&str, &str), first: usize) {
    let place = place_with(connector, "");
    let packs = name != "cross_attention";
    let stages = [
        Stage { name: "pretrain", config: "first.toml", init: None, packs },
        Stage { name: "sft", config: "second.toml", init: Some("pretrain-0"), packs },
        Stage { name: "dpo", config: "third.toml", init: Some("sft-0"), packs: false },
    ];
    let mut number = first;
    for stage in &stages {
        stage_goes_on(&place, stage, &WAYS, &mut number);
    }
}

#[test]
fn every_stage_goes_on_with_an_mlp() {
    every_stage_goes_on(CONNECTORS[0], 0);
}

#[test]
fn every_stage_goes_on_with_a_q_former() {
    every_stage_goes_on(CONNECTORS[1], 1);
}

#[test]
fn every_stage_goes_on_with_cross_attention() {
    every_stage_goes_on(CONNECTORS[2], 2);
}

#[test]
fn every_stage_goes_on_however_it_is_tuned() {
    let place = place_with(CONNECTORS[0].1, "\n[model.decoder.arch]\nnum_hidden_layers = 2\n");
    place.ok("pretrain --config first.toml -q --run-dir before --set train.steps=2");
    place.ok("sft --config second.toml --init before -q --run-dir between --set train.steps=2");
    let stages = [
        Stage { name: "pretrain", config: "first.toml", init: None, packs: true },
        Stage { name: "sft", config: "second.toml", init: Some("before"), packs: true },
        Stage { name: "dpo", config: "third.toml", init: Some("between"), packs: false },
    ];
    for (number, stage) in stages.iter().enumerate() {
        stage_goes_on(&place, stage, &TUNINGS, &mut { number });
    }
}

/// The share of each rank follows from the whole batch; sums of gradients are rounded in another order.
#[test]
fn ranks_change_no_batch() {
    let place = Place::new();
    let of_ranks = |ranks: usize| {
        let run = format!("ranks-{ranks}");
        place.ok(&format!(
            "pretrain --config tiny.toml -q --run-dir {run} --set train.ranks={ranks} --set train.micro_batch_size=1"
        ));
        let state: Value = serde_json::from_slice(&place.final_state(&run, 12)[2]).expect("JSON");
        (place.losses(&run), state)
    };
    let (losses, state) = of_ranks(1);
    for ranks in [2, 4] {
        let (of_these, theirs) = of_ranks(ranks);
        assert_eq!((&theirs["cursor"], &theirs["step"]), (&state["cursor"], &state["step"]), "{ranks} ranks");
        assert_eq!(of_these.len(), losses.len());
        let apart = of_these.iter().zip(&losses).map(|((_, a), (_, b))| (a - b).abs() / b.abs()).fold(0.0, f64::max);
        assert!(apart < 1e-5, "{ranks} ranks: losses {apart} apart");
    }
}

#[test]
fn workers_and_prefetched_steps_change_no_batch() {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --run-dir whole --set data.packing=true");
    for (workers, prefetched) in [(1, 1), (2, 16), (8, 2)] {
        let run = format!("run-{workers}-{prefetched}");
        place.ok(&format!(
            "pretrain --config tiny.toml -q --run-dir {run} --set data.packing=true --set data.workers={workers} \
             --set data.prefetch_steps={prefetched}"
        ));
        assert!(place.final_state(&run, 12) == place.final_state("whole", 12), "{workers} workers, {prefetched} steps");
    }
}
