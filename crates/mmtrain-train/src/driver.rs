//! Forward and backward of one micro-batch, block by block.
//!
//! ```text
//! media ─ stem ─ blocks ─ last ─ connector ─┐
//!                           ids ─ embed ─ splice ─ blocks ─ gather supervised rows ─ norm, head, loss
//! ```
//!
//! Every arrow is a [`tape`](crate::tape) stretch of its own. Dims: `batch`, `seq`, `hidden` of the
//! decoder, `rows` supervised positions.

use burn::prelude::*;
use burn::tensor::DType;
use mmtrain_data::HostBatch;
use mmtrain_model::attention::Mask;
use mmtrain_model::connector::Connector;
use mmtrain_model::decoder::{Decoder, DecoderBlock, DecoderContext, DecoderModel};
use mmtrain_model::encoder::FeatureParts;
use mmtrain_model::encoder::chain::{ChainContext, Stretch, StretchNet, side_by_side};
use mmtrain_model::media::{BatchView, PlacedMedium, Placement};
use mmtrain_model::params::{FlatTensors, Part};
use mmtrain_model::{ModelError, Vlm};

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
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_backward(model: &Vlm, batch: &HostBatch, plan: &Plan, divisor: f64) -> Result<MicroResult, ModelError> {
    forward_backward_masked(model, batch, None, plan, divisor)
}

/// As [`forward_backward`], with another mask than the causal one, such as for rows padded on the left.
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
    let head = head_loss(&head_of(&model.decoder), &text.rows(&rows), &rows, plan, Some(divisor), &mut gradients);
    let loss_sum = head.loss_sum.clone();
    if let Some(feature_gradient) = text.backward(model, plan, head, &rows, &mut gradients)
        && let Some(media) = media
    {
        media.backward(model, plan, feature_gradient, &mut gradients);
    }
    Ok(MicroResult { loss_sum, gradients })
}

/// Loss of one batch without any tape. `[1]`
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn forward_loss(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<Tensor<1>, ModelError> {
    forward_loss_masked(model, batch, None, plan)
}

/// As [`forward_loss`], with another mask than the causal one. `[1]`
pub fn forward_loss_masked(
    model: &Vlm,
    batch: &HostBatch,
    mask: Option<&Mask>,
    plan: &Plan,
) -> Result<Tensor<1>, ModelError> {
    let plan = Plan { trained: Trained { encoder: false, connector: false, decoder: false }, ..plan.clone() };
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
    });
    BatchView { input_ids: &batch.input_ids, seq: batch.seq, tokens: batch.tokens.clone(), media: media.collect() }
}

/// The encoder and the connector on one micro-batch.
struct Media {
    chains: Vec<Chain>,
    parts: FeatureParts,
    connector: Held<Connector, 3>,
    /// Rows of the connector. `[1, rows, hidden]`
    features: Tensor<3>,
}

/// One chain of the encoder.
struct Chain {
    context: ChainContext,
    stretches: Vec<(Stretch, Held<StretchNet, 3>)>,
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
        let inputs = model.encoder.inputs(&model.config.encoder, &views, &model.device())?;
        let (mut chains, mut features, mut kept) = (Vec::new(), Vec::new(), 0);
        for (stretches, input) in model.encoder.chains().into_iter().zip(inputs) {
            let values = input.values.cast(plan.dtype);
            let (output, chain) = Chain::forward(stretches, values, input.context, plan, &mut kept);
            features.push(output);
            chains.push(chain);
        }
        let features = side_by_side(features);
        let trained = plan.trained.encoder;
        let parts = FeatureParts::of(&model.config.encoder, &views);
        let run = connect(&parts);
        let (features, connector) = forward(&model.connector, features, &connector_place(plan), trained, true, run);
        Ok(Some(Self { chains, parts, connector, features }))
    }

    fn backward(self, model: &Vlm, plan: &Plan, gradient: Tensor<3>, gradients: &mut FlatTensors) {
        let (trained, place) = (plan.trained.encoder, connector_place(plan));
        let run = connect(&self.parts);
        let gradient = backward(&model.connector, self.connector, gradient, &place, trained, gradients, run);
        let Some(gradient) = gradient else { return };
        let mut start = 0;
        for chain in self.chains {
            let end = start + chain.width;
            chain.backward(gradient.clone().slice_dim(2, start..end), plan, gradients);
            start = end;
        }
    }
}

impl Chain {
    /// `kept` counts the blocks, of all chains, whose graph is kept.
    fn forward(
        stretches: Vec<Stretch>,
        mut x: Tensor<3>,
        context: ChainContext,
        plan: &Plan,
        kept: &mut usize,
    ) -> (Tensor<3>, Self) {
        let trained = plan.trained.encoder;
        let mut held = Vec::with_capacity(stretches.len());
        for (index, stretch) in stretches.into_iter().enumerate() {
            let keep = !stretch.is_block || *kept < plan.keep_encoder;
            *kept += usize::from(stretch.is_block);
            let place = encoder_place(plan, &stretch);
            let run = |net: &StretchNet, x| net.forward(x, &context);
            let (y, graph) = forward(&stretch.net, x, &place, trained && index > 0, keep, run);
            held.push((stretch, graph));
            x = y;
        }
        let width = x.dims()[2];
        (x, Self { context, stretches: held, width })
    }

    fn backward(self, mut gradient: Tensor<3>, plan: &Plan, gradients: &mut FlatTensors) {
        for (index, (stretch, held)) in self.stretches.into_iter().enumerate().rev() {
            let place = encoder_place(plan, &stretch);
            let run = |net: &StretchNet, x| net.forward(x, &self.context);
            let Some(earlier) = backward(&stretch.net, held, gradient, &place, index > 0, gradients, run) else {
                return;
            };
            gradient = earlier;
        }
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
            Some(placement) => placement.splice(embeds, features.squeeze_dim(0)),
            None => embeds,
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
        let upstream = media.is_some() && (plan.trained.encoder || plan.trained.connector);
        let needed = upstream || plan.trained.decoder;
        let placement = media.map(|_| Placement::of(&model.config, &batch.media, batch.seq)).transpose()?;
        let ids = Tensor::from_data(batch.input_ids, &device);
        let stem = TextStem { ids, placement, seq: batch.seq, dtype: plan.dtype };
        let features = match media {
            Some(media) => media.features.clone(),
            None => Tensor::zeros([1, 1, model.config.text.hidden_size], &device),
        };
        let place = |scope: String| decoder_place(plan, scope);
        let embedding = head_of(&model.decoder);
        let (mut x, embed) =
            forward(&embedding, features, &place(String::new()), upstream, true, |decoder, x| stem.run(decoder, x));
        let context = model.context(batch, mask.cloned())?;
        let mut blocks = Vec::new();
        for (index, block) in model.decoder.model.layers.iter().enumerate() {
            let keep = index < plan.keep_decoder;
            let run = |block: &DecoderBlock, x| block.forward(x, &context);
            let (y, held) = forward(block, x, &place(decoder_scope(index)), needed, keep, run);
            blocks.push(held);
            x = y;
        }
        Ok(Self { embed, has_features: upstream, blocks, context, stem, states: x })
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

/// The connector as a stretch. `[1, rows, hidden]`
fn connect(parts: &FeatureParts) -> impl Fn(&Connector, Tensor<3>) -> Tensor<3> {
    |connector, features| connector.forward(features, parts).unsqueeze()
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
    Place { part: Part::Encoder, scope: stretch.scope.clone(), trained: plan.trained.encoder, dtype: plan.dtype }
}

fn connector_place(plan: &Plan) -> Place {
    Place { part: Part::Connector, scope: String::new(), trained: plan.trained.connector, dtype: plan.dtype }
}

fn decoder_place(plan: &Plan, scope: String) -> Place {
    Place { part: Part::Decoder, scope, trained: plan.trained.decoder, dtype: plan.dtype }
}

fn decoder_scope(index: usize) -> String {
    format!("model.layers.{index}.")
}

#[cfg(test)]
mod tests;
