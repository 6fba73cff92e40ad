//! Every shipped configuration resolves, by path and by name.

use mmtrain_config::presets;

use crate::support::Place;

#[test]
fn every_configuration_checks_by_path_and_by_name() {
    let place = Place::new();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");
    // Published models read longer rows than the tiny one.
    let longer = "--set model.decoder.arch.max_position_embeddings=8192";
    place.ok(&format!("pretrain --config tiny.toml --run-dir run -q --set train.steps=1 {longer}"));
    for preset in presets() {
        // Later stages have the model of the run that they start from; this one is not what each of them asks for.
        let (how, init) = if preset.follows() { ("show", "--init run") } else { ("check", "") };
        place.ok(&format!("config {how} {dir}/{}.toml {init}", preset.name));
        place.ok(&format!("config {how} {} {init}", preset.name));
    }
}

#[test]
fn the_real_job_says_exactly_what_is_missing() {
    let place = Place::new();
    place.fails(
        "pretrain --config cc3m.toml",
        3,
        &[
            "datasets/cc3m",
            "model.encoder.weights",
            "model.decoder.weights",
            "clip-vit-large-patch14-336",
            "hint:",
            "mmtrain data synth",
        ],
    );
    place.fails("pretrain --config cc3m.toml --dry-run", 3, &["model.encoder.weights"]);
    let said = place.run("pretrain --config cc3m.toml").stderr;
    assert_eq!(said.matches("no data for source `cc3m`").count(), 1, "{said}");
    for repository in ["openai/clip-vit-large-patch14-336", "lmsys/vicuna-7b-v1.5"] {
        assert!(said.contains(&format!("`hf download {repository} ")), "{said}");
    }
    assert!(said.contains("`mmtrain fetch hf:llava-hf/llava-1.5-7b-hf --out "), "{said}");
    assert!(!said.contains("ORG"), "{said}");
}
