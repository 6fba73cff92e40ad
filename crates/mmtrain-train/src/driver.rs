//! Forward and backward of one micro-batch, block by block.
//!
//! ```text
//! media ─ stem ─ blocks ─ last ─ connector ─┐
//!                           ids ─ embed ─ splice ─ blocks ─ gather supervised rows ─ norm, head, loss
//! ```
//!
//! Cross-attention layers stand between the decoder's blocks; what all of them read is one memory, whose gradients
//! add up.
//!
//! Every arrow is a [`tape`](crate::tape) stretch of its own. Dims: `batch`, `seq`, `hidden` of the
//! decoder, `rows` supervised positions.

mod media;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_data::HostBatch;
use mmtrain_model::attention::Mask;
use mmtrain_model::decoder::{Decoder, DecoderModel};
use mmtrain_model::lora::dropout::key_of;
use mmtrain_model::media::{BatchView, ForkedSample, PlacedMedium};
use mmtrain_model::params::{FlatTensors, Part, Tuned};
use mmtrain_model::{ModelError, Vlm};

use self::media::Media;
use self::text::Text;
use crate::features::FeatureCache;
use crate::gather::Gathering;
use crate::objective::{Averaged, Sums, Supervised, Weights, head_logps, head_loss, supervised};
use crate::tape::Place;

/// What of each part is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trained {
    /// Of the encoder.
    pub encoder: Tuned,
    /// Of the connector.
    pub connector: Tuned,
    /// Of the decoder.
    pub decoder: Tuned,
}

impl Trained {
    /// Nothing.
    pub const NOTHING: Self = Self { encoder: Tuned::Frozen, connector: Tuned::Frozen, decoder: Tuned::Frozen };

    /// What of one part is trained.
    pub fn part(self, part: Part) -> Tuned {
        match part {
            Part::Encoder => self.encoder,
            Part::Connector => self.connector,
            Part::Decoder => self.decoder,
        }
    }
}

/// How a step is computed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is trained.
    pub trained: Trained,
    /// Encoder blocks whose graph is kept; the others run again in the backward pass.
    pub keep_encoder: usize,
    /// Decoder blocks whose graph is kept.
    pub keep_decoder: usize,
    /// Supervised rows per chunk of head and loss.
    pub chunk_rows: usize,
    /// Type of activations.
    pub dtype: DType,
    /// Features of the encoder from earlier steps, if it is frozen and they are kept.
    pub features: Option<Arc<FeatureCache>>,
    /// Seed and step, where adapters zero some of what they see.
    pub dropout: Option<(u64, u64)>,
}

impl Plan {
    /// The model for the pass over one micro-batch of a step, by its number.
    pub fn model_for<'a>(&self, model: &'a Vlm, micro_batch: usize) -> Cow<'a, Vlm> {
        match self.dropout {
            None => Cow::Borrowed(model),
            Some((seed, step)) => Cow::Owned(model.for_pass(key_of(seed, step, micro_batch))),
        }
    }
}

/// What one micro-batch yields.
#[derive(Debug)]
pub struct MicroResult {
    /// Over the supervised tokens.
    pub sums: Sums,
    /// Gradients of the loss, as its share of the step's mean, by parameter name.
    pub gradients: FlatTensors,
}

/// Loss of one micro-batch and its gradients, as its share of the step's mean; a number is what the sum over tokens is divided by
/// (the supervised tokens of the whole step).
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_backward(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    mean: impl Into<Averaged>,
) -> Result<MicroResult, ModelError> {
    forward_backward_masked(model, batch, None, plan, mean)
}

/// As [`forward_backward`], with another mask than the batch asks for, such as for rows padded on the left.
pub fn forward_backward_masked(
    model: &Vlm,
    batch: &HostBatch,
    mask: Option<&Mask>,
    plan: &Plan,
    mean: impl Into<Averaged>,
) -> Result<MicroResult, ModelError> {
    let mut gathering = Gathering::default();
    let sums = learn(Pass::forward(model, batch, mask, plan)?, mean.into(), &mut gathering);
    Ok(MicroResult { sums, gradients: gathering.finish() })
}

/// As [`forward_backward`], with the gradients added to those that are there.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_backward_into(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    mean: Averaged,
    gathering: &mut Gathering<'_>,
) -> Result<Sums, ModelError> {
    Ok(learn(Pass::forward(model, batch, None, plan)?, mean, gathering))
}

fn learn(pass: Pass<'_>, mean: Averaged, gathering: &mut Gathering<'_>) -> Sums {
    let own = mean.own_weights(&pass.rows);
    pass.backward(mean.weights(own.as_deref()), gathering)
}

/// Gradients of a micro-batch whose log-probabilities decide with which weights they are learned.
///
/// `weigh` gets the supervised tokens and the log-probability of each, and gives the gradient of the loss by each.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take, or what `weigh` refuses.
pub fn forward_weigh_backward<E: From<ModelError>>(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    weigh: impl FnOnce(&Supervised, &[f64]) -> Result<Vec<f64>, E>,
) -> Result<FlatTensors, E> {
    let mut gathering = Gathering::default();
    forward_weigh_backward_into(model, batch, plan, weigh, &mut gathering)?;
    Ok(gathering.finish())
}

/// As [`forward_weigh_backward`], with the gradients added to those that are there.
///
/// # Errors
///
/// As of it.
pub fn forward_weigh_backward_into<E: From<ModelError>>(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    weigh: impl FnOnce(&Supervised, &[f64]) -> Result<Vec<f64>, E>,
    gathering: &mut Gathering<'_>,
) -> Result<(), E> {
    let pass = Pass::forward(model, batch, None, plan)?;
    let slopes = weigh(&pass.rows, &pass.logps())?;
    let weights = slopes.iter().map(|slope| -*slope as f32).collect::<Vec<_>>();
    pass.backward(Weights::Own(&weights), gathering);
    Ok(())
}

/// The supervised tokens of a batch and the log-probability of each, without any tape.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_logps(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<(Supervised, Vec<f64>), ModelError> {
    let plan = Plan { trained: Trained::NOTHING, ..plan.clone() };
    let pass = Pass::forward(model, batch, None, &plan)?;
    let logps = pass.logps();
    Ok((pass.rows, logps))
}

/// Loss of one batch, and how often it is right, without any tape.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_sums(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<Sums, ModelError> {
    forward_sums_masked(model, batch, None, plan)
}

/// As [`forward_sums`], with another mask than the batch asks for.
pub fn forward_sums_masked(
    model: &Vlm,
    batch: &HostBatch,
    mask: Option<&Mask>,
    plan: &Plan,
) -> Result<Sums, ModelError> {
    let plan = Plan { trained: Trained::NOTHING, ..plan.clone() };
    Ok(Pass::forward(model, batch, mask, &plan)?.sums())
}

/// A micro-batch up to the states that predict.
struct Pass<'a> {
    model: &'a Vlm,
    plan: &'a Plan,
    media: Option<Media>,
    text: Text,
    rows: Supervised,
    /// `[rows, hidden]`
    states: Tensor<2>,
}

impl<'a> Pass<'a> {
    fn forward(model: &'a Vlm, batch: &HostBatch, mask: Option<&Mask>, plan: &'a Plan) -> Result<Self, ModelError> {
        let (view, rows) = (view(batch), supervised(batch));
        let media = Media::forward(model, &view, plan)?;
        let text = Text::forward(model, &view, mask, plan, media.as_ref())?;
        let states = text.rows(&rows);
        Ok(Self { model, plan, media, text, rows, states })
    }

    fn sums(&self) -> Sums {
        let (top, mut none) = (head_of(&self.model.decoder), FlatTensors::new());
        head_loss(&top, &self.states, &self.rows, self.plan, None, &mut none).sums
    }

    /// Of each supervised token.
    fn logps(&self) -> Vec<f64> {
        head_logps(&head_of(&self.model.decoder), &self.states, &self.rows, self.plan)
    }

    /// Sums over the supervised tokens; gathers the gradients of the weighted loss.
    fn backward(self, weights: Weights<'_>, gathering: &mut Gathering<'_>) -> Sums {
        let Self { model, plan, media, text, rows, states } = self;
        let head = head_loss(&head_of(&model.decoder), &states, &rows, plan, Some(weights), gathering.gradients());
        let sums = head.sums.clone();
        if let Some(feature_gradient) = text.backward(model, plan, head, &rows, gathering)
            && let Some(media) = media
        {
            media.backward(model, plan, feature_gradient, gathering.gradients());
        }
        sums
    }
}

/// The batch as the model sees it.
pub fn view(batch: &HostBatch) -> BatchView<'_> {
    let media = batch.media.iter().map(|host| PlacedMedium {
        row: host.row,
        spans: &host.medium.spans,
        layout: &host.medium.input.layout,
        values: &host.medium.input.values,
        instruction: &host.medium.instruction,
        group_seconds: host.medium.group_seconds,
    });
    let forks = batch.forks.iter().map(|fork| ForkedSample {
        row: fork.row,
        start: fork.start,
        first: fork.chosen,
        second: fork.rejected,
        end: fork.end,
    });
    BatchView {
        input_ids: &batch.input_ids,
        seq: batch.seq,
        samples: batch.samples.clone(),
        forks: forks.collect(),
        media: media.collect(),
    }
}

/// Whether something trained stands before a stretch.
fn behind(first_trained: Option<usize>, index: usize) -> bool {
    first_trained.is_some_and(|first| first < index)
}

/// The decoder without its blocks: embedding, last norm and head under their own names.
fn head_of(decoder: &Decoder) -> Decoder {
    Decoder {
        model: DecoderModel {
            embed_tokens: decoder.model.embed_tokens.clone(),
            layers: Vec::new(),
            norm: decoder.model.norm.clone(),
        },
        lm_head: decoder.lm_head.clone(),
    }
}

fn connector_place(plan: &Plan) -> Place {
    Place { part: Part::Connector, scope: String::new(), tuned: plan.trained.connector, dtype: plan.dtype }
}

#[cfg(test)]
pub(crate) mod tests;
