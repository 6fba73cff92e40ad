//! Sequences of one length on their way through the model: their cache, and where their next tokens stand.
//!
//! Dims: `rows` sequences, `vocab`.

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
use crate::seen::Seen;

/// Sequences that began with prompts of one length and have had as many tokens since.
pub(crate) struct Cohort<'a> {
    model: &'a Vlm,
    device: Device,
    /// In which type the decoder computes.
    dtype: DType,
    /// Tokens of the prompts.
    prompt_len: usize,
    cache: KvCache,
    /// Where the prompts' tokens stand in time, height and width, where the model has M-RoPE.
    positions: Option<Vec<PlacedPositions>>,
    /// What cross-attention layers read of the prompts' media.
    reading: Option<Reading>,
}

impl<'a> Cohort<'a> {
    /// With room for `capacity` tokens a sequence, of which none is there yet.
    pub(crate) fn new(model: &'a Vlm, rows: usize, capacity: usize) -> Self {
        Self::computing_in(model.answers_in(), model, rows, capacity)
    }

    /// The same in another type.
    pub(crate) fn computing_in(dtype: DType, model: &'a Vlm, rows: usize, capacity: usize) -> Self {
        let device = model.device();
        let cache = KvCache::new(&model.config.text, rows, capacity, dtype, &device);
        Self { model, device, dtype, prompt_len: 0, cache, positions: None, reading: None }
    }

    /// Tokens of each sequence that the cache holds.
    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Memory of keys and values, filled or not.
    pub(crate) fn cache_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Makes room for `capacity` tokens a sequence.
    pub(crate) fn reserve(&mut self, capacity: usize) {
        self.cache.reserve(capacity);
    }

    /// The prompts, of which the cache holds the first `past` tokens and no more afterwards. Media behind them are encoded
    /// where they were not `seen` before, of a model with cross-attention layers only where there is nothing before them.
    ///
    /// The cache is made larger where it has no room for them.
    ///
    /// # Errors
    ///
    /// [`GenerateError::Model`] for media that the model does not take.
    pub(crate) fn prefill(
        &mut self,
        prompts: &[&Prompt],
        past: usize,
        seen: &mut Seen,
    ) -> Result<DecoderInput, GenerateError> {
        let (model, seq) = (self.model, prompts[0].input_ids.len());
        let whole = Rows::of(prompts, 0);
        self.cache.truncate(past);
        self.reserve(seq);
        self.positions = whole.view(seq).positions(&model.config)?;
        self.prompt_len = seq;
        if past == 0 {
            let view = whole.view(seq);
            let input = self.prepare(&view, model.context(&view, None)?, seen)?;
            self.reading.clone_from(&input.reading);
            return Ok(input);
        }
        let rows = Rows::of(prompts, past);
        let view = rows.view(seq - past);
        let new = self.prepare(&view, self.context(past, seq - past), seen)?;
        Ok(self.reading_on(new, past..seq))
    }

    /// What the blocks get of a batch, in the type in which they compute.
    fn prepare(
        &self,
        view: &BatchView<'_>,
        context: DecoderContext,
        seen: &mut Seen,
    ) -> Result<DecoderInput, GenerateError> {
        let bridge = seen.encode(self.model, view)?.map(|bridge| bridge.cast(self.dtype));
        let input = self.model.prepare_seen(view, context, bridge)?;
        Ok(DecoderInput { embeds: input.embeds.cast(self.dtype), ..input })
    }

    /// The tokens just chosen, one for each sequence.
    pub(crate) fn next(&self, chosen: &[u32]) -> DecoderInput {
        let rows = chosen.len();
        let ids = chosen.iter().map(|&id| id as i32).collect::<Vec<_>>();
        let embeds = self.model.decoder.embed(Tensor::from_data(TensorData::new(ids, [rows]), &self.device));
        let past = self.cache.len();
        let embeds = embeds.reshape([rows, 1, self.model.config.text.hidden_size]).cast(self.dtype);
        let input = DecoderInput { embeds, context: self.context(past, 1), reading: None, seen: None };
        self.reading_on(input, past..past + 1)
    }

    /// Where `seq` tokens behind `past` of them stand.
    fn context(&self, past: usize, seq: usize) -> DecoderContext {
        let text = &self.model.config.text;
        let Some(positions) = &self.positions else {
            return DecoderContext::for_generation(text, past, seq, &self.device);
        };
        let behind = |row: &PlacedPositions| {
            let of_row = row.iter().map(|(_, prompt)| match past.checked_sub(self.prompt_len) {
                Some(step) => (0, prompt.after(step)),
                None => (0, prompt.behind(past)),
            });
            of_row.collect()
        };
        let rows = positions.iter().map(behind).collect::<Vec<PlacedPositions>>();
        DecoderContext::multimodal(text, &rows, seq, Mask::causal(seq, past + seq, &self.device), &self.device)
    }

    /// The same input beside what was read of the media before.
    fn reading_on(&self, input: DecoderInput, tokens: std::ops::Range<usize>) -> DecoderInput {
        let seen = self.reading.as_ref().map(|reading| reading.mask(tokens, &self.device));
        DecoderInput { reading: self.reading.clone(), seen, ..input }
    }

    /// What is computed with: the input of the new tokens, and the cache that they are added to.
    pub(crate) fn beside(&mut self, input: DecoderInput) -> (DecoderInput, &mut KvCache) {
        (input, &mut self.cache)
    }

    /// Whether some of the sequences can be forgotten: a memory is that of all.
    pub(crate) fn can_shrink(&self) -> bool {
        self.reading.is_none()
    }

    /// Forgets all other sequences.
    pub(crate) fn keep(&mut self, rows: &[usize]) {
        self.cache.keep(rows);
        if let Some(positions) = &mut self.positions {
            *positions = rows.iter().map(|&row| positions[row].clone()).collect();
        }
    }
}

/// Logits after the last of the new positions of all cohorts. `[rows][vocab]`, on the host
pub(crate) fn forward(model: &Vlm, parts: Vec<(DecoderInput, &mut KvCache)>) -> Vec<Vec<f32>> {
    let states = model.blocks_together(parts);
    let [rows, seq, hidden] = states.dims();
    let last = states.slice_dim(1, seq - 1..seq).reshape([rows, hidden]);
    let logits = model.decoder.logits(last).cast(DType::F32).into_data();
    let logits: Vec<f32> = logits.try_to_vec().expect("logits were cast to f32");
    logits.chunks_exact(model.config.text.vocab_size).map(<[f32]>::to_vec).collect()
}

/// Token ids and media of prompts of one length, from a token on.
struct Rows<'p> {
    ids: Vec<i32>,
    media: Vec<PlacedMedium<'p>>,
    spans: Vec<Vec<(usize, usize)>>,
    count: usize,
}

impl<'p> Rows<'p> {
    fn of(prompts: &[&'p Prompt], past: usize) -> Self {
        let ids = prompts.iter().flat_map(|prompt| prompt.input_ids[past..].iter().map(|&id| id as i32)).collect();
        let (mut media, mut spans) = (Vec::new(), Vec::new());
        for (row, prompt) in prompts.iter().enumerate() {
            // What has no placeholder is still a part of the memory that is made of all media at once.
            for medium in prompt.media.iter().filter(|medium| past == 0 || medium.end() > past) {
                spans.push(medium.spans.iter().map(|&(start, len)| (start - past, len)).collect());
                media.push(PlacedMedium {
                    row,
                    spans: &medium.spans,
                    layout: &medium.input.layout,
                    values: &medium.input.values,
                    instruction: &medium.instruction,
                    group_seconds: medium.group_seconds,
                });
            }
        }
        Self { ids, media, spans, count: prompts.len() }
    }

    fn view(&self, seq: usize) -> BatchView<'_> {
        let placed = self.media.iter().zip(&self.spans);
        let media = placed.map(|(medium, spans)| PlacedMedium { spans, ..*medium }).collect();
        let samples = vec![vec![0..seq]; self.count];
        BatchView { input_ids: &self.ids, seq, samples, forks: Vec::new(), media }
    }
}
