//! Encoder and connector of one micro-batch: forward, and backward from the gradient of what the connector made.

use burn::prelude::*;
use mmtrain_model::connector::Connector;
use mmtrain_model::encoder::chain::{ChainContext, Stretch, StretchNet, side_by_side};
use mmtrain_model::encoder::input::MediumView;
use mmtrain_model::encoder::parts::FeatureParts;
use mmtrain_model::media::{Arrangement, BatchView, PlacedMedium};
use mmtrain_model::params::{FlatTensors, Part};
use mmtrain_model::{ModelError, Vlm};

use super::{Plan, behind, connector_place};
use crate::features::FeatureCache;
use crate::tape::{Held, Place, backward, forward};

/// The encoder and the connector on one micro-batch.
pub(super) struct Media {
    chains: Vec<Chain>,
    pub(super) arrangement: Arrangement,
    connector: Held<Connector, 3>,
    /// What the connector made: tokens `[1, rows, hidden]` or memories `[batch, keys, hidden]`.
    pub(super) features: Tensor<3>,
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
    pub(super) fn forward(model: &Vlm, batch: &BatchView<'_>, plan: &Plan) -> Result<Option<Self>, ModelError> {
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
    pub(super) fn memory(&self) -> Option<&Tensor<3>> {
        self.arrangement.places.as_ref().map(|_| &self.features)
    }

    pub(super) fn backward(self, model: &Vlm, plan: &Plan, gradient: Tensor<3>, gradients: &mut FlatTensors) {
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
        let first_trained = stretches.iter().position(|stretch| encoder_place(plan, stretch).trains(&stretch.net));
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

/// The connector as a stretch.
fn connect(arrangement: &Arrangement) -> impl Fn(&Connector, Tensor<3>) -> Tensor<3> {
    |connector, features| connector.forward(features, arrangement)
}

fn encoder_place(plan: &Plan, stretch: &Stretch) -> Place {
    let tuned = plan.trained.encoder.at(&stretch.scope);
    Place { part: Part::Encoder, scope: stretch.scope.clone(), tuned, dtype: plan.dtype }
}
