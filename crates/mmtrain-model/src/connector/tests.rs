//! Connectors against `transformers` (`scripts/parity/make_connector_fixtures.py`).

mod cross_attention;
mod instruction;

use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Activation, PerceiverConfig, QFormerConfig};
use crate::params::{FlatTensors, Part, infos, leaves, take_gradients};
use crate::weights::{Checkpoint, TensorFile, memory_layout};
use burn::module::Module;
use burn::tensor::{Gradients, TensorData};

const VISION_HIDDEN: usize = 12;
const HIDDEN: usize = 20;
const QUERIES: usize = 5;

fn q_former() -> ConnectorConfig {
    ConnectorConfig::QFormer(QFormerConfig {
        num_queries: 5,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        cross_attention_frequency: 2,
        hidden_act: Activation::Gelu,
        layer_norm_eps: 1e-12,
        instruction: None,
    })
}

fn perceiver() -> ConnectorConfig {
    ConnectorConfig::Perceiver(PerceiverConfig {
        num_latents: 5,
        hidden_size: 16,
        intermediate_size: 64,
        depth: 2,
        num_attention_heads: 4,
        head_dim: 6,
    })
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity_connectors").join(name)
}

fn read<const D: usize>(file: &TensorFile, name: &str) -> Tensor<D> {
    let stored = file.read(name).expect("recorded");
    Tensor::from_data(TensorData::new(stored.values, stored.shape), &Device::flex())
}

fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

/// The module with the case's weights; every tensor of the file must be used.
fn load<M: Module>(module: M, dir: &Path) -> M {
    let checkpoint = Checkpoint::open(dir).expect("weights");
    assert_eq!(checkpoint.names().count(), infos(&module, Part::Connector).len());
    checkpoint.fill(module, Part::Connector).expect("all are there")
}

fn check(config: &ConnectorConfig, name: &str) {
    let connector = Connector::new(config, VISION_HIDDEN, HIDDEN, &Device::flex());
    check_tokens(connector, name, |connector, features| {
        let rows = connector.forward(features, &Arrangement::TILES);
        rows.reshape([-1, QUERIES as i32, HIDDEN as i32])
    });
}

/// Tokens and gradients of a module with the case's weights.
#[track_caller]
fn check_tokens<M: Module>(module: M, name: &str, run: impl Fn(&M, Tensor<3>) -> Tensor<3>) {
    let dir = case(name);
    let io = TensorFile::open(&dir.join("io.safetensors")).expect("io");
    let leaf = leaves(&load(module, &dir));
    let input = read::<3>(&io, "in.features").autodiff().require_grad();
    let tokens = run(&leaf, input.clone());
    let error = difference(tokens.clone().inner(), read(&io, "out.tokens"));
    assert!(error <= 2e-5, "tokens differ by {error:e}");

    let mut tape = (tokens * read::<3>(&io, "in.weights").autodiff()).sum().backward();
    let input_gradient = input.grad_remove(&mut tape).expect("a gradient");
    close("features", input_gradient.reshape([-1]), read::<3>(&io, "out.features_grad").reshape([-1]));
    check_gradients(&leaf, &dir, &mut tape);
}

/// The gradients of all parameters of a module made by [`leaves`].
fn check_gradients<M: Module>(leaf: &M, dir: &Path, tape: &mut Gradients) {
    let mut gradients = FlatTensors::new();
    take_gradients(leaf, Part::Connector, "", tape, &mut gradients);
    let expected = TensorFile::open(&dir.join("grads.safetensors")).expect("gradients");
    let checkpoint = Checkpoint::open(dir).expect("weights");
    for info in infos(leaf, Part::Connector) {
        let key = checkpoint.key_of(&info).expect("a key");
        let expected = memory_layout(&info, expected.read(&key).expect("recorded").values);
        close(&info.name, gradients[&info.name].clone(), expected);
    }
}

/// Gradients that are zero but for rounding, such as a key's bias, which shifts all scores alike.
const FLOOR: f64 = 1e-6;

/// A thousandth of itself plus a hundred-thousandth of the tensor's largest.
fn close(name: &str, ours: Tensor<1>, theirs: Tensor<1>) {
    let largest = theirs.clone().abs().max().into_scalar::<f32>();
    let allowed = (theirs.clone().abs() * 1e-3 + f64::from(largest) * 1e-5).clamp_min(FLOOR);
    let worst = ((ours - theirs).abs() / allowed).max().into_scalar::<f32>();
    assert!(worst <= 1.0, "{name}: {worst} of what is allowed");
}

#[test]
fn q_former_equals_transformers() {
    check(&q_former(), "q_former");
}

#[test]
fn perceiver_equals_transformers() {
    check(&perceiver(), "perceiver");
}

#[test]
fn media_of_a_sequence_are_read_one_by_one() {
    for config in [q_former(), perceiver()] {
        let mut number = 0;
        let connector = Connector::new(&config, VISION_HIDDEN, HIDDEN, &Device::flex());
        let connector = crate::params::assign(connector, Part::Connector, &mut |info| {
            number += 1;
            Some(crate::init::init_param(info, number, 2))
        });
        let values = (0..7 * VISION_HIDDEN).map(|i| ((i * 37 % 23) as f32 - 11.0) / 11.0).collect::<Vec<_>>();
        let features = Tensor::<3>::from_data(TensorData::new(values, [1, 7, VISION_HIDDEN]), &Device::flex());
        let together = connector.forward(
            features.clone(),
            &Arrangement { parts: FeatureParts::Sequence(vec![3, 4]), ..Arrangement::TILES },
        );
        let alone = [0..3, 3..7].map(|own| connector.forward(features.clone().slice_dim(1, own), &Arrangement::TILES));
        assert!(difference(together, Tensor::cat(alone.to_vec(), 1)) < 1e-6);
    }
}

#[test]
fn tokens_are_as_many_as_queries_whatever_the_features() {
    for config in [q_former(), perceiver()] {
        let connector = Connector::new(&config, VISION_HIDDEN, HIDDEN, &Device::flex());
        for features in [1, 4, 30] {
            let zeros = Tensor::zeros([3, features, VISION_HIDDEN], &Device::flex());
            assert_eq!(connector.forward(zeros, &Arrangement::TILES).dims(), [1, 3 * 5, HIDDEN]);
        }
    }
}
