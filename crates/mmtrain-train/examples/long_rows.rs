//! One decoder block forward and backward over a long row: time and memory.
//!
//! ```text
//! cargo run --release --workspace --example long_rows -- SEQ [STEPS]
//! ```
//!
//! Llama-shaped (hidden 512, 8 heads, 2 of keys and values), one row of SEQ tokens, causal. Prints seconds per forward and
//! backward (the fastest, after one that does not count) and the peak resident memory of the process, so each length
//! runs in a process of its own; `scripts/bench/attention.sh` does.

use std::time::Instant;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_model::config::{TextConfig, TextFamily};
use mmtrain_model::decoder::{Decoder, DecoderBlock, DecoderContext};
use mmtrain_model::init::init_param;
use mmtrain_model::params::{FlatTensors, Part, Tuned, assign};
use mmtrain_train::memory::peak_bytes;
use mmtrain_train::tape::{Place, backward, forward};

const HIDDEN: usize = 512;

fn sizes(seq: usize) -> TextConfig {
    TextConfig {
        vocab_size: 8,
        hidden_size: HIDDEN,
        intermediate_size: 1408,
        num_hidden_layers: 1,
        num_attention_heads: 8,
        num_key_value_heads: 2,
        head_dim: 64,
        tie_word_embeddings: true,
        max_position_embeddings: seq,
        ..TextConfig::class_defaults(TextFamily::Llama)
    }
}

/// As the block-wise driver runs a block whose graph is kept, with something trained before it.
fn step(block: &DecoderBlock, context: &DecoderContext, x: &Tensor<3>) -> FlatTensors {
    let scope = "model.layers.0.".to_owned();
    let place = Place { part: Part::Decoder, scope, tuned: Tuned::Full, dtype: DType::F32 };
    let run = |block: &DecoderBlock, x: Tensor<3>| block.forward(x, context);
    let (output, held) = forward(block, x.clone(), &place, true, true, run);
    let mut gradients = FlatTensors::new();
    backward(block, held, output, &place, true, &mut gradients, run).expect("a gradient of the input");
    gradients
}

#[expect(clippy::print_stdout, reason = "a program that prints figures")]
fn main() {
    let mut args = std::env::args().skip(1).map_while(|arg| arg.parse::<usize>().ok());
    let seq = args.next().unwrap_or(1024);
    let steps = args.next().unwrap_or(2);
    let device = Device::flex();
    let config = sizes(seq);
    let decoder = assign(Decoder::new(&config, &device), Part::Decoder, &mut |info| Some(init_param(info, 1, 1)));
    let context = DecoderContext::for_training(&config, seq, &device);
    let values = (0..seq * HIDDEN).map(|i| (i * 7919 % 1021) as f32 / 510.5 - 1.0).collect::<Vec<_>>();
    let x = Tensor::from_data(TensorData::new(values, [1, seq, HIDDEN]), &device);
    let seconds = (0..=steps).map(|_| {
        let started = Instant::now();
        assert!(!step(&decoder.model.layers[0], &context, &x).is_empty());
        started.elapsed().as_secs_f64()
    });
    let best = seconds.skip(1).fold(f64::INFINITY, f64::min);
    println!("{seq} {best:.3} s {:.0} MB", peak_bytes() as f64 / 1e6);
}
