//! `model.connector.kind` switches the connector and nothing else needs to change.

use serde_json::Value;

use crate::support::Place;

/// The tiny run with another connector.
fn place_with(connector: &str) -> Place {
    let place = Place::new();
    place.write("other.toml", format!("extends = \"tiny.toml\"\n\n[model.connector]\n{connector}").as_bytes());
    place
}

#[track_caller]
fn trains_resumes_and_describes(connector: &str, tokens: u64) {
    let place = place_with(connector);
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

#[test]
fn weights_with_another_connector_than_the_configuration_says_are_refused() {
    let place = place_with(
        "kind = 'q_former'\nnum_queries = 3\nhidden_size = 12\nnum_hidden_layers = 2\nnum_attention_heads = 3\n",
    );
    place.ok("pretrain --config other.toml --run-dir run -q --set train.steps=1");
    let words = ["`model.connector` is not the connector of", "a Q-Former of 2 layers with 3 queries", "hint:"];
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
