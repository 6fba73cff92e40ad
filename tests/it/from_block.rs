//! Parts that are trained from a block on.

use serde_json::Value;

use crate::support::Place;

const RUN: &str = "pretrain --config deep.toml -q --set train.steps=6";
const FROM: &str =
    "--set train.encoder.tuning={full={lr=1e-2,from_block=2}} --set train.decoder.tuning={full={lr=1e-2,from_block=1}}";

fn place() -> Place {
    let place = Place::new();
    let deep = "extends = \"tiny.toml\"\n[model.encoder.arch]\nnum_hidden_layers = 3\n[model.decoder.arch]\nnum_hidden_layers = 2\n";
    place.write("deep.toml", deep.as_bytes());
    place
}

fn tensors(place: &Place, file: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = place.read(file);
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut all = tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect::<Vec<_>>();
    all.sort();
    all
}

#[test]
fn blocks_below_stay_and_a_resumed_run_ends_bit_identical() {
    let place = place();
    place.ok(&format!("{RUN} {FROM} --run-dir whole --set checkpoint.every=1 --set checkpoint.keep=0"));
    let (first, last) = ("whole/step-00000001", "whole/step-00000006");
    let weights = |dir: &str| tensors(&place, &format!("{dir}/model.safetensors"));
    for ((name, before), (_, after)) in weights(first).into_iter().zip(weights(last)) {
        let trained = ["layers.1.", "layers.2."]
            .iter()
            .any(|block| name.contains(block) && !(name.starts_with("vision_tower") && *block == "layers.1."));
        let connector = name.starts_with("multi_modal_projector");
        assert_eq!(before != after, trained || connector, "{name}");
    }
    let moments = tensors(&place, &format!("{last}/optim.safetensors"));
    assert!(moments.iter().all(|(name, _)| !name.contains("layers.0.") && !name.contains("embed")), "{moments:?}");
    place.ok(&format!("{RUN} {FROM} --run-dir cut --set train.steps=2"));
    place.ok("pretrain --resume cut -q --set train.steps=6");
    assert!(place.final_state("cut", 6)[..2] == place.final_state("whole", 6)[..2]);
    place.ok("eval --model cut --data data --limit 4");
}

#[test]
fn the_ledger_says_it_and_a_block_that_is_not_there_is_refused() {
    let place = place();
    let plan = place.ok(&format!("{RUN} {FROM} --dry-run --json")).stdout;
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let encoder = &plan["ledger"].as_array().expect("rows")[0];
    let tuning = encoder["tuning"].as_str().expect("text");
    assert!(tuning.starts_with("from block 2 on, ") && tuning.ends_with(", lr 1e-2, weight decay 0.01"), "{tuning}");
    assert!(encoder["trained"].as_u64() < encoder["parameters"].as_u64(), "{encoder}");
    for (tuning, words) in [
        ("train.encoder.tuning={full={lr=1e-2,from_block=3}}", "the encoder has 3 blocks"),
        ("train.connector.tuning={full={lr=1e-2,from_block=0}}", "the connector has 0 blocks"),
    ] {
        for dry in ["", "--dry-run"] {
            place.fails(&format!("{RUN} --run-dir none --set {tuning} {dry}"), 2, &[words, "from_block", "hint:"]);
        }
    }
}
