//! Adapters beside packed weights: the same as beside the dense weights that these stand for.

use mmtrain_config::Quantization;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::params::{FlatTensors, Part, Tuned};

use super::adapters::{opened, simple};
use super::lora;
use super::samples::Samples;
use super::sizes::{Tower, connectors, decoders, llama, model_config, siglip, towers};
use super::whole::{assert_equal, mean, model_of, plan, values};
use crate::driver::{Trained, forward_logps};

const ADAPTERS: Trained = Trained { encoder: Tuned::Adapters, connector: Tuned::Adapters, decoder: Tuned::Adapters };

/// A model whose linear layers are packed, and one with the dense weights that come of them; with the same adapters.
fn both(config: &VlmConfig, lora: &LoraConfig, scheme: Quantization) -> (Vlm, Vlm) {
    let packed = Part::ALL.iter().fold(model_of(config), |model, &part| model.packed(part, scheme));
    let dense = Part::ALL.iter().fold(model_of(config), |model, &part| {
        let mut values = packed.params(part).into_iter().map(|param| (param.info.name, param.value));
        let mut values = values.by_ref().collect::<FlatTensors>();
        model.assign(part, &mut |info| values.remove(&info.name))
    });
    (opened(packed, lora, &Part::ALL), opened(dense, lora, &Part::ALL))
}

#[track_caller]
fn check(tower: &Tower, config: &VlmConfig, lora: &LoraConfig, what: &str) {
    let batch = Samples { config, media: &tower.media }.batch(0..4);
    for scheme in [Quantization::Int8, Quantization::Nf4] {
        let (packed, dense) = both(config, lora, scheme);
        let is_packed = |model: &Vlm| Part::ALL.map(|part| model.has_packed(part));
        let parts = is_packed(&packed);
        assert!(parts.contains(&true) && is_packed(&dense) == [false; 3]);
        for keep in [0, 1, 9] {
            let (expected_loss, expected) = mean(&dense, &batch, &plan(ADAPTERS, keep));
            let (loss, result) = mean(&packed, &batch, &plan(ADAPTERS, keep));
            assert!((loss - expected_loss).abs() <= 2e-6, "{what}, {scheme:?}, {keep} kept: {loss} {expected_loss}");
            assert_equal(&result.gradients, &expected.gradients, 2e-6, &format!("{what}, {scheme:?}, {keep} kept"));
        }
        assert_eq!(is_packed(&packed), parts, "nothing dense stays");
    }
}

#[test]
fn loss_and_gradients_are_those_beside_dense_weights_for_every_tower_and_connector() {
    let (_, text) = decoders().swap_remove(4);
    for tower in towers() {
        for (name, connector) in connectors(&text).iter().filter(|(name, _)| ["MLP", "merger"].contains(name)) {
            if let Some(config) = model_config(&tower, connector, &text) {
                check(&tower, &config, &lora(), &format!("{}, {name}", tower.name));
            }
        }
    }
    for (name, connector) in connectors(&llama()).iter().filter(|(name, _)| *name != "merger") {
        let config = model_config(&siglip(), connector, &llama()).expect("SigLIP takes them all");
        check(&siglip(), &config, &LoraConfig { use_dora: true, ..lora() }, name);
    }
}

#[test]
fn what_is_packed_is_not_packed_again() {
    let (_, config) = simple();
    for scheme in [Quantization::Int8, Quantization::Nf4] {
        let once = model_of(&config).packed(Part::Decoder, scheme);
        let twice = once.clone().packed(Part::Decoder, scheme);
        for (once, twice) in once.params(Part::Decoder).into_iter().zip(twice.params(Part::Decoder)) {
            assert!(values(&once.value) == values(&twice.value), "{scheme:?}: {}", once.info.name);
        }
    }
}

#[test]
fn layers_without_an_adapter_are_packed_too() {
    let (tower, config) = simple();
    let lora = LoraConfig { targets: Some(vec!["layers.2.self_attn.q_proj".into()]), ..lora() };
    let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
    let trained = Trained { decoder: Tuned::Adapters, ..Trained::NOTHING };
    let packed = opened(model_of(&config).packed(Part::Decoder, Quantization::Nf4), &lora, &[Part::Decoder]);
    let (_, result) = mean(&packed, &batch, &plan(trained, 3));
    assert_eq!(result.gradients.len(), 2);
    let all = packed.packable_infos(Part::Decoder).len();
    assert_eq!(all, 7 * config.text.num_hidden_layers);
}

#[test]
fn without_its_adapters_the_model_is_the_reference_that_it_began_as() {
    let (tower, config) = simple();
    let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
    let base = Part::ALL.iter().fold(model_of(&config), |model, &part| model.packed(part, Quantization::Nf4));
    let fresh = Part::ALL.iter().fold(base.clone(), |model, &part| {
        model.with_adapters(part, &lora()).expect("there are layers").with_fresh_adapters(part, 3)
    });
    let plan = plan(ADAPTERS, 0);
    let logps = |model: &Vlm| forward_logps(model, &batch, &plan).expect("they fit").1;
    assert_eq!(logps(&base), logps(&fresh), "adapters begin as nothing");
}
