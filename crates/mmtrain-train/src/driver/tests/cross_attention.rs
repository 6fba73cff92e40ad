//! Layers between the decoder's blocks: what they leave alone, and what they learn first.

use mmtrain_data::HostBatch;
use mmtrain_model::Vlm;
use mmtrain_model::config::{ConnectorConfig, CrossAttentionConfig, Unseen, VlmConfig};
use mmtrain_model::params::Tuned;
use mmtrain_model::vlm::DecoderInput;

use super::samples::Samples;
use super::sizes::{IMAGE_ID, VOCAB, cross_attention, llama, model_config, resampled, siglip};
use super::whole::{ALL, assert_one_graph, fresh, mean, model_of, plan, values};
use crate::driver::{Trained, view};

/// With and without latents, for both habits towards tokens that see nothing.
fn configs() -> Vec<VlmConfig> {
    let text = llama();
    let habits = [Unseen::Zeroed, Unseen::MllamaAll];
    let configs = [cross_attention(&text), resampled(&text)].into_iter().flat_map(|config| {
        habits.map(|unseen| ConnectorConfig::CrossAttention(CrossAttentionConfig { unseen, ..config.clone() }))
    });
    configs.map(|connector| model_config(&siglip(), &connector, &text).expect("they go together")).collect()
}

fn batch(config: &VlmConfig) -> HostBatch {
    Samples { config, media: &siglip().media }.batch(0..4)
}

fn logits(model: &Vlm, batch: &HostBatch, with_media: bool) -> Vec<f32> {
    let input = model.prepare(&view(batch), None).expect("they fit");
    assert!(input.reading.is_some() && input.seen.is_some());
    let input = if with_media { input } else { DecoderInput { reading: None, seen: None, ..input } };
    model.logits(input).into_data().try_to_vec().expect("f32")
}

#[test]
fn fresh_layers_leave_the_language_model_as_it_was() {
    for config in configs() {
        let (fresh, open, batch) = (fresh(&config), model_of(&config), batch(&config));
        assert_eq!(logits(&fresh, &batch, true), logits(&fresh, &batch, false));
        assert_ne!(logits(&open, &batch, true), logits(&open, &batch, false));
    }
}

#[test]
fn of_a_fresh_connector_the_gates_learn_first() {
    for config in configs() {
        let (model, batch) = (fresh(&config), batch(&config));
        let trained = Trained { decoder: Tuned::Frozen, ..ALL };
        let (_, result) = mean(&model, &batch, &plan(trained, 0));
        let moves = |name: &str| values(&result.gradients[name]).iter().any(|value| *value != 0.0);
        let (gates, others) = result.gradients.keys().partition::<Vec<_>, _>(|name| name.ends_with("_gate"));
        assert_eq!(gates.len(), 2 * config.connector.num_layers());
        assert!(gates.iter().all(|name| moves(name)), "{gates:?}");
        assert!(!others.iter().any(|name| moves(name)));
    }
}

#[test]
fn a_marker_that_the_table_does_not_have_is_a_zero() {
    let connector = ConnectorConfig::CrossAttention(cross_attention(&llama()));
    let inside = model_config(&siglip(), &connector, &llama()).expect("they go together");
    let config = VlmConfig { image_token_id: VOCAB, ..inside };
    let mut batch = batch(&config);
    batch.input_ids.iter_mut().filter(|id| **id == IMAGE_ID).for_each(|id| *id = VOCAB as i32);
    let last = VOCAB as i32 - 1;
    assert!(batch.input_ids.contains(&(last + 1)) && !batch.input_ids.contains(&last));
    let model = model_of(&config);
    assert_one_graph(&model, &batch, "marker outside");
    let (_, result) = mean(&model, &batch, &plan(ALL, 0));
    let gradient = values(&result.gradients["language_model.model.embed_tokens.weight"]);
    let of_last = &gradient[gradient.len() - config.text.hidden_size..];
    assert!(of_last.iter().all(|value| *value == 0.0), "{of_last:?}");
}
