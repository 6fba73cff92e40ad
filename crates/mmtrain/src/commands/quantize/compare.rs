//! How much a quantized model differs from the one that it was.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::{DType, TensorData};
use mmtrain_data::{Prepared, collate};
use mmtrain_generate::{Prompt, generate};
use mmtrain_model::Vlm;
use mmtrain_text::IGNORE_INDEX;
use mmtrain_train::driver::view;
use serde::Serialize;

use crate::commands::eval::greedy;
use crate::model_dir::LoadedModel;

/// Tokens that are generated to measure speed.
const TIMED_TOKENS: usize = 32;
/// Times that each model generates them; the fastest counts.
const TIMES: usize = 3;

/// Both models on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Comparison {
    samples: usize,
    /// Learned tokens of them.
    tokens: usize,
    /// Mean over the learned tokens of the cosine of both models' logits.
    logits_cosine: f64,
    loss_before: f64,
    loss_after: f64,
    tokens_per_sec_before: f64,
    tokens_per_sec_after: f64,
}

impl Comparison {
    pub(super) fn of(dense: &LoadedModel, packed: &LoadedModel, samples: &[Prepared]) -> anyhow::Result<Self> {
        let (mut tokens, mut cosines, mut losses) = (0, 0.0, [0.0; 2]);
        for sample in samples {
            let (before, targets) = logits(&dense.model, sample)?;
            let (after, _) = logits(&packed.model, sample)?;
            let width = before.len() / targets.len().max(1);
            for ((before, after), &target) in before.chunks(width.max(1)).zip(after.chunks(width.max(1))).zip(&targets)
            {
                cosines += cosine(before, after);
                losses[0] += loss(before, target);
                losses[1] += loss(after, target);
            }
            tokens += targets.len();
        }
        let mean = |sum: f64| sum / tokens.max(1) as f64;
        let [tokens_per_sec_before, tokens_per_sec_after] = speeds([dense, packed], &samples[0])?;
        Ok(Self {
            samples: samples.len(),
            tokens,
            logits_cosine: mean(cosines),
            loss_before: mean(losses[0]),
            loss_after: mean(losses[1]),
            tokens_per_sec_before,
            tokens_per_sec_after,
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "on {} samples with {} learned tokens: logits cosine {:.6}, loss {:.4} to {:.4} ({:+.4}), {:.1} to {:.1} tokens/s",
            self.samples,
            self.tokens,
            self.logits_cosine,
            self.loss_before,
            self.loss_after,
            self.loss_after - self.loss_before,
            self.tokens_per_sec_before,
            self.tokens_per_sec_after
        )
    }
}

/// The logits before each learned token, and these tokens. `[tokens * vocab]`
fn logits(model: &Vlm, sample: &Prepared) -> anyhow::Result<(Vec<f32>, Vec<usize>)> {
    let batch = collate(vec![sample.clone()], 0);
    let input = model.prepare(&view(&batch), None)?;
    let states = model.blocks(input, None);
    let [_, seq, hidden] = states.dims();
    let learned = (1..seq).filter(|&place| batch.labels[place] != IGNORE_INDEX).collect::<Vec<_>>();
    let targets = learned.iter().map(|&place| batch.labels[place] as usize).collect::<Vec<_>>();
    if learned.is_empty() {
        return Ok((Vec::new(), targets));
    }
    let places = learned.iter().map(|&place| place as i32 - 1).collect::<Vec<_>>();
    let places = burn::tensor::Tensor::from_data(TensorData::new(places, [learned.len()]), &states.device());
    let rows = states.slice_dim(0, 0..1).reshape([seq, hidden]).select(0, places);
    let logits = model.decoder.logits(rows).cast(DType::F32).into_data();
    Ok((logits.try_to_vec::<f32>().map_err(|error| anyhow::anyhow!("{error:?}"))?, targets))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let size = (dot(a, a) * dot(b, b)).sqrt();
    if size > 0.0 { dot(a, b) / size } else { 1.0 }
}

fn loss(logits: &[f32], target: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum = logits.iter().map(|logit| f64::from(logit - max).exp()).sum::<f64>();
    sum.ln() - f64::from(logits.get(target).copied().unwrap_or(f32::NEG_INFINITY) - max)
}

/// New tokens a second behind the prompt of a sample, in turns.
fn speeds(models: [&LoadedModel; 2], sample: &Prepared) -> anyhow::Result<[f64; 2]> {
    let prompt = Prompt::of_sample(sample);
    let mut fastest = [0.0_f64; 2];
    for _ in 0..TIMES {
        for (model, fastest) in models.iter().zip(&mut fastest) {
            // Nothing ends an answer, so both make as many tokens.
            let mut options = greedy(&model.preparer, TIMED_TOKENS);
            options.stop_ids.clear();
            let mut first = None;
            let mut count = 0_usize;
            generate(&model.model, std::slice::from_ref(&prompt), &options, &mut |_, _| {
                first.get_or_insert_with(Instant::now);
                count += 1;
                ControlFlow::Continue(())
            })?;
            let secs = first.map_or(0.0, |start| start.elapsed().as_secs_f64());
            *fastest = fastest.max(count.saturating_sub(1) as f64 / secs.max(1e-9));
        }
    }
    Ok(fastest)
}
