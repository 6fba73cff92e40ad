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

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_data::HostBatch;
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::{Connector, CrossAttentionLayer, MemoryMask};
use mmtrain_model::decoder::{Decoder, DecoderBlock, DecoderContext, DecoderModel};
use mmtrain_model::encoder::chain::{ChainContext, Stretch, StretchNet, side_by_side};
use mmtrain_model::encoder::input::MediumView;
use mmtrain_model::encoder::parts::FeatureParts;
use mmtrain_model::lora::dropout::key_of;
use mmtrain_model::media::{Arrangement, BatchView, ForkedSample, PlacedMedium, Placement};
use mmtrain_model::params::{FlatTensors, Part, Tuned};
use mmtrain_model::{ModelError, Vlm};

use crate::features::FeatureCache;
use crate::objective::{HeadLoss, Supervised, Weights, head_logps, head_loss, supervised};
use crate::tape::{Beside, Held, Place, backward, backward_beside, forward, forward_beside};

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
    /// Negative log-likelihood summed over the supervised tokens. `[1]`
    pub loss_sum: Tensor<1>,
    /// Gradients of `loss_sum / divisor` by parameter name.
    pub gradients: FlatTensors,
}

/// Loss of one micro-batch and its gradients, as if the loss were divided by `divisor`
/// (the supervised tokens of the whole step).
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_backward(model: &Vlm, batch: &HostBatch, plan: &Plan, divisor: f64) -> Result<MicroResult, ModelError> {
    forward_backward_masked(model, batch, None, plan, divisor)
}

/// As [`forward_backward`], with another mask than the batch asks for, such as for rows padded on the left.
pub fn forward_backward_masked(
    model: &Vlm,
    batch: &HostBatch,
    mask: Option<&Mask>,
    plan: &Plan,
    divisor: f64,
) -> Result<MicroResult, ModelError> {
    let (view, rows) = (view(batch), supervised(batch));
    let mut gradients = FlatTensors::new();
    let media = Media::forward(model, &view, plan)?;
    let text = Text::forward(model, &view, mask, plan, media.as_ref())?;
    let weights = Some(Weights::Mean(divisor));
    let head = head_loss(&head_of(&model.decoder), &text.rows(&rows), &rows, plan, weights, &mut gradients);
    let loss_sum = head.loss_sum.clone();
    below_head(model, plan, (media, text), head, &rows, &mut gradients);
    Ok(MicroResult { loss_sum, gradients })
}

/// A micro-batch whose log-probabilities decide with which weights they are learned.
///
/// `weigh` gets the supervised tokens and the log-probability of each, and gives the gradient of the loss by each. The
/// `loss_sum` of the result is the weighted sum of negative log-likelihoods; who weighs knows the loss.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take, or what `weigh` refuses.
pub fn forward_weigh_backward<E: From<ModelError>>(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    weigh: impl FnOnce(&Supervised, &[f64]) -> Result<Vec<f64>, E>,
) -> Result<MicroResult, E> {
    let (view, rows) = (view(batch), supervised(batch));
    let mut gradients = FlatTensors::new();
    let media = Media::forward(model, &view, plan)?;
    let text = Text::forward(model, &view, None, plan, media.as_ref())?;
    let (top, states) = (head_of(&model.decoder), text.rows(&rows));
    let slopes = weigh(&rows, &head_logps(&top, &states, &rows, plan))?;
    let weights = slopes.iter().map(|slope| -*slope as f32).collect::<Vec<_>>();
    let head = head_loss(&top, &states, &rows, plan, Some(Weights::Own(&weights)), &mut gradients);
    let loss_sum = head.loss_sum.clone();
    below_head(model, plan, (media, text), head, &rows, &mut gradients);
    Ok(MicroResult { loss_sum, gradients })
}

/// The backward pass from the states that predict on.
fn below_head(
    model: &Vlm,
    plan: &Plan,
    (media, text): (Option<Media>, Text),
    head: HeadLoss,
    rows: &Supervised,
    gradients: &mut FlatTensors,
) {
    if let Some(feature_gradient) = text.backward(model, plan, head, rows, gradients)
        && let Some(media) = media
    {
        media.backward(model, plan, feature_gradient, gradients);
    }
}

/// The supervised tokens of a batch and the log-probability of each, without any tape.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_logps(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<(Supervised, Vec<f64>), ModelError> {
    let plan = Plan { trained: Trained::NOTHING, ..plan.clone() };
    let (view, rows) = (view(batch), supervised(batch));
    let media = Media::forward(model, &view, &plan)?;
    let text = Text::forward(model, &view, None, &plan, media.as_ref())?;
    let logps = head_logps(&head_of(&model.decoder), &text.rows(&rows), &rows, &plan);
    Ok((rows, logps))
}

/// Loss of one batch without any tape. `[1]`
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_loss(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<Tensor<1>, ModelError> {
    forward_loss_masked(model, batch, None, plan)
}

/// As [`forward_loss`], with another mask than the batch asks for. `[1]`
pub fn forward_loss_masked(
    model: &Vlm,
    batch: &HostBatch,
    mask: Option<&Mask>,
    plan: &Plan,
) -> Result<Tensor<1>, ModelError> {
    let plan = Plan { trained: Trained::NOTHING, ..plan.clone() };
    let (view, rows) = (view(batch), supervised(batch));
    let media = Media::forward(model, &view, &plan)?;
    let text = Text::forward(model, &view, mask, &plan, media.as_ref())?;
    Ok(head_loss(&head_of(&model.decoder), &text.rows(&rows), &rows, &plan, None, &mut FlatTensors::new()).loss_sum)
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

/// The encoder and the connector on one micro-batch.
struct Media {
    chains: Vec<Chain>,
    arrangement: Arrangement,
    connector: Held<Connector, 3>,
    /// What the connector made: tokens `[1, rows, hidden]` or memories `[batch, keys, hidden]`.
    features: Tensor<3>,
}

/// One chain of the encoder.
struct Chain {
    context: ChainContext,
    stretches: Vec<(Stretch, Held<StretchNet, 3>)>,
    /// The first stretch of which something is trained.
    first_trained: Option<usize>,
    /// Width of its features.
    width: usize,
}

impl Media {
    /// None for a batch without media.
    fn forward(model: &Vlm, batch: &BatchView<'_>, plan: &Plan) -> Result<Option<Self>, ModelError> {
        if batch.media.is_empty() {
            return Ok(None);
        }
        let views = batch.media.iter().map(PlacedMedium::view).collect::<Vec<_>>();
        let (features, chains) = match &plan.features {
            Some(cache) => (known_features(cache, model, &views, plan)?, Vec::new()),
            None => Chain::all_forward(model, &views, plan)?,
        };
        let trained = plan.trained.encoder.is_trained();
        let arrangement = Arrangement::of(&model.config, batch, &model.device())?;
        let run = connect(&arrangement);
        let bridge = model.connector.without_layers();
        let (features, connector) = forward(&bridge, features, &connector_place(plan), trained, true, run);
        Ok(Some(Self { chains, arrangement, connector, features }))
    }

    /// The memories of the batch, where the connector makes them. `[batch, keys, hidden]`
    fn memory(&self) -> Option<&Tensor<3>> {
        self.arrangement.places.as_ref().map(|_| &self.features)
    }

    fn backward(self, model: &Vlm, plan: &Plan, gradient: Tensor<3>, gradients: &mut FlatTensors) {
        let (trained, place) = (plan.trained.encoder.is_trained(), connector_place(plan));
        let run = connect(&self.arrangement);
        let bridge = model.connector.without_layers();
        let gradient = backward(&bridge, self.connector, gradient, &place, trained, gradients, run);
        let Some(gradient) = gradient else { return };
        let mut start = 0;
        for chain in self.chains {
            let end = start + chain.width;
            chain.backward(gradient.clone().slice_dim(2, start..end), plan, gradients);
            start = end;
        }
    }
}

/// The features of a frozen encoder, as far as they are not kept already made now.
fn known_features(
    cache: &FeatureCache,
    model: &Vlm,
    media: &[MediumView<'_>],
    plan: &Plan,
) -> Result<Tensor<3>, ModelError> {
    let parts = |media: &[MediumView<'_>]| FeatureParts::of(&model.config.encoder, media);
    let encode = |media: &[MediumView<'_>]| Chain::all_forward(model, media, plan).map(|(features, _)| features);
    cache.features(media, plan.dtype, &model.device(), parts, encode)
}

impl Chain {
    /// Runs the encoder: its features, and its chains for the way back.
    fn all_forward(model: &Vlm, media: &[MediumView<'_>], plan: &Plan) -> Result<(Tensor<3>, Vec<Self>), ModelError> {
        let inputs = model.encoder.inputs(&model.config.encoder, media, &model.device())?;
        let (mut chains, mut features, mut kept) = (Vec::new(), Vec::new(), 0);
        for (stretches, input) in model.encoder.chains().into_iter().zip(inputs) {
            let values = input.values.cast(plan.dtype);
            let (output, chain) = Self::forward(stretches, values, input.context, plan, &mut kept);
            features.push(output);
            chains.push(chain);
        }
        Ok((side_by_side(features), chains))
    }

    /// `kept` counts the blocks, of all chains, whose graph is kept.
    fn forward(
        stretches: Vec<Stretch>,
        mut x: Tensor<3>,
        context: ChainContext,
        plan: &Plan,
        kept: &mut usize,
    ) -> (Tensor<3>, Self) {
        let mut held = Vec::with_capacity(stretches.len());
        let first_trained = stretches.iter().position(|stretch| plan.trained.encoder.trains_in(&stretch.net));
        for (index, stretch) in stretches.into_iter().enumerate() {
            let keep = !stretch.is_block || *kept < plan.keep_encoder;
            *kept += usize::from(stretch.is_block);
            let place = encoder_place(plan, &stretch);
            let run = |net: &StretchNet, x| net.forward(x, &context);
            let (y, graph) = forward(&stretch.net, x, &place, behind(first_trained, index), keep, run);
            held.push((stretch, graph));
            x = y;
        }
        let width = x.dims()[2];
        (x, Self { context, stretches: held, first_trained, width })
    }

    fn backward(self, mut gradient: Tensor<3>, plan: &Plan, gradients: &mut FlatTensors) {
        for (index, (stretch, held)) in self.stretches.into_iter().enumerate().rev() {
            let place = encoder_place(plan, &stretch);
            let run = |net: &StretchNet, x| net.forward(x, &self.context);
            let needed = behind(self.first_trained, index);
            let Some(earlier) = backward(&stretch.net, held, gradient, &place, needed, gradients, run) else {
                return;
            };
            gradient = earlier;
        }
    }
}

/// The decoder below the head on one micro-batch.
struct Text {
    embed: Held<Decoder, 3>,
    blocks: Vec<Held<DecoderBlock, 3>>,
    /// Cross-attention layers, by the block that they stand before.
    layers: BTreeMap<usize, (Held<CrossAttentionLayer, 3>, Beside)>,
    context: DecoderContext,
    /// What the tokens see of memories, if there are any.
    seen: Option<MemoryMask>,
    stem: TextStem,
    upstream: Upstream,
    /// The first block of which something is trained.
    first_trained: Option<usize>,
    /// Output of the last block. `[batch, seq, hidden]`
    states: Tensor<3>,
}

/// Where gradients have to go below the decoder.
#[derive(Debug, Clone, Copy)]
struct Upstream {
    /// Something before the features is trained: the encoder or the connector's first part.
    features: bool,
    /// The token embeddings, with features in place, need a gradient.
    embeds: bool,
    /// The decoder's blocks need gradients of their inputs.
    blocks: bool,
}

impl Upstream {
    fn of(plan: &Plan, has_media: bool, has_memory: bool) -> Self {
        let features = has_media && (plan.trained.encoder.is_trained() || plan.trained.connector.is_trained());
        // Layers between the blocks are the connector's: gradients reach them through all blocks behind them.
        let embeds = features && !has_memory;
        Self { features, embeds, blocks: features || plan.trained.decoder == Tuned::Full }
    }
}

/// What the embedding stretch needs beside the features.
#[derive(Clone)]
struct TextStem {
    ids: Tensor<1, Int>,
    /// Where the features stand, if there are any.
    placement: Option<Placement>,
    seq: usize,
    dtype: DType,
}

impl TextStem {
    fn run(&self, decoder: &Decoder, features: Tensor<3>) -> Tensor<3> {
        let embeds = decoder.embed(self.ids.clone()).cast(self.dtype);
        let [tokens, hidden] = embeds.dims();
        let embeds = match &self.placement {
            Some(placement) if !placement.is_empty() => placement.splice(embeds, features.squeeze_dim(0)),
            _ => embeds,
        };
        embeds.reshape([tokens / self.seq, self.seq, hidden])
    }
}

impl Text {
    fn forward(
        model: &Vlm,
        batch: &BatchView<'_>,
        mask: Option<&Mask>,
        plan: &Plan,
        media: Option<&Media>,
    ) -> Result<Self, ModelError> {
        let device = model.device();
        let memory = media.and_then(Media::memory);
        let upstream = Upstream::of(plan, media.is_some(), memory.is_some());
        let placement = match (media, memory) {
            (None, _) => None,
            (Some(_), Some(_)) => Some(Placement::of_markers(&model.config, batch)),
            (Some(_), None) => Some(Placement::of(&model.config, &batch.media, batch.seq)?),
        };
        let ids = Tensor::from_data(batch.input_ids, &device);
        let stem = TextStem { ids, placement, seq: batch.seq, dtype: plan.dtype };
        let features = match media {
            Some(media) if memory.is_none() => media.features.clone(),
            _ => Tensor::zeros([1, 1, model.config.text.hidden_size], (&device, plan.dtype)),
        };
        let place = |scope: String| decoder_place(plan, scope);
        let embedding = head_of(&model.decoder);
        let run = |decoder: &Decoder, x| stem.run(decoder, x);
        let (x, embed) = forward(&embedding, features, &place(String::new()), upstream.embeds, true, run);
        let context = model.context(batch, mask.cloned())?;
        let seen = memory.and_then(|memory| model.seen(memory, media?.arrangement.places.as_ref()?, batch.seq));
        let (blocks, layers) = (Vec::new(), BTreeMap::new());
        let first_trained = model.decoder.model.layers.iter().position(|block| plan.trained.decoder.trains_in(block));
        let mut text = Self { embed, blocks, layers, context, seen, stem, upstream, first_trained, states: x };
        for index in 0..model.decoder.model.layers.len() {
            text.read_before(model, plan, index, memory);
            text.push_block(model, plan, index);
        }
        text.read_before(model, plan, model.decoder.model.layers.len(), memory);
        Ok(text)
    }

    /// Runs the cross-attention layer before a block, if there is one.
    fn read_before(&mut self, model: &Vlm, plan: &Plan, index: usize, memory: Option<&Tensor<3>>) {
        if let (Some((layer, cross)), Some(memory), Some(seen)) = (model.layer_before(index), memory, &self.seen) {
            let run = |cross: &CrossAttentionLayer, x, memory| cross.forward(x, memory, seen);
            let (place, needs) = (layer_place(plan, layer), [self.below(plan, index), self.upstream.features]);
            let (inputs, keep) = ([self.states.clone(), memory.clone()], index < plan.keep_decoder);
            let (y, held, beside) = forward_beside(cross, inputs, &place, needs, keep, run);
            self.layers.insert(index, (held, beside));
            self.states = y;
        }
    }

    /// Runs a block.
    fn push_block(&mut self, model: &Vlm, plan: &Plan, index: usize) {
        let (x, keep) = (self.states.clone(), index < plan.keep_decoder);
        let needed = self.below(plan, index) || self.layers.contains_key(&index) && self.upstream.blocks;
        let run = |block: &DecoderBlock, x| block.forward(x, &self.context);
        let block = &model.decoder.model.layers[index];
        let (y, held) = forward(block, x, &decoder_place(plan, decoder_scope(index)), needed, keep, run);
        self.blocks.push(held);
        self.states = y;
    }

    /// Whether something trained stands before a block, and before its cross-attention layer.
    fn below(&self, plan: &Plan, index: usize) -> bool {
        let earlier = self.layers.range(..index).next().is_some();
        // The embeddings stand before the first block.
        let own = plan.trained.decoder == Tuned::Full || behind(self.first_trained, index);
        own || self.upstream.embeds || (earlier && self.upstream.blocks)
    }

    /// The states whose next token is supervised. `[rows, hidden]`
    fn rows(&self, rows: &Supervised) -> Tensor<2> {
        let [batch, seq, hidden] = self.states.dims();
        let flat = self.states.clone().reshape([batch * seq, hidden]);
        flat.select(0, rows.index_tensor(&self.states.device()))
    }

    /// Returns the gradient of the features, if something before them is trained.
    fn backward(
        self,
        model: &Vlm,
        plan: &Plan,
        head: HeadLoss,
        rows: &Supervised,
        gradients: &mut FlatTensors,
    ) -> Option<Tensor<3>> {
        let below = (0..=self.blocks.len()).map(|index| self.below(plan, index)).collect::<Vec<_>>();
        let mut gradient = self.scattered(head.row_gradient?, rows);
        let mut text = self;
        let mut of_memory = None;
        for (index, &below) in below.iter().enumerate().rev() {
            let Some(earlier) = text.backward_block(model, plan, index, below, gradient, gradients) else {
                return of_memory;
            };
            let [earlier, more] = text.backward_layer(model, plan, index, below, earlier, gradients);
            of_memory = added(of_memory, more);
            let Some(earlier) = earlier else { return of_memory };
            gradient = earlier;
        }
        let Self { embed, stem, upstream, .. } = text;
        let place = decoder_place(plan, String::new());
        let run = |decoder: &Decoder, x| stem.run(decoder, x);
        let of_tokens = backward(&head_of(&model.decoder), embed, gradient, &place, upstream.embeds, gradients, run);
        of_memory.or(of_tokens)
    }

    /// The gradient of a block's input; that of its output where there is no such block, only a layer behind the last.
    fn backward_block(
        &mut self,
        model: &Vlm,
        plan: &Plan,
        index: usize,
        below: bool,
        gradient: Tensor<3>,
        gradients: &mut FlatTensors,
    ) -> Option<Tensor<3>> {
        let Some(block) = model.decoder.model.layers.get(index) else { return Some(gradient) };
        let needed = below || self.layers.contains_key(&index) && self.upstream.blocks;
        let held = self.blocks.pop()?;
        let run = |block: &DecoderBlock, x| block.forward(x, &self.context);
        backward(block, held, gradient, &decoder_place(plan, decoder_scope(index)), needed, gradients, run)
    }

    /// The gradients of a cross-attention layer's input and of the memories; that of its output where there is none.
    fn backward_layer(
        &mut self,
        model: &Vlm,
        plan: &Plan,
        index: usize,
        below: bool,
        gradient: Tensor<3>,
        gradients: &mut FlatTensors,
    ) -> [Option<Tensor<3>>; 2] {
        let layer = (self.layers.remove(&index), model.layer_before(index), &self.seen);
        let (Some(held), Some((layer, cross)), Some(seen)) = layer else { return [Some(gradient), None] };
        let run = |cross: &CrossAttentionLayer, x, memory| cross.forward(x, memory, seen);
        backward_beside(cross, held, gradient, &layer_place(plan, layer), below, gradients, run)
    }

    /// The gradient of all states, given that of the rows that predict. `[batch, seq, hidden]`
    fn scattered(&self, row_gradient: Tensor<2>, rows: &Supervised) -> Tensor<3> {
        let [batch, seq, hidden] = self.states.dims();
        let zeros = Tensor::<2>::zeros([batch * seq, hidden], (&self.states.device(), row_gradient.dtype()));
        let index = rows.index_tensor(&self.states.device());
        let add = burn::tensor::IndexingUpdateOp::Add;
        zeros.select_assign(0, index, row_gradient, add).reshape([batch, seq, hidden])
    }
}

/// Whether something trained stands before a stretch.
fn behind(first_trained: Option<usize>, index: usize) -> bool {
    first_trained.is_some_and(|first| first < index)
}

/// What is there of both.
fn added(a: Option<Tensor<3>>, b: Option<Tensor<3>>) -> Option<Tensor<3>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// The connector as a stretch.
fn connect(arrangement: &Arrangement) -> impl Fn(&Connector, Tensor<3>) -> Tensor<3> {
    |connector, features| connector.forward(features, arrangement)
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

fn encoder_place(plan: &Plan, stretch: &Stretch) -> Place {
    Place { part: Part::Encoder, scope: stretch.scope.clone(), tuned: plan.trained.encoder, dtype: plan.dtype }
}

fn connector_place(plan: &Plan) -> Place {
    Place { part: Part::Connector, scope: String::new(), tuned: plan.trained.connector, dtype: plan.dtype }
}

/// Layers between the decoder's blocks are the connector's.
fn layer_place(plan: &Plan, layer: usize) -> Place {
    Place { scope: format!("layers.{layer}."), ..connector_place(plan) }
}

fn decoder_place(plan: &Plan, scope: String) -> Place {
    Place { part: Part::Decoder, scope, tuned: plan.trained.decoder, dtype: plan.dtype }
}

fn decoder_scope(index: usize) -> String {
    format!("model.layers.{index}.")
}

#[cfg(test)]
pub(crate) mod tests;
