//! Logits, loss, image features and greedy continuation of a language model, with or without a tower.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_data::{HostBatch, MediaSpan, SampleId};
use mmtrain_generate::{GenerateOptions, Prompt, SamplingConfig, generate};
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::Bridge;
use mmtrain_model::decoder::DecoderContext;
use mmtrain_text::IGNORE_INDEX;
use mmtrain_train::driver::{Plan, Trained, forward_loss_masked, media_positions, pixel_tensor};

use super::recorded::{IdTable, Recorded};
use super::subject::Model;
use super::{Computed, values};

/// Supervised rows per chunk of head and loss; smaller than the fixtures' batches, so that chunks are cut.
const CHUNK_ROWS: usize = 7;

/// The recorded batch.
pub(super) struct Inputs {
    pub(super) batch: HostBatch,
    /// `[batch, seq]`, where it is not one everywhere.
    attention_mask: Option<Vec<i64>>,
}

/// One output of the model, if it is one that it has.
pub(super) fn compute(model: &Model, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
    Ok(Some(match name {
        "logits" => logits(model, &Inputs::read(model, recorded, "`out.logits`")?),
        "loss" => loss(model, recorded)?,
        "image_features" if model.has_tower => image_features(model, recorded)?,
        "generated_ids" => generated_ids(model, recorded)?,
        _ => return Ok(None),
    }))
}

impl Inputs {
    /// `in.input_ids` with mask, labels and pictures, where they are recorded.
    pub(super) fn read(model: &Model, recorded: &Recorded, for_what: &str) -> anyhow::Result<Self> {
        let vocab = model.vlm.config.text.vocab_size as i64;
        let is_token = |id: i64| (0..vocab).contains(&id);
        let ids = recorded.need(recorded.ids("input_ids", is_token)?, "input_ids", for_what)?;
        let labels = recorded.ids_like("labels", &ids, |id| is_token(id) || id == i64::from(IGNORE_INDEX))?;
        let mask = recorded.ids_like("attention_mask", &ids, |keep| keep == 0 || keep == 1)?;
        let media = spans(model, recorded, &ids)?;
        let side = model.vlm.config.vision.image_size;
        let pictures = if media.is_empty() { None } else { recorded.pictures(side)? };
        let images = pictures.as_ref().map_or(0, |pictures| pictures.images);
        if images != media.len() {
            let message = format!("holds placeholders of {} picture(s) and {images} picture(s)", media.len());
            return Err(recorded.bad(&message).into());
        }
        let labels = labels.map_or_else(|| vec![i64::from(IGNORE_INDEX); ids.values.len()], |labels| labels.values);
        let batch = HostBatch {
            batch: ids.rows,
            seq: ids.cols,
            input_ids: ids.values.iter().map(|&id| id as i32).collect(),
            supervised_tokens: supervised_tokens(&labels, ids.cols),
            labels: labels.into_iter().map(|id| id as i32).collect(),
            lengths: vec![ids.cols; ids.rows],
            media,
            pixel_values: pictures.map(|pictures| pictures.values).unwrap_or_default(),
            image_size: side,
            ids: (0..ids.rows).map(row_id).collect(),
        };
        let attention_mask = mask.map(|mask| mask.values).filter(|mask| mask.contains(&0));
        Ok(Self { batch, attention_mask })
    }

    /// None where the causal mask is all there is.
    pub(super) fn mask(&self) -> Option<Mask> {
        let mask = self.attention_mask.as_ref()?;
        Some(Mask::causal_with_padding(mask, self.batch.batch, self.batch.seq, &Device::flex()))
    }
}

/// Labels that have a token before them.
fn supervised_tokens(labels: &[i64], seq: usize) -> usize {
    let predicted = labels.chunks_exact(seq).flat_map(|row| &row[1..]);
    predicted.filter(|&&label| label != i64::from(IGNORE_INDEX)).count()
}

fn row_id(index: usize) -> SampleId {
    SampleId { source: "recorded".into(), shard: String::new(), key: index.to_string(), index }
}

/// Runs of placeholders, one per picture, row by row.
fn spans(model: &Model, recorded: &Recorded, ids: &IdTable) -> anyhow::Result<Vec<MediaSpan>> {
    let (token, len) = (model.vlm.config.image_token_id as i64, model.vlm.config.tokens_per_image());
    let mut spans = Vec::new();
    for (row, ids) in ids.values.chunks_exact(ids.cols).enumerate() {
        let positions = (0..ids.len()).filter(|&at| ids[at] == token).collect::<Vec<_>>();
        for run in positions.chunks(len) {
            if run.len() < len || run[len - 1] - run[0] + 1 != len {
                let message = format!("holds a run of placeholders in row {row} that is not {len} long");
                return Err(recorded.bad(&message).into());
            }
            spans.push(MediaSpan { row, start: run[0], len });
        }
    }
    Ok(spans)
}

/// Zero where the mask is zero, as recorded. `[batch, seq, vocab]`
fn logits(model: &Model, inputs: &Inputs) -> Computed {
    let (vlm, batch, device) = (&model.vlm, &inputs.batch, Device::flex());
    let bridge = (!batch.media.is_empty()).then(|| vlm.encode_images(pixel_tensor(batch, &device)));
    let ids = Tensor::from_data(batch.input_ids.as_slice(), &device);
    let embeds = vlm.splice(ids, bridge, &media_positions(batch), batch.batch);
    let mask = inputs.mask().unwrap_or_else(|| Mask::causal(batch.seq, batch.seq, &device));
    let context = DecoderContext::with_mask(&vlm.config.text, 0, batch.seq, Some(mask), &device);
    let mut logits = values(vlm.logits(embeds, &context));
    if let (Some(mask), Computed::Values { shape, values }) = (&inputs.attention_mask, &mut logits) {
        let positions = values.chunks_exact_mut(shape[2]).zip(mask);
        positions.filter(|(_, keep)| **keep == 0).for_each(|(position, _)| position.fill(0.0));
    }
    logits
}

/// Mean over the supervised tokens of the batch. `[1]`
fn loss(model: &Model, recorded: &Recorded) -> anyhow::Result<Computed> {
    let inputs = Inputs::supervised(model, recorded, "`out.loss`")?;
    let sum = forward_loss_masked(&model.vlm, &inputs.batch, inputs.mask().as_ref(), &plan(model, false));
    Ok(values(sum / inputs.batch.supervised_tokens as f64))
}

impl Inputs {
    /// As [`read`](Self::read), with at least one supervised token.
    pub(super) fn supervised(model: &Model, recorded: &Recorded, for_what: &str) -> anyhow::Result<Self> {
        let inputs = Self::read(model, recorded, for_what)?;
        if inputs.batch.supervised_tokens == 0 {
            return Err(recorded.bad(&format!("supervises no token in `in.labels`, which {for_what} needs")).into());
        }
        Ok(inputs)
    }
}

/// Everything that the checkpoint holds is trained; all graphs are kept, or none.
pub(super) fn plan(model: &Model, keep: bool) -> Plan {
    let blocks = |count| if keep { count } else { 0 };
    Plan {
        trained: Trained { encoder: model.has_tower, connector: model.has_tower, decoder: true },
        keep_encoder: blocks(model.vlm.config.vision.num_hidden_layers),
        keep_decoder: blocks(model.vlm.config.text.num_hidden_layers),
        chunk_rows: CHUNK_ROWS,
        dtype: DType::F32,
    }
}

/// After the projector, before splicing. `[images, tokens, hidden]`
fn image_features(model: &Model, recorded: &Recorded) -> anyhow::Result<Computed> {
    let side = model.vlm.config.vision.image_size;
    let pictures = recorded.need(recorded.pictures(side)?, "pixel_values", "`out.image_features`")?;
    let shape = [pictures.images, 3, side, side];
    let pixels = Tensor::from_data(TensorData::new(pictures.values, shape), &Device::flex());
    let Bridge::Tokens(tokens) = model.vlm.encode_images(pixels);
    Ok(values(tokens))
}

/// Greedy continuation of `in.prompt_ids`, or else of `in.input_ids`, with the pictures in their order.
fn generated_ids(model: &Model, recorded: &Recorded) -> anyhow::Result<Computed> {
    let shape = recorded.output("generated_ids")?.shape;
    let prompts = prompts(model, recorded)?;
    let options = GenerateOptions {
        max_new_tokens: shape.last().copied().unwrap_or(0),
        sampling: SamplingConfig::GREEDY,
        stop_ids: Vec::new(),
    };
    let generated = generate(&model.vlm, &prompts, &options, &mut |_, _| {})?;
    Ok(Computed::Ids(generated.into_iter().map(|row| row.tokens).collect()))
}

fn prompts(model: &Model, recorded: &Recorded) -> anyhow::Result<Vec<Prompt>> {
    let vocab = model.vlm.config.text.vocab_size as i64;
    let is_token = |id: i64| (0..vocab).contains(&id);
    let (ids, mask) = if let Some(ids) = recorded.ids("prompt_ids", is_token)? {
        (ids, None)
    } else {
        let ids = recorded.need(recorded.ids("input_ids", is_token)?, "prompt_ids", "`out.generated_ids`")?;
        let mask = recorded.ids_like("attention_mask", &ids, |keep| keep == 0 || keep == 1)?;
        (ids, mask.map(|mask| mask.values))
    };
    let spans = spans(model, recorded, &ids)?;
    let side = model.vlm.config.vision.image_size;
    let pictures = if spans.is_empty() { None } else { recorded.pictures(side)? };
    let pictures = pictures.map(|pictures| pictures.values).unwrap_or_default();
    let mut pictures = pictures.chunks_exact(3 * side * side);
    let mut prompts = Vec::new();
    for row in 0..ids.rows {
        let at = row * ids.cols..(row + 1) * ids.cols;
        let mask = mask.as_ref().map(|mask| &mask[at.clone()]);
        let (mut prompt, skipped) = unpadded(&ids.values[at], mask);
        for span in spans.iter().filter(|span| span.row == row) {
            let end = span.start + span.len;
            let hidden = mask.is_some_and(|mask| (skipped..end).any(|at| mask[at] == 0));
            let Some(start) = span.start.checked_sub(skipped).filter(|_| !hidden) else {
                return Err(recorded.bad(&format!("hides placeholders of row {row} in `in.attention_mask`")).into());
            };
            let picture = recorded.need(pictures.next(), "pixel_values", "a prompt's picture")?;
            prompt.media.push((start, span.len));
            prompt.pixels.push(picture.to_vec());
        }
        prompts.push(prompt);
    }
    Ok(prompts)
}

/// The tokens of a row without its padding, and how many were dropped at the left.
fn unpadded(ids: &[i64], mask: Option<&[i64]>) -> (Prompt, usize) {
    let keep = |at: &usize| mask.is_none_or(|mask| mask[*at] != 0);
    let first = (0..ids.len()).find(keep).unwrap_or(ids.len());
    let input_ids = (first..ids.len()).filter(keep).map(|at| ids[at] as u32).collect();
    (Prompt { input_ids, ..Prompt::default() }, first)
}
