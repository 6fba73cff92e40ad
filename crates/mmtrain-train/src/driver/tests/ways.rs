//! Ways to compute the same step: with graphs or without, whole or cut, in other numbers.

use burn::tensor::DType;
use mmtrain_config::LossReduction;
use mmtrain_data::HostBatch;
use mmtrain_model::config::{ConnectorConfig, CrossAttentionConfig, TextConfig, Unseen, VlmConfig};
use mmtrain_model::params::{FlatTensors, Tuned, accumulate};

use super::samples::Samples;
use super::sizes::{
    Tower, connectors, cross_attention, decoders, llama, model_config, resampled, siglip, spliced, towers,
};
use super::whole::{ALL, assert_equal, mean, model_of, plan};
use crate::driver::{Plan, Trained, forward_backward, forward_sums};
use crate::objective::{Averaged, supervised};
use crate::ranks::Ranks;

/// A connector of each kind behind the simplest tower.
fn kinds() -> Vec<(&'static str, Tower, VlmConfig)> {
    let text = llama();
    let zeroed = CrossAttentionConfig { unseen: Unseen::Zeroed, ..resampled(&text) };
    let mut kinds = spliced();
    kinds.push(("cross-attention", ConnectorConfig::CrossAttention(cross_attention(&text))));
    kinds.push(("cross-attention, resampled", ConnectorConfig::CrossAttention(zeroed)));
    let config = |connector| model_config(&siglip(), connector, &text).expect("SigLIP takes them all");
    kinds.iter().map(|(name, connector)| (*name, siglip(), config(connector))).collect()
}

/// Every tower with its simplest connector and with cross-attention.
fn encoders(text: &TextConfig) -> Vec<(String, Tower, VlmConfig)> {
    let connectors =
        connectors(text).into_iter().filter(|(name, _)| ["MLP", "merger", "cross-attention"].contains(name));
    let connectors = connectors.collect::<Vec<_>>();
    let pairs = towers().into_iter().flat_map(|tower| {
        let models = connectors.iter().filter_map(|(name, connector)| {
            Some((format!("{}, {name}", tower.name), tower.clone(), model_config(&tower, connector, text)?))
        });
        models.collect::<Vec<_>>()
    });
    pairs.collect()
}

#[test]
fn recomputing_agrees_with_keeping_and_with_a_part_of_each() {
    let (_, text) = decoders().swap_remove(4);
    for (name, tower, config) in encoders(&text) {
        let (model, batch) = (model_of(&config), Samples { config: &config, media: &tower.media }.batch(0..4));
        let gradients = |keep| forward_backward(&model, &batch, &plan(ALL, keep), 30.0).expect("they fit").gradients;
        let kept = gradients(9);
        for keep in [0, 1] {
            // Not to the bit: norms round differently with and without a tape. So the choice is recorded in the run.
            assert_equal(&kept, &gradients(keep), 2e-6, &name);
        }
    }
}

#[test]
fn a_step_does_not_depend_on_how_it_is_cut() {
    for (name, tower, config) in kinds() {
        let (model, samples) = (model_of(&config), Samples { config: &config, media: &tower.media });
        let cut = |micro: usize| (0..8).step_by(micro).map(move |start| samples.batch(start..start + micro));
        let tokens = samples.batch(0..8).supervised_tokens as f64;
        let step = |micro: usize, ranks: usize| {
            let ranks = Ranks::new(ranks).expect("threads");
            let batches = cut(micro).collect::<Vec<_>>();
            let result = ranks.step(&model, &batches, &plan(ALL, 3), tokens.into()).expect("they fit");
            let losses = result.sums.iter().map(|sums| sums.clone().read().0);
            (losses.sum::<f64>() / tokens, result.gradients)
        };
        let (loss, expected) = step(8, 1);
        for (micro, ranks) in [(1, 1), (4, 1), (4, 2), (1, 3)] {
            let (ours, gradients) = step(micro, ranks);
            assert!((ours - loss).abs() < 1e-6 * loss, "{name}: {ours} vs {loss}");
            assert_equal(&gradients, &expected, 1e-6, name);
        }
    }
}

#[test]
fn weighed_by_its_length_an_answer_counts_the_same_however_the_step_is_cut() {
    let (name, tower, config) = kinds().swap_remove(0);
    let (model, samples) = (model_of(&config), Samples { config: &config, media: &tower.media });
    for reduction in [LossReduction::Square, LossReduction::Answer] {
        let step = |micro: usize, ranks: usize| {
            let batches = (0..8).step_by(micro).map(|start| samples.batch(start..start + micro)).collect::<Vec<_>>();
            let (ranks, mean) = (Ranks::new(ranks).expect("threads"), Averaged::over(&batches, reduction));
            ranks.step(&model, &batches, &plan(ALL, 3), mean).expect("they fit").gradients
        };
        let expected = step(8, 1);
        for (micro, ranks) in [(1, 1), (4, 2)] {
            assert_equal(&step(micro, ranks), &expected, 1e-6, name);
        }
    }
}

#[test]
fn the_mean_over_answers_is_the_mean_of_their_means() {
    let (name, tower, config) = kinds().swap_remove(0);
    let (model, samples) = (model_of(&config), Samples { config: &config, media: &tower.media });
    let answers = |batch| supervised(batch).index.chunk_by(|before, after| before + 1 == *after).count();
    let alone = (0..4).map(|index| samples.batch(index..index + 1)).collect::<Vec<_>>();
    let lengths = alone.iter().map(|batch| batch.supervised_tokens).collect::<Vec<_>>();
    assert!(lengths.iter().any(|length| *length != lengths[0]), "{lengths:?} are no test");
    let whole = [samples.batch(0..4)];
    let gradients = |batch: &HostBatch, mean: Averaged| {
        forward_backward(&model, batch, &plan(ALL, 3), mean).expect("fits").gradients
    };
    let mut expected = FlatTensors::new();
    for batch in &alone {
        let share = answers(batch) as f32 / answers(&whole[0]) as f32;
        let of_one = gradients(batch, Averaged::over(std::slice::from_ref(batch), LossReduction::Answer));
        if answers(batch) == 1 {
            assert_equal(&of_one, &gradients(batch, (batch.supervised_tokens as f64).into()), 1e-6, name);
        }
        for (name, value) in of_one {
            accumulate(&mut expected, name, value * share);
        }
    }
    assert_equal(&gradients(&whole[0], Averaged::over(&whole, LossReduction::Answer)), &expected, 1e-6, name);
}

#[test]
fn the_loss_without_a_tape_is_the_same() {
    for (name, tower, config) in kinds() {
        let (model, batch) = (model_of(&config), Samples { config: &config, media: &tower.media }.batch(0..4));
        let (taped, _) = mean(&model, &batch, &plan(ALL, 3));
        let plain = forward_sums(&model, &batch, &plan(ALL, 3)).expect("they fit").loss.into_scalar::<f32>();
        let plain = f64::from(plain) / batch.supervised_tokens as f64;
        assert!((taped / plain - 1.0).abs() < 1e-6, "{name}: {taped} vs {plain}");
    }
}

#[test]
fn bf16_activations_stay_near_f32() {
    let (_, text) = decoders().swap_remove(4);
    for (name, tower, config) in encoders(&text) {
        let (model, batch) = (model_of(&config), Samples { config: &config, media: &tower.media }.batch(0..4));
        let loss = |dtype, keep| mean(&model, &batch, &Plan { dtype, ..plan(ALL, keep) });
        let (expected, _) = loss(DType::F32, 9);
        for keep in [0, 9] {
            let (ours, result) = loss(DType::BF16, keep);
            assert!((ours / expected - 1.0).abs() < 0.02, "{name}: {ours} vs {expected}");
            assert!(result.gradients.values().all(|gradient| gradient.dtype() == DType::F32), "{name}");
        }
    }
}

#[test]
fn a_batch_without_media_trains_the_decoder_alone() {
    for (name, tower, config) in kinds() {
        let (model, samples) = (model_of(&config), Samples { config: &config, media: &tower.media });
        let text = samples.batch(0..1);
        assert!(text.media.is_empty());
        let decoder = Trained { decoder: Tuned::Full, ..Trained::NOTHING };
        let expected = forward_backward(&model, &text, &plan(decoder, 0), 5.0).expect("they fit").gradients;
        assert_eq!(expected.len(), model.infos(mmtrain_model::params::Part::Decoder).len(), "{name}");
        for keep in [0, 3] {
            let gradients = forward_backward(&model, &text, &plan(ALL, keep), 5.0).expect("they fit").gradients;
            assert_equal(&gradients, &expected, 1e-6, name);
        }
    }
}
