//! Pairs of answers behind one prompt, the reference known, against the plain way: two whole sequences a pair and a pass of the
//! reference model in each step.
//!
//! ```text
//! cargo run --release --workspace --example pairs -- shared|plain|check [STEPS] [KEPT]
//! ```
//!
//! A Llama-shaped decoder of 8 blocks (hidden 512, 34 M parameters), 4 pairs of a prompt of 192 tokens and answers of 64: three
//! quarters of a sequence are prompt. Prints seconds per forward and backward (median), pairs a second and the peak resident
//! memory of the process, so each way runs in a process of its own; `scripts/bench/pairs.sh` interleaves them. Of KEPT blocks (all)
//! the graph is kept, the others run again in the backward pass. `check` prints the largest difference of the gradients, in parts
//! of the largest gradient.

mod llama;

use std::time::Instant;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_data::{HostBatch, HostFork};
use mmtrain_model::params::{FlatTensors, Tuned};
use mmtrain_model::{ModelError, Vlm};
use mmtrain_preference::{AnswerLogps, PairLogps, Preference, PreferenceLoss, Step};
use mmtrain_train::driver::{Plan, Trained, forward_logps, forward_weigh_backward};
use mmtrain_train::memory::peak_bytes;
use mmtrain_train::objective::Supervised;

use crate::llama::{BLOCKS, VOCAB, llama};

const PAIRS: usize = 4;
const PROMPT: usize = 192;
const ANSWER: usize = 64;

/// Tokens of a piece: 0 is the prompt of a pair, 1 and 2 are its answers.
fn piece(pair: usize, number: usize) -> Vec<i32> {
    let len = if number == 0 { PROMPT } else { ANSWER };
    (0..len).map(|i| ((pair * 131 + number * 977 + i * 7919) % VOCAB) as i32).collect()
}

/// Rows of these pieces; all but the prompts is learned.
fn batch(rows: &[Vec<(usize, usize)>], forks: Vec<HostFork>) -> HostBatch {
    let seq = PROMPT + ANSWER * (rows[0].len() - 1);
    let ids =
        |row: &Vec<(usize, usize)>| row.iter().flat_map(|&(pair, number)| piece(pair, number)).collect::<Vec<_>>();
    let input_ids = rows.iter().flat_map(ids).collect::<Vec<_>>();
    let labels = input_ids.iter().enumerate().map(|(at, &id)| if at % seq < PROMPT { -100 } else { id }).collect();
    HostBatch {
        batch: rows.len(),
        seq,
        input_ids,
        labels,
        samples: vec![std::iter::once(0..seq).collect(); rows.len()],
        forks,
        media: Vec::new(),
        ids: Vec::new(),
        supervised_tokens: 2 * PAIRS * ANSWER,
    }
}

fn shared_batch() -> HostBatch {
    let rows = (0..PAIRS).map(|pair| vec![(pair, 0), (pair, 1), (pair, 2)]).collect::<Vec<_>>();
    let (chosen, rejected) = (PROMPT, PROMPT + ANSWER);
    let fork = |row| HostFork {
        row,
        start: 0,
        chosen,
        rejected,
        end: rejected + ANSWER,
        key: [row as u8; 32],
        judged: None,
        ablated: None,
    };
    batch(&rows, (0..PAIRS).map(fork).collect())
}

fn plain_batch() -> HostBatch {
    let rows = (0..2 * PAIRS).map(|row| vec![(row / 2, 0), (row / 2, 1 + row % 2)]).collect::<Vec<_>>();
    batch(&rows, Vec::new())
}

/// The number of the answer of each supervised token.
fn answers(batch: &HostBatch, rows: &Supervised) -> Vec<usize> {
    let number = |row: usize| {
        rows.answer[row].map_or(rows.index[row] as usize / batch.seq, |answer| 2 * answer.pair + answer.side as usize)
    };
    (0..rows.len()).map(number).collect()
}

fn sums(batch: &HostBatch, rows: &Supervised, logps: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; 2 * PAIRS];
    answers(batch, rows).into_iter().zip(logps).for_each(|(answer, logp)| sums[answer] += logp);
    sums
}

/// A step of DPO, given what the reference says of each answer.
fn step(model: &Vlm, batch: &HostBatch, plan: &Plan, reference: &[f64]) -> FlatTensors {
    let dpo = Preference::single(0.1, PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
    let weigh = |rows: &Supervised, logps: &[f64]| {
        let policy = sums(batch, rows, logps);
        let answer =
            |at: usize| AnswerLogps { policy: policy[at], reference: Some(reference[at]), tokens: ANSWER as f64 };
        let pairs = (0..PAIRS).map(|pair| PairLogps {
            chosen: answer(2 * pair),
            rejected: answer(2 * pair + 1),
            ablated: None,
        });
        let pairs = pairs.collect::<Vec<_>>();
        let outcome = dpo.evaluate(&pairs, &Step::of(&pairs)).expect("finite");
        let slope = |answer: usize| {
            let pair = outcome.gradients[answer / 2];
            if answer.is_multiple_of(2) { pair.chosen } else { pair.rejected }
        };
        Ok::<_, ModelError>(answers(batch, rows).into_iter().map(slope).collect())
    };
    forward_weigh_backward(model, batch, plan, weigh).expect("text only")
}

fn asked(reference: &Vlm, batch: &HostBatch, plan: &Plan) -> Vec<f64> {
    let (rows, logps) = forward_logps(reference, batch, plan).expect("text only");
    sums(batch, &rows, &logps)
}

#[expect(clippy::print_stdout, reason = "a program that prints figures")]
fn main() {
    let mut args = std::env::args().skip(1);
    let way = args.next().unwrap_or_else(|| "shared".to_owned());
    let steps: usize = args.next().and_then(|steps| steps.parse().ok()).unwrap_or(5);
    let kept = args.next().and_then(|kept| kept.parse().ok()).unwrap_or(BLOCKS);
    let device = Device::flex();
    let trained = Trained { decoder: Tuned::Full, ..Trained::NOTHING };
    let plan = Plan {
        trained,
        keep_encoder: 0,
        keep_decoder: kept,
        chunk_rows: 256,
        dtype: DType::F32,
        features: None,
        dropout: None,
    };
    let model = Vlm::random(&llama(), 7, &device);
    if way == "check" {
        // Another model, so that the slopes are not those of a coin.
        let reference = Vlm::random(&llama(), 8, &device);
        let (shared, plain) = (shared_batch(), plain_batch());
        let ours = step(&model, &shared, &plan, &asked(&reference, &shared, &plan));
        let theirs = step(&model, &plain, &plan, &asked(&reference, &plain, &plan));
        println!("largest difference of a gradient: {:.2e} of the largest", difference(&ours, &theirs));
        return;
    }
    // A model of its own in memory: the frozen copy of the plain way.
    let copy = (way == "plain").then(|| Vlm::random(&llama(), 7, &device));
    let batch = if way == "plain" { plain_batch() } else { shared_batch() };
    let known = asked(copy.as_ref().unwrap_or(&model), &batch, &plan);
    let mut secs = (0..=steps).map(|_| {
        let start = Instant::now();
        let reference = copy.as_ref().map_or_else(|| known.clone(), |copy| asked(copy, &batch, &plan));
        drop(step(&model, &batch, &plan, &reference));
        start.elapsed().as_secs_f64()
    });
    secs.next();
    let mut secs = secs.collect::<Vec<_>>();
    secs.sort_by(f64::total_cmp);
    let median = secs[secs.len() / 2];
    let pairs = PAIRS as f64 / median;
    println!(
        "{way:<7} {median:.3} s a step, {pairs:.2} pairs/s, peak {:.0} MiB",
        peak_bytes() as f64 / f64::from(1 << 20)
    );
}

fn difference(a: &FlatTensors, b: &FlatTensors) -> f64 {
    let max = |x: Tensor<1>| f64::from(x.abs().max().into_scalar::<f32>());
    let largest = b.values().map(|gradient| max(gradient.clone())).fold(0.0, f64::max);
    a.iter().map(|(name, gradient)| max(gradient.clone() - b[name].clone())).fold(0.0, f64::max) / largest
}
