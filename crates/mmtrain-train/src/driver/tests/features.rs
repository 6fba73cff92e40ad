//! Features that are kept give what the encoder itself gives, of every tower.

use std::path::Path;
use std::sync::Arc;

use mmtrain_model::params::{FlatTensors, Tuned};

use super::samples::Samples;
use super::sizes::{connectors, decoders, model_config, towers};
use super::whole::{ALL, mean, model_of, plan, values};
use crate::driver::{Plan, Trained};
use crate::features::FeatureCache;

const FROZEN_ENCODER: Trained = Trained { encoder: Tuned::Frozen, ..ALL };

fn cache(place: &Path) -> Arc<FeatureCache> {
    Arc::new(FeatureCache::open(place, 1 << 26, "tower").expect("opened"))
}

/// Loss and gradients, bit by bit.
fn bits(loss: f64, gradients: &FlatTensors) -> (u64, Vec<(String, Vec<u32>)>) {
    let gradients = gradients
        .iter()
        .map(|(name, gradient)| (name.clone(), values(gradient).into_iter().map(f32::to_bits).collect::<Vec<_>>()));
    (loss.to_bits(), gradients.collect())
}

#[test]
fn a_step_has_the_same_bits_without_a_cache_with_an_empty_one_and_with_a_full_one() {
    let (_, text) = decoders().swap_remove(0);
    for tower in towers() {
        let mut configs = connectors(&text).into_iter().filter_map(|(_, kind)| model_config(&tower, &kind, &text));
        let Some(config) = configs.next() else { continue };
        let model = model_of(&config);
        let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
        let place = tempfile::tempdir().expect("a directory");
        let run = |features| {
            let (loss, result) = mean(&model, &batch, &Plan { features, ..plan(FROZEN_ENCODER, 0) });
            bits(loss, &result.gradients)
        };
        let expected = run(None);
        let (empty, full) = (cache(place.path()), cache(place.path()));
        assert!(run(Some(empty.clone())) == expected, "{}: an empty cache", tower.name);
        assert!(run(Some(full.clone())) == expected, "{}: a full cache", tower.name);
        let media = batch.media.len() as u64;
        assert_eq!((empty.counts(), full.counts()), ((0, media), (media, 0)), "{}", tower.name);
    }
}

#[test]
fn features_do_not_depend_on_what_else_is_in_the_batch() {
    let (_, text) = decoders().swap_remove(0);
    for tower in towers() {
        let mut configs = connectors(&text).into_iter().filter_map(|(_, kind)| model_config(&tower, &kind, &text));
        let Some(config) = configs.next() else { continue };
        let model = model_of(&config);
        let samples = Samples { config: &config, media: &tower.media };
        let (whole, halves) = (samples.batch(0..4), [samples.batch(0..1), samples.batch(1..4)]);
        let place = tempfile::tempdir().expect("a directory");
        let cached = |batch, cache: &Arc<FeatureCache>| {
            let (loss, _) = mean(&model, batch, &Plan { features: Some(cache.clone()), ..plan(FROZEN_ENCODER, 0) });
            loss.to_bits()
        };
        let alone = mean(&model, &whole, &plan(FROZEN_ENCODER, 0)).0.to_bits();
        let filled = cache(place.path());
        halves.iter().filter(|half| !half.media.is_empty()).for_each(|half| {
            cached(half, &filled);
        });
        assert_eq!(cached(&whole, &filled), alone, "{}: encoded in other company", tower.name);
    }
}
