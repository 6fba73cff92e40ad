//! A model as one graph, and comparisons with it.

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Gradients, TensorData};
use mmtrain_data::HostBatch;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::connector::{Connector, Reading};
use mmtrain_model::media::{Arrangement, PlacedMedium, Placement};
use mmtrain_model::params::{FlatTensors, Part, Tuned, leaves, take_gradients};
use mmtrain_model::precision::computing;
use mmtrain_model::vlm::DecoderInput;

use super::samples::noise;
use crate::driver::{MicroResult, Plan, Trained, forward_backward, view};
use crate::objective::supervised;

pub(super) const ALL: Trained = Trained { encoder: Tuned::Full, connector: Tuned::Full, decoder: Tuned::Full };

pub(super) fn plan(trained: Trained, keep: usize) -> Plan {
    Plan {
        trained,
        keep_encoder: keep,
        keep_decoder: keep,
        chunk_rows: 5,
        dtype: DType::F32,
        features: None,
        dropout: None,
    }
}

/// A model whose gates are open and whose biases are not zero, as after some steps: of features that are zero, such as
/// those of frames that a clip lacks, a connector without biases would make tokens of zeros, and a norm has no
/// gradient worth the name there.
pub(super) fn model_of(config: &VlmConfig) -> Vlm {
    Part::ALL.iter().fold(fresh(config), |model, &part| {
        model.assign(part, &mut |info| {
            let own = |i| noise(info.name.len(), i);
            let values = match info.name.rsplit(['.', '_']).next() {
                Some("gate") => vec![0.6 + 0.3 * own(1)],
                Some("bias") => (0..info.elements()).map(|i| 0.2 * own(i)).collect(),
                _ => return None,
            };
            Some(Tensor::from_data(values.as_slice(), &Device::flex()))
        })
    })
}

/// The same as a run would begin with it, but that learned tokens are of unit size: the norm before the first block
/// would magnify rounding of small ones.
pub(super) fn fresh(config: &VlmConfig) -> Vlm {
    Part::ALL.iter().fold(Vlm::random(config, 7, &Device::flex()), |model, &part| {
        let mut tokens = model.params(part).into_iter().filter(|param| is_token(&param.info.name));
        let mut tokens = tokens.by_ref().map(|param| (param.info.name, unit(param.value))).collect::<FlatTensors>();
        model.assign(part, &mut |info| tokens.remove(&info.name))
    })
}

fn is_token(name: &str) -> bool {
    let ends = ["embed_tokens.weight", "class_embedding", "register_tokens", "query_tokens", "latents"];
    ends.iter().any(|end| name.ends_with(end))
}

fn unit(values: Tensor<1>) -> Tensor<1> {
    let size = values.clone().square().mean().sqrt();
    values / size
}

/// Loss and gradients by one graph over the whole model, with stock operations only, in f64 but for the softmax of
/// attention.
pub(super) fn one_graph(model: &Vlm, batch: &HostBatch) -> (f64, FlatTensors) {
    let (encoder, connector, decoder) = (leaves(&model.encoder), leaves(&model.connector), leaves(&model.decoder));
    let whole = Vlm { config: model.config.clone(), encoder, connector, decoder };
    let wide = Vlm {
        config: model.config.clone(),
        encoder: computing(&whole.encoder, DType::F64).into_owned(),
        connector: computing(&whole.connector, DType::F64).into_owned(),
        decoder: computing(&whole.decoder, DType::F64).into_owned(),
    };
    let loss = mean_loss(logits(&wide, batch), batch);
    let mut tape: Gradients = loss.backward();
    let mut gradients = FlatTensors::new();
    take_gradients(&whole.encoder, Part::Encoder, "", &mut tape, &mut gradients);
    take_gradients(&whole.connector, Part::Connector, "", &mut tape, &mut gradients);
    take_gradients(&whole.decoder, Part::Decoder, "", &mut tape, &mut gradients);
    (loss.inner().into_scalar::<f64>(), gradients)
}

fn logits(whole: &Vlm, batch: &HostBatch) -> Tensor<3> {
    let (device, view) = (Device::flex(), view(batch));
    let media = view.media.iter().map(PlacedMedium::view).collect::<Vec<_>>();
    let mut inputs = whole.encoder.inputs(&whole.config.encoder, &media, &device).expect("they fit");
    for input in &mut inputs {
        input.values = input.values.clone().cast(DType::F64).autodiff();
    }
    let arrangement = Arrangement::of(&whole.config, &view, &device).expect("they fit");
    let features = whole.connector.forward(whole.encoder.forward(&inputs), &arrangement);
    let ids = Tensor::<1, Int>::from_data(batch.input_ids.as_slice(), &device);
    let embeds = whole.decoder.embed(ids.autodiff()).cast(DType::F64);
    let memory = (&arrangement.places, &whole.connector, whole.config.cross_attention());
    let (embeds, reading) = if let (Some(places), Connector::CrossAttention(connector), Some(config)) = memory {
        let embeds = Placement::of_markers(&whole.config, &view).splice_zeros(embeds);
        (embeds, Some(Reading::new(connector, config, &features, places.clone())))
    } else {
        let placement = Placement::of(&whole.config, &view.media, batch.seq).expect("they fit");
        (placement.splice(embeds, features.squeeze_dim(0)), None)
    };
    let embeds = embeds.reshape([batch.batch, batch.seq, whole.config.text.hidden_size]);
    let context = whole.context(&view, None).expect("they fit");
    let seen = reading.as_ref().map(|reading| reading.mask(0..batch.seq, &device));
    whole.logits(DecoderInput { embeds, context, reading, seen })
}

fn mean_loss(logits: Tensor<3>, batch: &HostBatch) -> Tensor<1> {
    let device = Device::flex();
    let [rows, seq, vocab] = logits.dims();
    let supervised = supervised(batch);
    let picked = logits.reshape([rows * seq, vocab]).select(0, supervised.index_tensor(&device).autodiff());
    let target = TensorData::new(supervised.target.clone(), [supervised.len(), 1]);
    let target = Tensor::<2, Int>::from_data(target, &device);
    -log_softmax(picked, 1).gather(1, target.autodiff()).sum() / supervised.len() as f64
}

/// Block by block, every graph kept and none, against one graph, both in f64.
///
/// The worst difference is 2.8e-6, behind interpolated positions: interpolation, softmax and loss are computed in f32
/// whatever the type of activations, and the norms of layers as narrow as these magnify that. With activations in f32
/// it is 6e-6.
#[track_caller]
pub(super) fn assert_one_graph(model: &Vlm, batch: &HostBatch, what: &str) {
    let (loss, expected) = one_graph(model, batch);
    for keep in [0, 9] {
        let (ours, result) = mean(model, batch, &Plan { dtype: DType::F64, ..plan(ALL, keep) });
        assert!((ours - loss).abs() < 1e-6 * loss, "{what}: {ours} vs {loss}");
        assert_equal(&result.gradients, &expected, 4e-6, what);
    }
}

/// The mean loss, and all there is.
pub(super) fn mean(model: &Vlm, batch: &HostBatch, plan: &Plan) -> (f64, MicroResult) {
    let divisor = batch.supervised_tokens as f64;
    let result = forward_backward(model, batch, plan, divisor).expect("they fit");
    (result.sums.clone().read().0 / divisor, result)
}

pub(super) fn values(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.to_data().try_to_vec().expect("f32")
}

/// Equal within `bound`, relative to the tensor's largest gradient where that is above one.
#[track_caller]
pub(super) fn assert_equal(ours: &FlatTensors, theirs: &FlatTensors, bound: f32, what: &str) {
    let missing = theirs.keys().filter(|name| !ours.contains_key(*name)).collect::<Vec<_>>();
    let surplus = ours.keys().filter(|name| !theirs.contains_key(*name)).collect::<Vec<_>>();
    assert!(missing.is_empty() && surplus.is_empty(), "{what}: missing {missing:?}, too many {surplus:?}");
    for (name, gradient) in ours {
        let (ours, theirs) = (values(gradient), values(&theirs[name]));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = theirs.iter().map(|value| value.abs()).fold(1.0, f32::max);
        assert!(worst <= bound * largest, "{what}: {name}: {worst} at gradients up to {largest}");
    }
}
