//! Block-wise backward against one graph over the whole model: time and memory.
//!
//! ```text
//! cargo run --release --workspace --example blockwise -- graph|keep|recompute [STEPS]
//! ```
//!
//! A Llama-shaped decoder of 8 blocks (hidden 512, 34 M parameters), 4 rows of 256 tokens, text only.
//! Prints seconds per forward and backward (median) and the peak resident memory of the process, so each
//! way runs in a process of its own; `scripts/bench/blockwise.sh` interleaves them.

mod llama;

use std::time::Instant;

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, TensorData};
use mmtrain_data::HostBatch;
use mmtrain_model::Vlm;
use mmtrain_model::decoder::DecoderContext;
use mmtrain_model::params::{FlatTensors, Part, Tuned, leaves, take_gradients};
use mmtrain_train::driver::{Plan, Trained, forward_backward};
use mmtrain_train::memory::peak_bytes;
use mmtrain_train::objective::supervised;

use crate::llama::{BLOCKS, HIDDEN, VOCAB, llama};

const BATCH: usize = 4;
const SEQ: usize = 256;

fn batch() -> HostBatch {
    let input_ids = (0..BATCH * SEQ).map(|i| (i * 7919 % VOCAB) as i32).collect::<Vec<_>>();
    HostBatch {
        batch: BATCH,
        seq: SEQ,
        labels: input_ids.clone(),
        input_ids,
        samples: vec![vec![0..SEQ]; BATCH],
        forks: Vec::new(),
        media: Vec::new(),
        ids: Vec::new(),
        supervised_tokens: BATCH * (SEQ - 1),
    }
}

fn one_graph(model: &Vlm, batch: &HostBatch) -> FlatTensors {
    let device = model.device();
    let decoder = leaves(&model.decoder);
    let ids = Tensor::<1, Int>::from_data(TensorData::new(batch.input_ids.clone(), [BATCH * SEQ]), &device);
    let embeds = decoder.embed(ids.autodiff()).reshape([BATCH, SEQ, HIDDEN]);
    let context = DecoderContext::for_training(&model.config.text, SEQ, &device);
    let rows = supervised(batch);
    let states = decoder.blocks(embeds, &context).reshape([BATCH * SEQ, HIDDEN]);
    let logits = decoder.logits(states.select(0, rows.index_tensor(&device).autodiff()));
    let target = Tensor::<2, Int>::from_data(TensorData::new(rows.target.clone(), [rows.len(), 1]), &device);
    let loss = -log_softmax(logits, 1).gather(1, target.autodiff()).sum() / rows.len() as f64;
    let mut tape = loss.backward();
    let mut gradients = FlatTensors::new();
    take_gradients(&decoder, Part::Decoder, "", &mut tape, &mut gradients);
    gradients
}

fn block_wise(model: &Vlm, batch: &HostBatch, keep: usize) -> FlatTensors {
    let trained = Trained { decoder: Tuned::Full, ..Trained::NOTHING };
    let plan = Plan {
        trained,
        keep_encoder: 0,
        keep_decoder: keep,
        chunk_rows: BATCH * SEQ,
        dtype: DType::F32,
        features: None,
        dropout: None,
    };
    forward_backward(model, batch, &plan, batch.supervised_tokens as f64).expect("the model takes it").gradients
}

fn largest_difference(a: &FlatTensors, b: &FlatTensors) -> f32 {
    let differences =
        a.iter().map(|(name, gradient)| (gradient.clone() - b[name].clone()).abs().max().into_scalar::<f32>());
    differences.fold(0.0, f32::max)
}

#[expect(clippy::print_stdout, reason = "a program that prints figures")]
fn main() {
    let mut args = std::env::args().skip(1);
    let way = args.next().unwrap_or_else(|| "keep".to_owned());
    let steps = args.next().and_then(|steps| steps.parse::<usize>().ok()).unwrap_or(5);
    let model = Vlm::random(&llama(), 1, &Device::flex());
    let batch = batch();
    if way == "difference" {
        let whole = one_graph(&model, &batch);
        for (name, keep) in [("kept", BLOCKS), ("recomputed", 0)] {
            println!(
                "{name}: largest gradient difference {:.1e}",
                largest_difference(&whole, &block_wise(&model, &batch, keep))
            );
        }
        return;
    }
    let run = || match way.as_str() {
        "graph" => one_graph(&model, &batch),
        "recompute" => block_wise(&model, &batch, 0),
        _ => block_wise(&model, &batch, BLOCKS),
    };
    let mut times = Vec::new();
    for _ in 0..=steps {
        let started = Instant::now();
        let gradients = run();
        assert!(!gradients.is_empty());
        times.push(started.elapsed().as_secs_f64());
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    println!("{way} {:.3} s {:.0} MB", times[times.len() / 2], peak_bytes() as f64 / 1e6);
}
