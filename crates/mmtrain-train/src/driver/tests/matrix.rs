//! Every encoder with every connector that goes with it, on every decoder: block by block as in one graph.

use std::collections::BTreeMap;

use mmtrain_media::MediaLayout;
use mmtrain_model::config::{ConnectorConfig, EncoderConfig, TextConfig, VlmConfig};

use super::samples::Samples;
use super::sizes::{Tower, connectors, decoders, llama, model_config, spliced, towers};
use super::whole::{ALL, assert_one_graph, model_of, plan};
use crate::driver::forward_backward;

/// The models of one decoder, with the media that go with them.
pub(super) fn models(text: &TextConfig) -> Vec<(String, Tower, VlmConfig)> {
    let pairs = towers().into_iter().flat_map(|tower| {
        connectors(text).into_iter().filter_map(move |(name, connector)| {
            let config = model_config(&tower, &connector, text)?;
            Some((format!("{}, {name}", tower.name), tower.clone(), config))
        })
    });
    pairs.collect()
}

#[track_caller]
fn every_model_of(decoder: usize) {
    let (name, text) = decoders().swap_remove(decoder);
    for (parts, tower, config) in models(&text) {
        let samples = Samples { config: &config, media: &tower.media };
        assert_one_graph(&model_of(&config), &samples.batch(0..4), &format!("{parts}, {name}"));
    }
}

#[test]
fn before_llama() {
    every_model_of(0);
}

#[test]
fn before_qwen2() {
    every_model_of(1);
}

#[test]
fn before_mistral_with_a_window() {
    every_model_of(2);
}

#[test]
fn before_qwen3() {
    every_model_of(3);
}

#[test]
fn before_qwen2_with_positions_in_time_height_and_width() {
    let (_, text) = decoders().swap_remove(4);
    let models = models(&text).into_iter().filter(|(.., config)| matches!(config.encoder, EncoderConfig::QwenVl(_)));
    let mut multimodal = 0;
    for (name, tower, config) in models {
        multimodal += usize::from(config.is_multimodal_rope());
        let samples = Samples { config: &config, media: &tower.media };
        assert_one_graph(&model_of(&config), &samples.batch(0..4), &name);
    }
    // Merger and pixel shuffle, behind two towers.
    assert_eq!(multimodal, 4);
}

/// What is left out is known: a combination that a check refuses by mistake would be missed here only.
#[test]
fn only_squares_of_patches_and_mergers_ask_for_an_encoder_of_their_kind() {
    let (_, text) = decoders().swap_remove(0);
    let mut found = BTreeMap::<String, usize>::new();
    for (.., config) in models(&text) {
        let kind = match config.connector {
            ConnectorConfig::Mlp(mlp) => format!("MLP {}", mlp.pixel_shuffle),
            ConnectorConfig::Merger => "merger".into(),
            _ => "any".into(),
        };
        *found.entry(kind).or_default() += 1;
    }
    let towers = towers().len();
    // No squares in EVA's class token, pooled frames, Mllama's class token and sound.
    let expected = [("MLP 1", towers), ("MLP 2", towers - 5), ("any", 5 * towers), ("merger", 2)];
    assert_eq!(found, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}

#[test]
fn patches_that_do_not_fill_squares_are_an_error() {
    let any_size = towers().into_iter().find(|tower| tower.name.starts_with("DINOv2")).expect("it is there");
    let tower = Tower { media: vec![MediaLayout::Square { side: 12 }], ..any_size };
    for (name, connector) in spliced() {
        let config = model_config(&tower, &connector, &llama()).expect("they go together");
        let batch = Samples { config: &config, media: &tower.media }.batch(0..2);
        let result = forward_backward(&model_of(&config), &batch, &plan(ALL, 0), 1.0);
        match result.map_err(|error| error.to_string()) {
            Ok(_) => assert_ne!(name, "MLP with pixel shuffle"),
            Err(message) => {
                assert!(message.contains("3 x 3 patches") && message.contains("squares of 2 x 2"), "{message}");
            }
        }
    }
}
