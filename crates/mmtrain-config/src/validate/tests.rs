//! What does not fit is said with every key that is part of it.

use super::*;
use crate::{Request, load};

/// The problems of the quickstart after some `--set`s.
#[track_caller]
fn check(sets: &[&str], expected: &str) {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    let request = Request { config: Some("quickstart"), sets: &sets, ..Request::default() };
    let issues = load(&request).expect_err("a conflict").0;
    let lines = issues.iter().map(|issue| match &issue.hint {
        Some(hint) => format!("{}\nhint: {hint}", issue.message),
        None => issue.message.clone(),
    });
    assert_eq!(lines.collect::<Vec<_>>().join("\n"), expected.trim());
}

#[test]
fn a_rank_needs_a_micro_batch() {
    check(
        &["train.global_batch_size=32", "train.micro_batch_size=8", "train.ranks=1000"],
        "
`train.ranks` (1000) is above the 4 micro-batches of a step (`train.global_batch_size` 32 / `train.micro_batch_size` 8)
hint: at most 4, or 0 for as many as there are cores",
    );
}

#[test]
fn epochs_of_packed_rows_cannot_be_counted() {
    check(
        &["train.epochs=1", "data.packing=true"],
        "
`train.epochs` says nothing about the steps of a run with `data.packing`
hint: set `train.steps`",
    );
}

#[test]
fn a_parameter_that_no_loss_has_is_refused() {
    let objective = |parameters: &str| format!("objective={{ kind = 'preference', {parameters} }}");
    check(
        &[&objective("loss = 'hinge', label_smoothing = 0.1, gamma = 1.0")],
        "
`objective.label_smoothing` is for \"sigmoid\", \"robust\", \"exo_pair\", \"aot\", \"aot_unpaired\", \"simpo\" and \"cpo\", `objective.loss` is \"hinge\"
hint: leave `objective.label_smoothing` out, or choose another loss
`objective.gamma` is for \"simpo\", `objective.loss` is \"hinge\"
hint: leave `objective.gamma` out, or choose another loss",
    );
    let sets = [objective("loss = 'hinge', gamma = 1.0, terms = [{ loss = 'simpo' }]")];
    assert!(
        load(&Request { config: Some("quickstart"), sets: &sets, ..Request::default() }).is_ok(),
        "an added loss has it"
    );
}

#[test]
fn a_decay_is_of_a_stable_rate() {
    check(
        &["schedule.decay_ratio=0.5"],
        "
`schedule.decay_ratio` is for `schedule.kind` \"warmup_stable_decay\"
hint: leave `schedule.decay_ratio` out, or set `schedule.kind = \"warmup_stable_decay\"`",
    );
}

#[test]
fn batch_sizes_have_to_divide() {
    check(
        &["train.global_batch_size=32", "train.micro_batch_size=5"],
        "
`train.global_batch_size` (32) is not a multiple of `train.micro_batch_size` (5)
hint: the nearest micro-batch that divides it: 4",
    );
    assert_eq!(nearest_divisor(10, 7), 5);
    assert_eq!(nearest_divisor(12, 5), 4);
    assert_eq!(nearest_divisor(7, 6), 7);
    assert_eq!(nearest_divisor(4, 16), 4);
}

#[test]
fn sizes_of_random_models_have_to_fit() {
    check(
        &["model.encoder.arch.num_attention_heads=3"],
        "`model.encoder.arch.hidden_size` (128) is not a multiple of `model.encoder.arch.num_attention_heads` (3)",
    );
    check(
        &["model.decoder.arch.num_key_value_heads=3"],
        "`model.decoder.arch.num_attention_heads` (4) is not a multiple of `model.decoder.arch.num_key_value_heads` (3)",
    );
    check(
        &["model.decoder.arch.hidden_size=12"],
        "
`model.decoder.arch.hidden_size` (12) / `model.decoder.arch.num_attention_heads` (4) gives heads of 3, which is odd
hint: rotary positions turn pairs of numbers: the size of a head must be even",
    );
    check(
        &["model.decoder.arch.head_dim=15"],
        "
`model.decoder.arch.head_dim` (15) is odd
hint: rotary positions turn pairs of numbers: the size of a head must be even",
    );
    check(
        &["model.decoder.arch.family=llama", "model.decoder.arch.sliding_window=64"],
        "
`model.decoder.arch.sliding_window` (64) does not go with family llama, which has no window
hint: `model.decoder.arch.family = \"mistral\"` is llama with a window",
    );
    check(
        &["model.connector.pixel_shuffle=4"],
        "
`model.connector.pixel_shuffle` (4) does not divide the 6 x 6 patches of the encoder
hint: one of 1, 2, 3, 6",
    );
    check(
        &["model.encoder.arch.patch_size=100"],
        "`model.encoder.arch.image_size` (72) is smaller than `model.encoder.arch.patch_size` (100)",
    );
    check(
        &["model.encoder.arch.family=clip", "model.encoder.arch.image_size=75"],
        "
`model.encoder.arch.image_size` (75) is not a multiple of `model.encoder.arch.patch_size` (12)
hint: 72 or 84",
    );
    check(
        &["model.encoder.feature_layer=-5"],
        "
`model.encoder.feature_layer` (-5) leaves no block of `model.encoder.arch.num_hidden_layers` (4)
hint: from -4 (the first block) to -1 (the last one)",
    );
}

#[test]
fn the_heads_of_a_q_former_have_to_divide_its_width() {
    check(
        &["model.connector={kind='q_former', hidden_size=100, num_attention_heads=3}"],
        "`model.connector.hidden_size` (100) is not a multiple of `model.connector.num_attention_heads` (3)",
    );
}

#[test]
fn cross_attention_has_a_layer() {
    check(
        &["model.connector={kind='cross_attention', interval=5}"],
        "
`model.connector.interval` (5) is above `model.decoder.arch.num_hidden_layers` (4)
hint: from 1 (a layer before each block) to 4 (one layer in all)",
    );
}

#[test]
fn a_border_that_is_no_patch_is_legal_for_siglip() {
    let sets = ["model.encoder.arch.image_size=75".to_owned()];
    let request = Request { config: Some("quickstart"), sets: &sets, ..Request::default() };
    let arch = load(&request).map(|resolved| resolved.config.model.encoder.arch);
    assert_eq!(arch.expect("legal").expect("an arch").num_patches(), 36);
}

#[test]
fn sequences_need_room_for_image_and_text() {
    check(&["data.max_seq=9"], "`data.max_seq` (9) leaves no room for text: an image takes 9 tokens");
    check(&["data.max_seq=4096"], "`data.max_seq` (4096) is above `model.decoder.arch.max_position_embeddings` (2048)");
}

#[test]
fn sources_need_names_of_their_own_and_known_models_of_synthesis() {
    check(
        &["data.sources.1={name='quickstart'}"],
        "`data.sources.1.name`: another source is called `quickstart` already",
    );
    check(
        &["data.sources=[]"],
        "
no data: `data.sources` is empty
hint: give `--data` a directory or a known data set, such as `cc3m`",
    );
    check(
        &["data.sources.0.synth.like=ccm3", "data.sources.0.synth.min_objects=5"],
        "
`data.sources.0.synth.min_objects` (5) is above `data.sources.0.synth.max_objects` (2)
`data.sources.0.synth.like`: no way to make data like `ccm3`
hint: did you mean \"cc3m\"?",
    );
}

#[test]
fn rows_are_not_packed_before_a_resampler() {
    let connector = "model.connector={kind='cross_attention', interval=2, num_latents=8}";
    check(
        &["data.packing=true", connector],
        "
`data.packing` does not go with cross-attention behind a resampler
hint: set `data.packing = false`, or leave `model.connector.num_latents` out",
    );
}

#[test]
fn features_are_kept_of_a_frozen_encoder_only() {
    check(
        &["train.feature_cache.max_gib=1", "train.encoder.tuning.full.lr=1e-5"],
        "
`train.feature_cache` is for an encoder that does not change, this one is trained
hint: leave `train.feature_cache` out, or set `train.encoder.tuning = \"frozen\"`",
    );
}

#[test]
fn something_has_to_be_trained_with_a_tokenizer() {
    let frozen = ["train.encoder.tuning=frozen", "train.connector.tuning=frozen", "train.decoder.tuning=frozen"];
    check(
        &frozen,
        "
nothing is trained: encoder, connector and decoder are frozen
hint: `train.connector.tuning = { full = { lr = 1e-3 } }` trains the connector",
    );
    check(
        &["model.decoder.weights=checkpoints/hf/x"],
        "
`model.tokenizer.train_bpe` does not go with `model.decoder.weights`, whose embeddings belong to its own tokens
hint: leave `model.tokenizer` out to use the tokenizer beside the weights",
    );
}
