//! Adapters in every part: against one graph, with and without recomputing, and what they cost.

use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::lora::dropout::key_of;
use mmtrain_model::params::{FlatTensors, Part, Tuned};

use super::lora;
use super::samples::{Samples, noise};
use super::sizes::{Tower, connectors, decoders, llama, model_config, siglip, towers};
use super::whole::{ALL, assert_equal, mean, model_of, one_graph, plan, values};
use crate::driver::{Trained, forward_backward};
use crate::memory::{Copies, KeepPlan, MicroShape, estimate};
use crate::optimizer::{AdamW, AdamWConfig, PartRates, Update};

const ADAPTERS: Trained = Trained { encoder: Tuned::Adapters, connector: Tuned::Adapters, decoder: Tuned::Adapters };

/// With adapters that add something in the parts that are asked for.
fn adapted(config: &VlmConfig, lora: &LoraConfig, parts: &[Part]) -> Vlm {
    opened(model_of(config), lora, parts)
}

/// A model with adapters that add something.
pub(super) fn opened(model: Vlm, lora: &LoraConfig, parts: &[Part]) -> Vlm {
    parts.iter().fold(model, |model, &part| {
        let model = model.with_adapters(part, lora).expect("there are layers").with_fresh_adapters(part, 3);
        model.assign(part, &mut |info| {
            let own = (0..info.elements()).map(|i| 0.2 * noise(info.name.len(), i)).collect::<Vec<_>>();
            let own = burn::tensor::Tensor::from_data(own.as_slice(), &burn::tensor::Device::flex());
            info.name.ends_with("lora_B.weight").then_some(own)
        })
    })
}

fn of_adapters(gradients: FlatTensors) -> FlatTensors {
    gradients.into_iter().filter(|(name, _)| name.contains(".lora_")).collect()
}

#[track_caller]
fn check(tower: &Tower, config: &VlmConfig, lora: &LoraConfig, what: &str) {
    let (model, batch) = (adapted(config, lora, &Part::ALL), Samples { config, media: &tower.media }.batch(0..4));
    let (_, expected) = one_graph(&model, &batch);
    let expected = of_adapters(expected);
    for keep in [0, 1, 9] {
        let (_, result) = mean(&model, &batch, &plan(ADAPTERS, keep));
        assert_equal(&result.gradients, &expected, 1e-5, &format!("{what}, {lora}, {keep} kept"));
    }
}

#[test]
fn gradients_are_those_of_one_graph_for_every_tower_and_connector() {
    let (_, text) = decoders().swap_remove(4);
    for tower in towers() {
        let connectors = connectors(&text).into_iter().filter(|(name, _)| ["MLP", "merger"].contains(name));
        for (name, connector) in connectors {
            if let Some(config) = model_config(&tower, &connector, &text) {
                check(&tower, &config, &lora(), &format!("{}, {name}", tower.name));
            }
        }
    }
    for (name, connector) in connectors(&llama()).iter().filter(|(name, _)| *name != "merger") {
        let config = model_config(&siglip(), connector, &llama()).expect("SigLIP takes them all");
        check(&siglip(), &config, &LoraConfig { use_dora: true, ..lora() }, name);
    }
}

pub(super) fn simple() -> (Tower, VlmConfig) {
    let connector = connectors(&llama()).into_iter().find(|(name, _)| *name == "MLP").expect("it is there").1;
    let config = model_config(&siglip(), &connector, &llama()).expect("they go together");
    (siglip(), config)
}

#[test]
fn parts_with_adapters_go_with_frozen_and_with_trained_ones() {
    let (tower, config) = simple();
    let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
    for bits in 1..8 {
        let [encoder, connector, decoder] = [1, 2, 4].map(|bit| bits & bit > 0);
        let parts =
            [encoder, connector, decoder].into_iter().zip(Part::ALL).filter(|(on, _)| *on).map(|(_, part)| part);
        let parts = parts.collect::<Vec<_>>();
        let model = adapted(&config, &lora(), &parts);
        let all = forward_backward(&model, &batch, &plan(ALL, 3), 30.0).expect("they fit").gradients;
        for others in [Tuned::Frozen, Tuned::Full] {
            let tuned = |on| if on { Tuned::Adapters } else { others };
            let trained = Trained { encoder: tuned(encoder), connector: tuned(connector), decoder: tuned(decoder) };
            let is_wanted = |name: &str| {
                let part = Part::ALL.into_iter().find(|part| name.starts_with(part.prefix())).expect("of a part");
                parts.contains(&part) && name.contains(".lora_") || !parts.contains(&part) && others == Tuned::Full
            };
            let expected = all.iter().filter(|(name, _)| is_wanted(name));
            let expected = expected.map(|(name, gradient)| (name.clone(), gradient.clone())).collect();
            for keep in [0, 1, 3] {
                let run = forward_backward(&model, &batch, &plan(trained, keep), 30.0).expect("they fit");
                assert_equal(&run.gradients, &expected, 2e-6, &format!("{trained:?}, {keep} kept"));
            }
        }
    }
}

#[test]
fn adapters_of_the_last_block_alone_need_no_graph_below_it() {
    let (tower, config) = simple();
    let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
    let last = format!("layers.{}.self_attn.q_proj", config.text.num_hidden_layers - 1);
    let lora = LoraConfig { targets: Some(vec![last.clone()]), ..lora() };
    let model = adapted(&config, &lora, &[Part::Decoder]);
    let trained = Trained { decoder: Tuned::Adapters, ..Trained::NOTHING };
    let all = of_adapters(forward_backward(&model, &batch, &plan(ALL, 3), 30.0).expect("they fit").gradients);
    for keep in [0, 3] {
        let gradients = forward_backward(&model, &batch, &plan(trained, keep), 30.0).expect("they fit").gradients;
        assert!(gradients.keys().all(|name| name.contains(&last)) && gradients.len() == 2);
        assert_equal(&gradients, &all, 2e-6, "the last block");
    }
}

#[test]
fn dropout_is_the_same_when_a_block_runs_again_and_another_for_another_micro_batch() {
    let (tower, config) = simple();
    let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
    let model = adapted(&config, &LoraConfig { dropout: 0.3, ..lora() }, &Part::ALL);
    let gradients = |key: Option<i64>, keep| {
        let model = key.map_or_else(|| model.clone(), |key| model.for_pass(key));
        forward_backward(&model, &batch, &plan(ADAPTERS, keep), 30.0).expect("they fit").gradients
    };
    let [first, second] = [0, 1].map(|micro| key_of(42, 7, micro));
    let kept = gradients(Some(first), 9);
    for keep in [0, 1] {
        assert_equal(&gradients(Some(first), keep), &kept, 2e-6, "recomputed");
    }
    let differs = |other: &FlatTensors| kept.iter().any(|(name, gradient)| values(gradient) != values(&other[name]));
    assert!(differs(&gradients(Some(second), 9)) && differs(&gradients(None, 9)));
}

/// By hand: `rank * (input + output)` numbers for each layer, f32, once for the gradients and twice for the moments.
#[test]
fn what_adapters_cost_is_what_the_estimate_says_and_what_a_step_holds() {
    let (tower, config) = simple();
    let (lora, part) = (lora(), Part::Decoder);
    let model = adapted(&config, &lora, &[part]);
    let text = &config.text;
    let (hidden, inner) = (text.hidden_size, text.intermediate_size);
    let (query, kv) = (text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim);
    let layers = [
        (hidden, query),
        (hidden, kv),
        (hidden, kv),
        (query, hidden),
        (hidden, inner),
        (hidden, inner),
        (inner, hidden),
    ];
    let of_block = layers.iter().map(|(input, output)| lora.rank * (input + output)).sum::<usize>();
    let numbers = (text.num_hidden_layers * of_block) as u64;

    let trained = Trained { decoder: Tuned::Adapters, ..Trained::NOTHING };
    let shape = MicroShape {
        batch: 1,
        seq: 8,
        images: 1,
        ranks: 1,
        passes: 1,
        scores: true,
        width: 4,
        copies: Copies { encoder: 0, decoder: 0 },
    };
    let needed = estimate(&model, trained, shape, KeepPlan { encoder: 0, decoder: 0 }, 8);
    let plain = estimate(&model_of(&config), Trained::NOTHING, shape, KeepPlan { encoder: 0, decoder: 0 }, 8);
    assert_eq!(needed.weights - plain.weights, 4 * numbers);
    assert_eq!((needed.gradients, needed.optimizer), (4 * numbers, 8 * numbers));

    let batch = Samples { config: &config, media: &tower.media }.batch(0..4);
    let gradients = forward_backward(&model, &batch, &plan(trained, 0), 30.0).expect("they fit").gradients;
    let held = |tensors: &FlatTensors| tensors.values().map(|tensor| tensor.dims()[0] as u64).sum::<u64>();
    assert_eq!(held(&gradients), numbers);
    let mut optimizer = AdamW::default();
    let rates = [(part, PartRates { lr: 1e-3, weight_decay: 0.0 })].into();
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let mut updated = model.clone();
    optimizer.update(&mut updated, &gradients, Update { factor: 1.0, config, rates: &rates }, None);
    let pairs = model.params(part).into_iter().zip(updated.params(part));
    let changed = pairs.filter(|(old, new)| old.value.to_data() != new.value.to_data());
    assert!(changed.into_iter().all(|(old, _)| old.info.is_adapter()));
    assert_eq!((held(&optimizer.exp_avg), held(&optimizer.exp_avg_sq)), (numbers, numbers));
}
