//! `model.connector.kind` switches the connector and nothing else needs to change; `model.encoder.second` adds a tower.

use std::path::Path;

use serde_json::Value;

use crate::support::Place;

/// The tiny run with another connector.
fn place_with(connector: &str) -> Place {
    let place = Place::new();
    place.write("other.toml", format!("extends = \"tiny.toml\"\n\n[model.connector]\n{connector}").as_bytes());
    place
}

/// The tiny run with two towers: one from random numbers, and the small CLIP of the parity fixtures.
fn place_with_two_towers() -> Place {
    let place = Place::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/clip_vision");
    for file in ["config.json", "model.safetensors"] {
        place.write(&format!("second/{file}"), &fs_err::read(fixture.join(file)).expect("a fixture"));
    }
    place.write(
        "other.toml",
        b"extends = 'tiny.toml'\n\n[model.encoder]\narch.image_size = 28\narch.patch_size = 7\n\
          second = { weights = 'second' }\n",
    );
    place
}

#[track_caller]
fn trains_resumes_and_describes(connector: &str, tokens: u64) {
    goes_all_the_way(&place_with(connector), tokens);
}

#[track_caller]
fn goes_all_the_way(place: &Place, tokens: u64) {
    let plan: Value =
        serde_json::from_str(&place.ok("pretrain --config other.toml --dry-run --json").stdout).expect("JSON");
    assert_eq!(plan["tokens_per_image"], tokens);

    // A rate that does not depend on the length of the run, so that a lengthened run is the same run.
    let constant = "--set schedule.kind=constant --set schedule.warmup_steps=2 -q";
    place.ok(&format!("pretrain --config other.toml --run-dir whole {constant}"));
    place.ok(&format!("pretrain --config other.toml --run-dir cut {constant} --set train.steps=6"));
    place.ok("pretrain --resume cut -q --set train.steps=12");
    for file in ["model.safetensors", "optim.safetensors"] {
        let read = |run: &str| place.read(&format!("{run}/step-00000012/{file}"));
        assert!(read("whole") == read("cut"), "{file}");
    }

    place.ok("generate --model whole --image whole/samples/0.jpg --max-new-tokens 4");
    place.ok("eval --model whole --data data --limit 4 --json");
    place.ok("inspect whole");
    place.ok("pretrain --config other.toml --init whole --run-dir next -q --set train.steps=2");
}

#[test]
fn q_former() {
    let connector =
        "kind = 'q_former'\nnum_queries = 3\nhidden_size = 12\nnum_hidden_layers = 2\nnum_attention_heads = 3\n";
    trains_resumes_and_describes(connector, 3);
}

#[test]
fn perceiver() {
    let connector = "kind = 'q_former'\nvariant = 'perceiver'\nnum_queries = 5\nhidden_size = 16\nnum_hidden_layers = 2\n\
                     num_attention_heads = 2\n";
    trains_resumes_and_describes(connector, 5);
}

#[test]
fn pixel_shuffle() {
    trains_resumes_and_describes("kind = 'mlp'\ndepth = 3\npixel_shuffle = 2\n", 1);
}

/// A decoder of three blocks, so that layers stand between some.
const THREE_BLOCKS: &str = "\n[model.decoder.arch]\nnum_hidden_layers = 3\n";

#[test]
fn cross_attention() {
    trains_resumes_and_describes(&format!("kind = 'cross_attention'\ninterval = 1\n{THREE_BLOCKS}"), 1);
}

#[test]
fn cross_attention_to_latents() {
    let connector = "kind = 'cross_attention'\ninterval = 2\nnum_latents = 3\nresampler_depth = 2\n";
    trains_resumes_and_describes(&format!("{connector}{THREE_BLOCKS}"), 1);
}

#[test]
fn cross_attention_learns_beside_frozen_parts() {
    let place = place_with(&format!("kind = 'cross_attention'\ninterval = 2\n{THREE_BLOCKS}"));
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen --set schedule.kind=constant";
    place.ok(&format!("pretrain --config other.toml --run-dir whole {frozen} -q"));
    place.ok(&format!("pretrain --config other.toml --run-dir cut {frozen} -q --set train.steps=4"));
    place.ok("pretrain --resume cut -q --set train.steps=12");
    assert!(place.final_state("whole", 12)[..2] == place.final_state("cut", 12)[..2]);
    let weights = place.read("whole/step-00000012/model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&weights).expect("safetensors");
    let gates = tensors.tensors().into_iter().filter(|(name, _)| name.ends_with("_gate")).collect::<Vec<_>>();
    // One layer with two of them, which began as zeros.
    assert_eq!(gates.len(), 2);
    assert!(gates.iter().all(|(_, gate)| gate.data() != [0; 4]), "{gates:?}");
    // Frozen parts lie elsewhere, which makes `inspect` end with 1.
    let report: Value = serde_json::from_str(&place.run("inspect whole --json --depth 2").stdout).expect("JSON");
    let tree = report["parts"][1]["tree"].to_string();
    assert!(tree.contains("layers.*") && tree.contains("projection"), "{tree}");
    place.fails(
        "pretrain --config other.toml --init whole --run-dir next --set model.connector.interval=1",
        2,
        &[
            "`model.connector` is not the connector of",
            "cross-attention before blocks [1], to all features",
            ": the configuration asks for cross-attention before blocks [0, 1, 2], to all features",
        ],
    );
}

#[test]
fn two_towers() {
    goes_all_the_way(&place_with_two_towers(), 16);
}

#[test]
fn two_frozen_towers_are_found_again_each_in_its_place() {
    let place = place_with_two_towers();
    let frozen = "--set train.encoder.tuning=frozen --set schedule.kind=constant";
    place.ok(&format!("pretrain --config other.toml --run-dir whole {frozen} -q"));
    place.ok(&format!("pretrain --config other.toml --run-dir cut {frozen} -q --set train.steps=4"));
    place.ok("pretrain --resume cut -q --set train.steps=12");
    assert!(place.final_state("whole", 12)[..2] == place.final_state("cut", 12)[..2]);
    let weights = place.read("whole/step-00000012/model.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&weights).expect("safetensors");
    assert!(!tensors.names().iter().any(|name| name.starts_with("vision_tower")));
    place.ok("generate --model whole --image whole/samples/0.jpg --max-new-tokens 4");
    // A later run finds both through the first one.
    place.ok(&format!("pretrain --config other.toml --init whole --run-dir next {frozen} -q --set train.steps=1"));
    place.ok("generate --model next --image whole/samples/0.jpg --max-new-tokens 4");
    let mut changed = place.read("second/model.safetensors");
    let end = changed.len();
    changed[end - 4..].copy_from_slice(&0.25_f32.to_le_bytes());
    place.write("second/model.safetensors", &changed);
    let words = ["the weights of the frozen encoder are not those this run was made with"];
    place.fails("generate --model whole --image whole/samples/0.jpg", 3, &words);
}

#[test]
fn towers_that_see_other_patches_are_refused_with_both_numbers() {
    let place = place_with_two_towers();
    let words = ["28 pixels", "16 features, in patches of 7", "4, in patches of 14"];
    place.edit("second/config.json", "\"patch_size\": 7", "\"patch_size\": 14");
    place.fails("pretrain --config other.toml --dry-run", 2, &words);
    let missing = ["no weights for `model.encoder.second.weights` at `nowhere`"];
    place.fails("pretrain --config other.toml --set model.encoder.second.weights=nowhere --dry-run", 3, &missing);
}

#[test]
fn weights_with_another_connector_than_the_configuration_says_are_refused() {
    let place = place_with(
        "kind = 'q_former'\nnum_queries = 3\nhidden_size = 12\nnum_hidden_layers = 2\nnum_attention_heads = 3\n",
    );
    place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    let words = ["`model.connector` is not the connector of", "a Q-Former of 2 layers with 3 queries", "hint:"];
    let kinds = "\n  `model.connector.kind`: \"mlp\", the model has \"q_former\"\nhint:";
    let words = [&words[..], &[kinds]].concat();
    place.fails("pretrain --config tiny.toml --init run --run-dir next", 2, &words);
    place.fails("pretrain --config tiny.toml --init run --run-dir next --dry-run", 2, &words);
}

#[test]
fn what_llava_cannot_express_does_not_pretend_to_be_llava() {
    let place = place_with("kind = 'mlp'\npixel_shuffle = 2\n");
    place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    let config: Value = serde_json::from_slice(&place.read("run/step-00000001/config.json")).expect("JSON");
    assert_eq!(config["model_type"], "mmtrain_vlm");
}
