//! Logits, loss, features and greedy continuation of a language model, with or without an encoder.

use burn::prelude::*;
use mmtrain_data::{HostBatch, Medium, SampleId};
use mmtrain_generate::{GenerateOptions, Prompt, SamplingConfig, generate, unheard};
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::Bridge;
use mmtrain_model::media::PlacedMedium;
use mmtrain_model::params::Tuned;
use mmtrain_model::vlm::DecoderInput;
use mmtrain_text::IGNORE_INDEX;
use mmtrain_train::driver::{Plan, Trained, forward_sums_masked, view};

use super::media;
use super::recorded::Recorded;
use super::subject::Model;
use super::{Computed, values};

/// Supervised rows per chunk of head and loss; smaller than the fixtures' batches, so that chunks are cut.
const CHUNK_ROWS: usize = 7;

/// The recorded batch.
pub(super) struct Inputs {
    pub(super) batch: HostBatch,
    /// `[batch, seq]`, where it is not one everywhere.
    attention_mask: Option<Vec<i64>>,
    device: Device,
}

/// One output of the model, if it is one that it has.
pub(super) fn compute(model: &Model, recorded: &Recorded, name: &str) -> anyhow::Result<Option<Computed>> {
    Ok(Some(match name {
        "logits" => logits(model, &Inputs::read(model, recorded, "`out.logits`")?)?,
        "loss" => loss(model, recorded)?,
        "image_features" | "audio_features" if model.has_tower => features(model, recorded, name, false)?,
        "video_features" if model.has_tower => features(model, recorded, name, true)?,
        "cross_attention_states" if model.has_tower => return memories(model, recorded),
        "generated_ids" => generated_ids(model, recorded)?,
        _ => return Ok(None),
    }))
}

impl Inputs {
    /// `in.input_ids` with mask, labels and pictures, where they are recorded.
    pub(super) fn read(model: &Model, recorded: &Recorded, for_what: &str) -> anyhow::Result<Self> {
        let text = &model.vlm.config.text;
        let is_token = |id: i64| (0..text.num_embeddings() as i64).contains(&id);
        let ids = recorded.need(recorded.ids("input_ids", is_token)?, "input_ids", for_what)?;
        let labels = recorded.ids_like("labels", &ids, |id| is_token(id) || id == i64::from(IGNORE_INDEX))?;
        let mask = recorded.ids_like("attention_mask", &ids, |keep| keep == 0 || keep == 1)?;
        let media = media::placed(&model.vlm.config, recorded, &ids)?;
        let attention_mask = mask.map(|mask| mask.values).filter(|mask| mask.contains(&0));
        let labels = labels.map_or_else(|| vec![i64::from(IGNORE_INDEX); ids.values.len()], |labels| labels.values);
        let kept = media::kept(attention_mask.as_deref(), ids.rows, ids.cols);
        let batch = HostBatch {
            batch: ids.rows,
            seq: ids.cols,
            input_ids: ids.values.iter().map(|&id| id as i32).collect(),
            supervised_tokens: supervised_tokens(&labels, ids.cols),
            labels: labels.into_iter().map(|id| id as i32).collect(),
            samples: kept.into_iter().map(|row| Vec::from([row])).collect(),
            forks: Vec::new(),
            media,
            ids: (0..ids.rows).map(row_id).collect(),
        };
        Ok(Self { batch, attention_mask, device: recorded.device().clone() })
    }

    /// None where the causal mask is all there is.
    pub(super) fn mask(&self) -> Option<Mask> {
        let mask = self.attention_mask.as_ref()?;
        Some(Mask::causal_with_padding(mask, self.batch.batch, self.batch.seq, &self.device))
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

/// Zero where the mask is zero, as recorded. `[batch, seq, vocab]`
fn logits(model: &Model, inputs: &Inputs) -> anyhow::Result<Computed> {
    let (vlm, batch) = (&model.vlm, view(&inputs.batch));
    let bridge = vlm.encode_in(model.computing, &batch)?;
    let input = vlm.prepare_seen(&batch, vlm.context(&batch, inputs.mask())?, bridge)?;
    let input = DecoderInput { embeds: input.embeds.cast(model.computing), ..input };
    let mut logits = values(vlm.logits(input));
    if let (Some(mask), Computed::Values { shape, values }) = (&inputs.attention_mask, &mut logits) {
        let positions = values.chunks_exact_mut(shape[2]).zip(mask);
        positions.filter(|(_, keep)| **keep == 0).for_each(|(position, _)| position.fill(0.0));
    }
    Ok(logits)
}

/// Mean over the supervised tokens of the batch. `[1]`
fn loss(model: &Model, recorded: &Recorded) -> anyhow::Result<Computed> {
    let inputs = Inputs::supervised(model, recorded, "`out.loss`")?;
    let sum = forward_sums_masked(&model.vlm, &inputs.batch, inputs.mask().as_ref(), &plan(model, false))?;
    Ok(values(sum.loss / inputs.batch.supervised_tokens as f64))
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

/// Everything that the checkpoint holds is trained, or all adapters; all graphs are kept, or none.
pub(super) fn plan(model: &Model, keep: bool) -> Plan {
    let blocks = |count| if keep { count } else { 0 };
    let tuned = if model.adapter.is_some() { Tuned::Adapters } else { Tuned::Full };
    let tower = if model.has_tower { tuned } else { Tuned::Frozen };
    Plan {
        trained: Trained { encoder: tower, connector: tower, decoder: tuned },
        keep_encoder: blocks(model.vlm.config.encoder.num_layers()),
        keep_decoder: blocks(model.vlm.config.text.num_hidden_layers),
        chunk_rows: CHUNK_ROWS,
        dtype: model.computing,
        features: None,
        dropout: None,
    }
}

/// What stands at the placeholders of pictures and sounds, or of clips, in the recorded shape. `[rows, hidden]`
fn features(model: &Model, recorded: &Recorded, name: &str, of_videos: bool) -> anyhow::Result<Computed> {
    let inputs = Inputs::read(model, recorded, "the features")?;
    let batch = view(&inputs.batch);
    let embeds = model.vlm.prepare(&batch, None)?.embeds;
    let [rows, seq, hidden] = embeds.dims();
    let is_video = |medium: &PlacedMedium<'_>| {
        let first = medium.spans.first().map(|&(start, _)| batch.input_ids[medium.row * seq + start] as usize);
        first == model.vlm.config.video_token_id
    };
    let places = batch.media.iter().filter(|medium| is_video(medium) == of_videos).flat_map(|medium| {
        let columns = medium.spans.iter().flat_map(|&(start, len)| start..start + len);
        columns.map(|column| (medium.row * seq + column) as i32)
    });
    let places = places.collect::<Vec<_>>();
    let placed =
        embeds.reshape([rows * seq, hidden]).select(0, Tensor::from_data(places.as_slice(), recorded.device()));
    let expected = recorded.output(name)?.shape;
    Ok(match values(placed) {
        Computed::Values { shape, values } if shape.iter().product::<usize>() == expected.iter().product::<usize>() => {
            Computed::Values { shape: expected, values }
        }
        other => other,
    })
}

/// What cross-attention layers read, zero where `in.aspect_ratio_mask` is: tiles that are padding.
/// `[rows, pictures, tiles, keys, hidden]`
fn memories(model: &Model, recorded: &Recorded) -> anyhow::Result<Option<Computed>> {
    let inputs = Inputs::read(model, recorded, "the memories")?;
    let Some(Bridge::Memory { rows, .. }) = model.vlm.encode(&view(&inputs.batch))? else { return Ok(None) };
    let Computed::Values { shape, mut values } = values(rows) else { return Ok(None) };
    let expected = recorded.output("cross_attention_states")?.shape;
    let mask = recorded.need(recorded.input("aspect_ratio_mask")?, "aspect_ratio_mask", "the memories")?;
    if expected.iter().product::<usize>() != values.len() || Some(mask.shape.as_slice()) != expected.get(..3) {
        return Ok(Some(Computed::Values { shape, values }));
    }
    let of_a_tile = values.len() / mask.values.len().max(1);
    let tiles = values.chunks_exact_mut(of_a_tile).zip(&mask.values);
    tiles.filter(|(_, keep)| **keep == 0.0).for_each(|(tile, _)| tile.fill(0.0));
    Ok(Some(Computed::Values { shape: expected, values }))
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
    let generated = generate(&model.vlm, &prompts, &options, &mut unheard)?;
    Ok(Computed::Ids(generated.into_iter().map(|row| row.tokens).collect()))
}

fn prompts(model: &Model, recorded: &Recorded) -> anyhow::Result<Vec<Prompt>> {
    let text = &model.vlm.config.text;
    let is_token = |id: i64| (0..text.num_embeddings() as i64).contains(&id);
    let (ids, mask) = if let Some(ids) = recorded.ids("prompt_ids", is_token)? {
        (ids, None)
    } else {
        let ids = recorded.need(recorded.ids("input_ids", is_token)?, "prompt_ids", "`out.generated_ids`")?;
        let mask = recorded.ids_like("attention_mask", &ids, |keep| keep == 0 || keep == 1)?;
        (ids, mask.map(|mask| mask.values))
    };
    let (media, _) = media::placed_first(&model.vlm.config, recorded, &ids)?;
    let mut media = media.into_iter().peekable();
    let mut prompts = Vec::new();
    for row in 0..ids.rows {
        let at = row * ids.cols..(row + 1) * ids.cols;
        let mask = mask.as_ref().map(|mask| &mask[at.clone()]);
        let (mut prompt, skipped) = unpadded(&ids.values[at], mask);
        while let Some(host) = media.next_if(|host| host.row == row) {
            let hidden = mask.is_some_and(|mask| (skipped..host.medium.end()).any(|at| mask[at] == 0));
            let Some(medium) = moved(host.medium, skipped).filter(|_| !hidden) else {
                return Err(recorded.bad(&format!("hides placeholders of row {row} in `in.attention_mask`")).into());
            };
            prompt.media.push(medium);
        }
        prompts.push(prompt);
    }
    Ok(prompts)
}

/// A medium whose row begins `by` columns later; none if that is behind its first placeholder.
fn moved(medium: Medium, by: usize) -> Option<Medium> {
    let spans = medium.spans.iter().map(|&(start, len)| Some((start.checked_sub(by)?, len)));
    Some(Medium { spans: spans.collect::<Option<_>>()?, ..medium })
}

/// The tokens of a row without its padding, and how many were dropped at the left.
fn unpadded(ids: &[i64], mask: Option<&[i64]>) -> (Prompt, usize) {
    let keep = |at: &usize| mask.is_none_or(|mask| mask[*at] != 0);
    let first = (0..ids.len()).find(keep).unwrap_or(ids.len());
    let input_ids = (first..ids.len()).filter(keep).map(|at| ids[at] as u32).collect();
    (Prompt { input_ids, ..Prompt::default() }, first)
}
