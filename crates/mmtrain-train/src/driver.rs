//! Forward and backward of one micro-batch, block by block.
//!
//! ```text
//! pixels ─ stem ─ blocks ─ select + connector ─┐
//!                              ids ─ embed ─ splice ─ blocks ─ gather supervised rows ─ norm, head, loss
//! ```
//!
//! Every arrow is a [`tape`](crate::tape) stretch of its own. Dims: `batch`, `seq`, `hidden` of the
//! decoder, `rows` supervised positions.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_data::HostBatch;
use mmtrain_model::Vlm;
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::{Bridge, Connector};
use mmtrain_model::decoder::{Decoder, DecoderBlock, DecoderContext, DecoderModel};
use mmtrain_model::encoder::{Vit, VitBlock, VitBlocks, select_features};
use mmtrain_model::params::{FlatTensors, Part};
use mmtrain_model::vlm::splice;

use crate::objective::{HeadLoss, Supervised, head_loss, supervised};
use crate::tape::{Held, Place, backward, forward};

/// Which parts are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trained {
    /// The encoder.
    pub encoder: bool,
    /// The connector.
    pub connector: bool,
    /// The decoder.
    pub decoder: bool,
}

impl Trained {
    /// Whether one part is trained.
    pub fn part(self, part: Part) -> bool {
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
    /// Which parts are trained.
    pub trained: Trained,
    /// Encoder blocks whose graph is kept; the others run again in the backward pass.
    pub keep_encoder: usize,
    /// Decoder blocks whose graph is kept.
    pub keep_decoder: usize,
    /// Supervised rows per chunk of head and loss.
    pub chunk_rows: usize,
    /// Type of activations.
    pub dtype: DType,
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
pub fn forward_backward(model: &Vlm, batch: &HostBatch, plan: &Plan, divisor: f64) -> MicroResult {
    forward_backward_masked(model, batch, None, plan, divisor)
}

/// As [`forward_backward`], with another mask than the causal one, such as for rows padded on the left.
pub fn forward_backward_masked(
    model: &Vlm,
    batch: &HostBatch,
    mask: Option<&Mask>,
    plan: &Plan,
    divisor: f64,
) -> MicroResult {
    let device = model.device();
    let rows = supervised(batch);
    let mut gradients = FlatTensors::new();
    let vision = (!batch.media.is_empty()).then(|| Vision::forward(model, batch, plan, &device));
    let text = Text::forward(model, batch, mask, plan, vision.as_ref(), &device);
    let head = head_loss(&head_of(&model.decoder), &text.rows(&rows), &rows, plan, Some(divisor), &mut gradients);
    let loss_sum = head.loss_sum.clone();
    if let Some(feature_gradient) = text.backward(model, plan, head, &rows, &mut gradients)
        && let Some(vision) = vision
    {
        vision.backward(model, plan, feature_gradient, &mut gradients);
    }
    MicroResult { loss_sum, gradients }
}

/// Loss of one batch without any tape. `[1]`
pub fn forward_loss(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Tensor<1> {
    forward_loss_masked(model, batch, None, plan)
}

/// As [`forward_loss`], with another mask than the causal one. `[1]`
pub fn forward_loss_masked(model: &Vlm, batch: &HostBatch, mask: Option<&Mask>, plan: &Plan) -> Tensor<1> {
    let plan = Plan { trained: Trained { encoder: false, connector: false, decoder: false }, ..plan.clone() };
    let device = model.device();
    let rows = supervised(batch);
    let vision = (!batch.media.is_empty()).then(|| Vision::forward(model, batch, &plan, &device));
    let text = Text::forward(model, batch, mask, &plan, vision.as_ref(), &device);
    head_loss(&head_of(&model.decoder), &text.rows(&rows), &rows, &plan, None, &mut FlatTensors::new()).loss_sum
}

/// The encoder and the connector on one micro-batch.
struct Vision {
    stem: Held<Vit, 4>,
    blocks: Vec<Held<VitBlock, 3>>,
    connector: Held<Connector, 3>,
    /// `[images, tokens, hidden]`
    features: Tensor<3>,
}

impl Vision {
    fn forward(model: &Vlm, batch: &HostBatch, plan: &Plan, device: &Device) -> Self {
        let trained = plan.trained.encoder;
        let pixels = pixel_tensor(batch, device).cast(plan.dtype);
        let place = |scope: String| Place { part: Part::Encoder, scope, trained, dtype: plan.dtype };
        let (mut x, stem) = forward(&stem_of(&model.encoder), pixels, &place(String::new()), false, true, Vit::embed);
        let mut blocks = Vec::new();
        for (index, block) in model.encoder.encoder.layers.iter().enumerate() {
            let keep = index < plan.keep_encoder;
            let (y, held) = forward(block, x, &place(encoder_scope(index)), trained, keep, VitBlock::forward);
            blocks.push(held);
            x = y;
        }
        let (features, connector) = forward(&model.connector, x, &connector_place(plan), trained, true, connect(model));
        Self { stem, blocks, connector, features }
    }

    fn backward(self, model: &Vlm, plan: &Plan, gradient: Tensor<3>, gradients: &mut FlatTensors) {
        let trained = plan.trained.encoder;
        let place = |scope: String| Place { part: Part::Encoder, scope, trained, dtype: plan.dtype };
        let connector = connector_place(plan);
        let gradient =
            backward(&model.connector, self.connector, gradient, &connector, trained, gradients, connect(model));
        let Some(mut gradient) = gradient else { return };
        for (index, held) in self.blocks.into_iter().enumerate().rev() {
            let block = &model.encoder.encoder.layers[index];
            let place = place(encoder_scope(index));
            let Some(earlier) = backward(block, held, gradient, &place, trained, gradients, VitBlock::forward) else {
                return;
            };
            gradient = earlier;
        }
        backward(&stem_of(&model.encoder), self.stem, gradient, &place(String::new()), false, gradients, Vit::embed);
    }
}

/// The decoder below the head on one micro-batch.
struct Text {
    embed: Held<Decoder, 3>,
    has_features: bool,
    blocks: Vec<Held<DecoderBlock, 3>>,
    context: DecoderContext,
    stem: TextStem,
    /// Output of the last block. `[batch, seq, hidden]`
    states: Tensor<3>,
}

/// What the embedding stretch needs beside the features.
#[derive(Clone)]
struct TextStem {
    ids: Tensor<1, Int>,
    positions: Vec<i32>,
    batch: usize,
    has_features: bool,
    dtype: DType,
}

impl TextStem {
    fn run(&self, decoder: &Decoder, features: Tensor<3>) -> Tensor<3> {
        let bridge = self.has_features.then_some(Bridge::Tokens(features));
        let embeds = splice(decoder.embed(self.ids.clone()).cast(self.dtype), bridge, &self.positions);
        let [tokens, hidden] = embeds.dims();
        embeds.reshape([self.batch, tokens / self.batch, hidden])
    }
}

impl Text {
    fn forward(
        model: &Vlm,
        batch: &HostBatch,
        mask: Option<&Mask>,
        plan: &Plan,
        vision: Option<&Vision>,
        device: &Device,
    ) -> Self {
        let upstream = vision.is_some() && (plan.trained.encoder || plan.trained.connector);
        let needed = upstream || plan.trained.decoder;
        let stem = TextStem {
            ids: Tensor::from_data(TensorData::new(batch.input_ids.clone(), [batch.input_ids.len()]), device),
            positions: media_positions(batch),
            batch: batch.batch,
            has_features: vision.is_some(),
            dtype: plan.dtype,
        };
        let features = match vision {
            Some(vision) => vision.features.clone(),
            None => Tensor::zeros([1, 1, model.config.text.hidden_size], device),
        };
        let place = |scope: String| decoder_place(plan, scope);
        let embedding = head_of(&model.decoder);
        let (mut x, embed) =
            forward(&embedding, features, &place(String::new()), upstream, true, |decoder, x| stem.run(decoder, x));
        let mask = mask.cloned().unwrap_or_else(|| Mask::causal(batch.seq, batch.seq, device));
        let context = DecoderContext::with_mask(&model.config.text, 0, batch.seq, Some(mask), device);
        let mut blocks = Vec::new();
        for (index, block) in model.decoder.model.layers.iter().enumerate() {
            let keep = index < plan.keep_decoder;
            let run = |block: &DecoderBlock, x| block.forward(x, &context);
            let (y, held) = forward(block, x, &place(decoder_scope(index)), needed, keep, run);
            blocks.push(held);
            x = y;
        }
        Self { embed, has_features: upstream, blocks, context, stem, states: x }
    }

    /// The states whose next token is supervised. `[rows, hidden]`
    fn rows(&self, rows: &Supervised) -> Tensor<2> {
        let [batch, seq, hidden] = self.states.dims();
        let flat = self.states.clone().reshape([batch * seq, hidden]);
        flat.select(0, rows.index_tensor(&self.states.device()))
    }

    /// Returns the gradient of the image features, if something before them is trained.
    fn backward(
        self,
        model: &Vlm,
        plan: &Plan,
        head: HeadLoss,
        rows: &Supervised,
        gradients: &mut FlatTensors,
    ) -> Option<Tensor<3>> {
        let needed = self.has_features || plan.trained.decoder;
        let [batch, seq, hidden] = self.states.dims();
        let row_gradient = head.row_gradient?;
        let zeros = Tensor::<2>::zeros([batch * seq, hidden], (&self.states.device(), row_gradient.dtype()));
        let index = rows.index_tensor(&self.states.device());
        let add = burn::tensor::IndexingUpdateOp::Add;
        let mut gradient = zeros.select_assign(0, index, row_gradient, add).reshape([batch, seq, hidden]);
        for (index, held) in self.blocks.into_iter().enumerate().rev() {
            let block = &model.decoder.model.layers[index];
            let run = |block: &DecoderBlock, x| block.forward(x, &self.context);
            let place = decoder_place(plan, decoder_scope(index));
            gradient = backward(block, held, gradient, &place, needed, gradients, run)?;
        }
        let place = decoder_place(plan, String::new());
        let stem = self.stem;
        backward(&head_of(&model.decoder), self.embed, gradient, &place, self.has_features, gradients, |decoder, x| {
            stem.run(decoder, x)
        })
    }
}

/// Feature selection and connector as one stretch.
fn connect(model: &Vlm) -> impl Fn(&Connector, Tensor<3>) -> Tensor<3> {
    let (vision, select) = (&model.config.vision, model.config.feature_select);
    move |connector, hidden| {
        let Bridge::Tokens(tokens) = connector.forward(select_features(hidden, vision, select));
        tokens
    }
}

/// The encoder without its blocks: embedding and first norm under their own names.
fn stem_of(encoder: &Vit) -> Vit {
    Vit { encoder: VitBlocks { layers: Vec::new() }, ..encoder.clone() }
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
    Place { part: Part::Connector, scope: String::new(), trained: plan.trained.connector, dtype: plan.dtype }
}

fn decoder_place(plan: &Plan, scope: String) -> Place {
    Place { part: Part::Decoder, scope, trained: plan.trained.decoder, dtype: plan.dtype }
}

fn encoder_scope(index: usize) -> String {
    format!("encoder.layers.{index}.")
}

fn decoder_scope(index: usize) -> String {
    format!("model.layers.{index}.")
}

/// `[images, 3, size, size]`
pub fn pixel_tensor(batch: &HostBatch, device: &Device) -> Tensor<4> {
    let size = batch.image_size;
    let images = batch.pixel_values.len() / (3 * size * size);
    Tensor::from_data(TensorData::new(batch.pixel_values.clone(), [images, 3, size, size]), device)
}

/// Flat positions of all placeholders, in the order of the images.
pub fn media_positions(batch: &HostBatch) -> Vec<i32> {
    let spans = batch.media.iter().map(|span| (span.row * batch.seq + span.start, span.len));
    spans.flat_map(|(start, len)| (start..start + len).map(|position| position as i32)).collect()
}

#[cfg(test)]
mod tests;
