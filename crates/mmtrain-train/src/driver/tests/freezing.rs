//! Frozen parts get no gradients and change none of the others'.

use mmtrain_model::config::{ConnectorConfig, TextConfig};
use mmtrain_model::params::{FlatTensors, Part, Tuned, block_of};

use super::samples::Samples;
use super::sizes::{Tower, connectors, decoders, llama, model_config, siglip, towers};
use super::whole::{ALL, assert_equal, model_of, plan};
use crate::driver::{Trained, forward_backward};

/// What all of `gradients` are without those of frozen parts.
fn of_trained(gradients: &FlatTensors, trained: Trained) -> FlatTensors {
    let trains = |part, name: &str| match trained.part(part) {
        Tuned::From(first) => block_of(name).is_some_and(|block| block >= first),
        tuned => tuned.is_trained(),
    };
    let is_trained = |name: &str| Part::ALL.iter().any(|&part| trains(part, name) && name.starts_with(part.prefix()));
    let own = gradients.iter().filter(|(name, _)| is_trained(name));
    own.map(|(name, gradient)| (name.clone(), gradient.clone())).collect()
}

#[track_caller]
fn check(tower: &Tower, connector: &ConnectorConfig, text: &TextConfig, what: &str) {
    let config = model_config(tower, connector, text).expect("they go together");
    let (model, batch) = (model_of(&config), Samples { config: &config, media: &tower.media }.batch(0..4));
    let run = |trained, keep| forward_backward(&model, &batch, &plan(trained, keep), 30.0).expect("they fit").gradients;
    let all = run(ALL, 3);
    let frozen_or_not = (0..7).map(|bits| {
        let [encoder, connector, decoder] =
            [bits & 1, bits & 2, bits & 4].map(|bit| if bit > 0 { Tuned::Full } else { Tuned::Frozen });
        Trained { encoder, connector, decoder }
    });
    let from = [(Tuned::From(1), Tuned::Frozen), (Tuned::Frozen, Tuned::From(1)), (Tuned::From(1), Tuned::From(1))];
    let from = from.map(|(encoder, decoder)| Trained { encoder, connector: Tuned::Frozen, decoder });
    for trained in frozen_or_not.chain(from) {
        let expected = of_trained(&all, trained);
        for keep in [0, 1, 3] {
            assert_equal(&run(trained, keep), &expected, 1e-6, &format!("{what}, {trained:?}, {keep} kept"));
        }
    }
}

#[test]
fn with_every_connector() {
    for (name, connector) in connectors(&llama()).iter().filter(|(name, _)| *name != "merger") {
        check(&siglip(), connector, &llama(), name);
    }
}

#[test]
fn with_the_merger_and_with_two_towers() {
    let (_, text) = decoders().swap_remove(4);
    let named = |wanted: &str| towers().into_iter().find(|tower| tower.name == wanted).expect("it is there");
    check(&named("Qwen2.5-VL"), &ConnectorConfig::Merger, &text, "merger");
    for (name, connector) in connectors(&text).iter().filter(|(name, _)| ["MLP", "cross-attention"].contains(name)) {
        check(&named("fused"), connector, &text, name);
    }
}
