//! Prompts to tokens: encoder once, prefill once, then one position per step from the cache.
//!
//! Prompts of equal length run together, those of another length in a batch of their own, so no
//! padding and no mask is needed and every prompt gets what it would get alone. A batch ends when all
//! its rows have ended. Dims: `batch` prompts of `seq` tokens, `vocab`.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_model::Vlm;
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::Reading;
use mmtrain_model::decoder::{DecoderContext, KvCache};
use mmtrain_model::media::{BatchView, PlacedMedium, PlacedPositions};
use mmtrain_model::vlm::DecoderInput;

use crate::error::GenerateError;
use crate::prompt::Prompt;
use crate::sampling::SamplingConfig;

/// How far and how to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens to add. Where the model's positions end first, generation ends there.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingConfig,
    /// Tokens that end an answer.
    pub stop_ids: Vec<u32>,
}

/// What was added to a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generated {
    /// The new tokens, without the one that ended them.
    pub tokens: Vec<u32>,
    /// Whether a stop token came, rather than the limit.
    pub finished: bool,
}

impl Generated {
    /// Adds a token unless the answer has ended or ends with it; says whether it was added.
    fn add(&mut self, token: u32, stop_ids: &[u32]) -> bool {
        self.finished |= stop_ids.contains(&token);
        if !self.finished {
            self.tokens.push(token);
        }
        !self.finished
    }
}

/// Goes on from every prompt; results stand in the order of the prompts.
///
/// `on_token` hears each new token with the number of its prompt, as it is chosen.
pub fn generate(
    model: &Vlm,
    prompts: &[Prompt],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Generated>, GenerateError> {
    generate_from(0, model, prompts, options, on_token)
}

/// As [`generate`], the prompts being numbers `first_row`, `first_row + 1`, … of a longer list: random
/// draws do not depend on how the list was cut.
pub(crate) fn generate_from(
    first_row: usize,
    model: &Vlm,
    prompts: &[Prompt],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Generated>, GenerateError> {
    options.sampling.check()?;
    for (number, prompt) in prompts.iter().enumerate() {
        prompt.check(number, &model.config)?;
    }
    let mut by_length = BTreeMap::<usize, Vec<usize>>::new();
    for (number, prompt) in prompts.iter().enumerate() {
        by_length.entry(prompt.input_ids.len()).or_default().push(number);
    }
    let mut results = vec![Generated::default(); prompts.len()];
    for (seq, rows) in by_length {
        let batch = Batch { first_row, ..Batch::new(model, rows, seq, options) };
        batch.run(prompts, options, &mut results, on_token)?;
    }
    Ok(results)
}

/// Prompts of one length on their way through the model.
struct Batch<'a> {
    model: &'a Vlm,
    device: Device,
    /// Numbers of the prompts.
    rows: Vec<usize>,
    /// Added to these for random draws.
    first_row: usize,
    seq: usize,
    /// Tokens to add at most.
    budget: usize,
    cache: KvCache,
    /// Where the prompts' tokens stand in time, height and width, where the model has M-RoPE.
    positions: Option<Vec<PlacedPositions>>,
    /// What cross-attention layers read of the prompts' media.
    reading: Option<Reading>,
}

impl<'a> Batch<'a> {
    fn new(model: &'a Vlm, rows: Vec<usize>, seq: usize, options: &GenerateOptions) -> Self {
        let text = &model.config.text;
        let device = model.device();
        let budget = options.max_new_tokens.min(text.context_length() - seq);
        let cache = KvCache::new(text, rows.len(), seq + budget, DType::F32, &device);
        Self { model, device, rows, first_row: 0, seq, budget, cache, positions: None, reading: None }
    }

    fn run(
        mut self,
        prompts: &[Prompt],
        options: &GenerateOptions,
        results: &mut [Generated],
        on_token: &mut dyn FnMut(usize, u32),
    ) -> Result<(), GenerateError> {
        if self.budget == 0 {
            return Ok(());
        }
        let input = self.prefill(prompts)?;
        let mut logits = self.forward(input);
        for step in 0..self.budget {
            let position = self.seq + step;
            let chosen = self.choose(&logits, position, options)?;
            for (&row, &token) in self.rows.iter().zip(&chosen) {
                if results[row].add(token, &options.stop_ids) {
                    on_token(row, token);
                }
            }
            if step + 1 == self.budget || self.rows.iter().all(|&row| results[row].finished) {
                break;
            }
            logits = self.forward(self.next(&chosen));
        }
        Ok(())
    }

    /// The prompts, all media encoded.
    fn prefill(&mut self, prompts: &[Prompt]) -> Result<DecoderInput, GenerateError> {
        let of_batch = || self.rows.iter().map(|&row| &prompts[row]);
        let ids = of_batch().flat_map(|prompt| prompt.input_ids.iter().map(|&id| id as i32)).collect::<Vec<_>>();
        let media = of_batch().enumerate().flat_map(|(row, prompt)| {
            prompt.media.iter().map(move |medium| PlacedMedium {
                row,
                spans: &medium.spans,
                layout: &medium.input.layout,
                values: &medium.input.values,
                instruction: &medium.instruction,
                group_seconds: medium.group_seconds,
            })
        });
        let samples = vec![vec![0..self.seq]; self.rows.len()];
        let batch = BatchView { input_ids: &ids, seq: self.seq, samples, forks: Vec::new(), media: media.collect() };
        let input = self.model.prepare(&batch, None)?;
        self.positions = batch.positions(&self.model.config)?;
        self.reading.clone_from(&input.reading);
        Ok(input)
    }

    /// Where the next tokens stand.
    fn following(&self) -> DecoderContext {
        let (text, past) = (&self.model.config.text, self.cache.len());
        let Some(positions) = &self.positions else {
            return DecoderContext::for_generation(text, past, 1, &self.device);
        };
        let step = past - self.seq;
        let after = |row: &PlacedPositions| row.iter().map(|(_, prompt)| (0, prompt.after(step))).collect();
        let rows = positions.iter().map(after).collect::<Vec<PlacedPositions>>();
        let mask = Mask::causal(1, past + 1, &self.device);
        DecoderContext::multimodal(text, &rows, 1, mask, &self.device)
    }

    /// The tokens just chosen; ended rows run along, unheard.
    fn next(&self, chosen: &[u32]) -> DecoderInput {
        let batch = chosen.len();
        let ids = chosen.iter().map(|&id| id as i32).collect::<Vec<_>>();
        let embeds = self.model.decoder.embed(Tensor::from_data(TensorData::new(ids, [batch]), &self.device));
        let past = self.cache.len();
        let seen = self.reading.as_ref().map(|reading| reading.mask(past..past + 1, &self.device));
        DecoderInput {
            embeds: embeds.reshape([batch, 1, self.model.config.text.hidden_size]),
            context: self.following(),
            reading: self.reading.clone(),
            seen,
        }
    }

    /// Logits after the last of the new positions. `[batch * vocab]`, on the host
    fn forward(&mut self, input: DecoderInput) -> Vec<f32> {
        let [batch, seq, hidden] = input.embeds.dims();
        let states = self.model.blocks(input, Some(&mut self.cache));
        let last = states.slice_dim(1, seq - 1..seq).reshape([batch, hidden]);
        let logits = self.model.decoder.logits(last).cast(DType::F32);
        logits.into_data().try_to_vec().expect("logits were cast to f32")
    }

    /// The next token of each row; rows that have ended get any.
    fn choose(&self, logits: &[f32], position: usize, options: &GenerateOptions) -> Result<Vec<u32>, GenerateError> {
        let rows = logits.chunks_exact(self.model.config.text.vocab_size).zip(&self.rows);
        let pick = |(logits, &prompt)| {
            let token = options.sampling.pick(logits, self.first_row + prompt, position);
            token.ok_or(GenerateError::NonFinite { prompt, position })
        };
        rows.map(pick).collect()
    }
}

#[cfg(test)]
mod tests;
