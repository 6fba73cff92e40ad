//! The decoder below its head on one micro-batch: forward, and backward from the gradient of the states that predict.
//!
//! Dims: `batch`, `seq`, `hidden`, `rows` supervised positions.

use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::{CrossAttentionLayer, MemoryMask};
use mmtrain_model::decoder::{Decoder, DecoderBlock, DecoderContext};
use mmtrain_model::media::{BatchView, Placement};
use mmtrain_model::params::{FlatTensors, Part, Tuned};
use mmtrain_model::{ModelError, Vlm};

use super::media::Media;
use super::{Plan, behind, connector_place, head_of};
use crate::gather::Gathering;
use crate::objective::{HeadLoss, Supervised};
use crate::tape::{Beside, Held, Place, backward, backward_beside, forward, forward_beside};

/// The decoder below the head on one micro-batch.
pub(super) struct Text {
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
    pub(super) fn forward(
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
        let mut own = model.decoder.model.layers.iter().enumerate();
        let first_trained = own.position(|(index, block)| decoder_place(plan, decoder_scope(index)).trains(block));
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
    pub(super) fn rows(&self, rows: &Supervised) -> Tensor<2> {
        let [batch, seq, hidden] = self.states.dims();
        let flat = self.states.clone().reshape([batch * seq, hidden]);
        flat.select(0, rows.index_tensor(&self.states.device()))
    }

    /// Returns the gradient of the features, if something before them is trained.
    pub(super) fn backward(
        self,
        model: &Vlm,
        plan: &Plan,
        head: HeadLoss,
        rows: &Supervised,
        gathering: &mut Gathering<'_>,
    ) -> Option<Tensor<3>> {
        let below = (0..=self.blocks.len()).map(|index| self.below(plan, index)).collect::<Vec<_>>();
        let mut gradient = self.scattered(head.row_gradient?, rows);
        let mut text = self;
        let mut of_memory = None;
        for (index, &below) in below.iter().enumerate().rev() {
            let earlier = text.backward_block(model, plan, index, below, gradient, gathering.gradients());
            gathering.left(Part::Decoder, &decoder_scope(index));
            let Some(earlier) = earlier else { return of_memory };
            let [earlier, more] = text.backward_layer(model, plan, index, below, earlier, gathering.gradients());
            of_memory = added(of_memory, more);
            let Some(earlier) = earlier else { return of_memory };
            gradient = earlier;
        }
        let Self { embed, stem, upstream, .. } = text;
        let place = decoder_place(plan, String::new());
        let run = |decoder: &Decoder, x| stem.run(decoder, x);
        let (top, gradients) = (head_of(&model.decoder), gathering.gradients());
        let of_tokens = backward(&top, embed, gradient, &place, upstream.embeds, gradients, run);
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

/// What is there of both.
fn added(a: Option<Tensor<3>>, b: Option<Tensor<3>>) -> Option<Tensor<3>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// Layers between the decoder's blocks are the connector's.
fn layer_place(plan: &Plan, layer: usize) -> Place {
    Place { scope: format!("layers.{layer}."), ..connector_place(plan) }
}

fn decoder_place(plan: &Plan, scope: String) -> Place {
    Place { part: Part::Decoder, tuned: plan.trained.decoder.at(&scope), scope, dtype: plan.dtype }
}

fn decoder_scope(index: usize) -> String {
    format!("model.layers.{index}.")
}
