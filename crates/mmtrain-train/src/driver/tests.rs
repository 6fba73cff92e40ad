//! The block-wise pass against one graph over the whole model, and against other ways to cut a step.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Gradients, TensorData};
use mmtrain_data::{HostMedium, Medium, SampleId};
use mmtrain_media::{MediaLayout, MediaValues};
use mmtrain_model::config::{
    Activation, ConnectorConfig, EncoderConfig, MlpConfig, PerceiverConfig, QFormerConfig, TextConfig, TextFamily,
    VisionConfig, VisionFamily, VitConfig, VlmConfig,
};
use mmtrain_model::connector::Reading;
use mmtrain_model::params::{leaves, take_gradients};
use mmtrain_model::vlm::DecoderInput;

use super::*;
use crate::ranks::Ranks;

const IMAGE_TOKENS: usize = 4;
const IMAGE_ID: i32 = 3;

fn sizes(tied: bool) -> VlmConfig {
    VlmConfig {
        encoder: EncoderConfig::Vit(VitConfig::new(
            VisionConfig {
                family: VisionFamily::Siglip,
                hidden_size: 16,
                intermediate_size: 24,
                num_hidden_layers: 3,
                num_attention_heads: 2,
                image_size: 8,
                patch_size: 4,
                layer_norm_eps: 1e-6,
                hidden_act: Activation::GeluTanh,
            },
            -1,
        )),
        connector: ConnectorConfig::Mlp(MlpConfig { depth: 2, pixel_shuffle: 1, act: Activation::Gelu, bias: true }),
        text: TextConfig {
            vocab_size: 40,
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 4,
            tie_word_embeddings: tied,
            max_position_embeddings: 64,
            ..TextConfig::class_defaults(TextFamily::Qwen2)
        },
        image_token_id: IMAGE_ID as usize,
        video_token_id: None,
        image_grid_pinpoints: None,
    }
}

fn plan(trained: Trained, keep: usize) -> Plan {
    Plan { trained, keep_encoder: keep, keep_decoder: keep, chunk_rows: 5, dtype: DType::F32 }
}

const ALL: Trained = Trained { encoder: true, connector: true, decoder: true };

/// A number in -1..1 that depends on all arguments.
fn noise(a: usize, b: usize) -> f32 {
    let x = (a * 7919 + b * 104_729 + 12_345) % 10_007;
    x as f32 / 5003.5 - 1.0
}

/// Row `sample` as it would come out of the pipeline; every third one has no image.
fn row(sample: usize) -> (Vec<i32>, Vec<i32>, Option<Vec<f32>>) {
    let caption = (0..5 + sample % 4).map(|i| 4 + ((sample * 11 + i * 5) % 36) as i32).collect::<Vec<_>>();
    let has_image = !sample.is_multiple_of(3);
    let mut ids = vec![1];
    if has_image {
        ids.extend([IMAGE_ID; IMAGE_TOKENS]);
    }
    let mut labels = vec![-100; ids.len()];
    ids.extend(&caption);
    labels.extend(&caption);
    (ids, labels, has_image.then(|| (0..3 * 8 * 8).map(|i| noise(sample, i)).collect()))
}

fn batch(samples: std::ops::Range<usize>) -> HostBatch {
    let rows = samples.clone().map(row).collect::<Vec<_>>();
    let seq = 16;
    let mut out = HostBatch {
        batch: rows.len(),
        seq,
        input_ids: Vec::new(),
        labels: Vec::new(),
        tokens: rows.iter().map(|(ids, ..)| 0..ids.len()).collect(),
        media: Vec::new(),
        ids: Vec::<SampleId>::new(),
        supervised_tokens: rows.iter().map(|(_, labels, _)| labels.iter().filter(|&&label| label >= 0).count()).sum(),
    };
    for (number, (ids, labels, pixels)) in rows.into_iter().enumerate() {
        let fill = seq - ids.len();
        out.input_ids.extend(ids.into_iter().chain(vec![0; fill]));
        out.labels.extend(labels.into_iter().chain(vec![-100; fill]));
        if let Some(values) = pixels {
            let input = MediaValues { values, layout: MediaLayout::Square { side: 8 } };
            out.media.push(HostMedium { row: number, medium: Medium::new(vec![(1, IMAGE_TOKENS)], input) });
        }
    }
    out
}

fn model(tied: bool) -> Vlm {
    model_of(&sizes(tied))
}

fn model_of(sizes: &VlmConfig) -> Vlm {
    // Embeddings of unit size: the norm before the first block would magnify rounding of small ones.
    let model = Vlm::random(sizes, 7, &Device::flex());
    let table = model.decoder.model.embed_tokens.weight.val();
    let elements = table.dims().iter().product::<usize>();
    model.assign(Part::Decoder, &mut |info| {
        info.name.ends_with("embed_tokens.weight").then(|| (table.clone() * 4.0).reshape([elements]))
    })
}

/// The same loss and gradients by one graph over the whole model, with stock operations only.
fn one_graph(model: &Vlm, batch: &HostBatch) -> (f64, FlatTensors) {
    let device = Device::flex();
    let (encoder, connector, decoder) = (leaves(&model.encoder), leaves(&model.connector), leaves(&model.decoder));
    let whole = Vlm { config: model.config.clone(), encoder, connector, decoder };
    let view = view(batch);
    let media = view.media.iter().map(PlacedMedium::view).collect::<Vec<_>>();
    let mut inputs = whole.encoder.inputs(&model.config.encoder, &media, &device).expect("they fit");
    inputs.iter_mut().for_each(|input| input.values = input.values.clone().autodiff());
    let arrangement = Arrangement::of(&model.config, &view, &device).expect("they fit");
    let features = whole.connector.forward(whole.encoder.forward(&inputs), &arrangement);
    let ids = Tensor::from_data(batch.input_ids.as_slice(), &device);
    let embeds = whole.decoder.embed(ids.autodiff());
    let (embeds, reading) = match (&arrangement.places, &whole.connector, model.config.cross_attention()) {
        (Some(places), Connector::CrossAttention(connector), Some(config)) => {
            (embeds, Some(Reading::new(connector, config, features, places.clone())))
        }
        _ => {
            let placement = Placement::of(&model.config, &view.media, batch.seq).expect("they fit");
            (placement.splice(embeds, features.squeeze_dim(0)), None)
        }
    };
    let embeds = embeds.reshape([batch.batch, batch.seq, model.config.text.hidden_size]);
    let context = model.context(&view, None).expect("they fit");
    let seen = reading.as_ref().map(|reading| reading.mask(0..batch.seq, &device));
    let logits = whole.logits(DecoderInput { embeds, context, reading, seen });
    let vocab = model.config.text.vocab_size;
    let rows = supervised(batch);
    let picked = logits.reshape([batch.batch * batch.seq, vocab]).select(0, rows.index_tensor(&device).autodiff());
    let target = Tensor::<2, Int>::from_data(TensorData::new(rows.target.clone(), [rows.len(), 1]), &device);
    let loss = -log_softmax(picked, 1).gather(1, target.autodiff()).sum() / rows.len() as f64;
    let mut tape: Gradients = loss.backward();
    let mut gradients = FlatTensors::new();
    take_gradients(&whole.encoder, Part::Encoder, "", &mut tape, &mut gradients);
    take_gradients(&whole.connector, Part::Connector, "", &mut tape, &mut gradients);
    take_gradients(&whole.decoder, Part::Decoder, "", &mut tape, &mut gradients);
    (f64::from(loss.inner().into_scalar::<f32>()), gradients)
}

fn values(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.to_data().try_to_vec().expect("f32")
}

/// Equal within `bound`, relative to the tensor's largest gradient where that is above one.
#[track_caller]
fn assert_equal(ours: &FlatTensors, theirs: &FlatTensors, bound: f32) {
    assert!(ours.keys().eq(theirs.keys()), "{:?} vs {:?}", ours.keys(), theirs.keys());
    for (name, gradient) in ours {
        let (ours, theirs) = (values(gradient), values(&theirs[name]));
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let largest = theirs.iter().map(|value| value.abs()).fold(1.0, f32::max);
        assert!(worst <= bound * largest, "{name}: {worst} at gradients up to {largest}");
    }
}

#[test]
fn block_by_block_equals_one_graph_kept_or_recomputed() {
    for tied in [false, true] {
        let (model, batch) = (model(tied), batch(0..6));
        let (loss, expected) = one_graph(&model, &batch);
        for keep in [0, 2, 3] {
            let divisor = batch.supervised_tokens as f64;
            let result = forward_backward(&model, &batch, &plan(ALL, keep), divisor).expect("they fit");
            let ours = f64::from(result.loss_sum.into_scalar::<f32>()) / divisor;
            assert!((ours - loss).abs() < 1e-6 * loss, "{ours} vs {loss}");
            assert_equal(&result.gradients, &expected, 1e-6);
        }
    }
}

/// The connectors beside the MLP, each giving [`IMAGE_TOKENS`] tokens.
fn other_connectors() -> [ConnectorConfig; 2] {
    [
        ConnectorConfig::QFormer(QFormerConfig {
            num_queries: IMAGE_TOKENS,
            hidden_size: 12,
            intermediate_size: 20,
            num_hidden_layers: 3,
            num_attention_heads: 3,
            cross_attention_frequency: 2,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            instruction: None,
        }),
        ConnectorConfig::Perceiver(PerceiverConfig {
            num_latents: IMAGE_TOKENS,
            hidden_size: 12,
            intermediate_size: 20,
            depth: 2,
            num_attention_heads: 3,
            head_dim: 4,
        }),
    ]
}

#[test]
fn every_connector_trains_block_by_block_as_in_one_graph() {
    for connector in other_connectors() {
        let model = model_of(&VlmConfig { connector, ..sizes(true) });
        let batch = batch(0..6);
        let (loss, expected) = one_graph(&model, &batch);
        let divisor = batch.supervised_tokens as f64;
        for keep in [0, 3] {
            let result = forward_backward(&model, &batch, &plan(ALL, keep), divisor).expect("they fit");
            let ours = f64::from(result.loss_sum.into_scalar::<f32>()) / divisor;
            assert!((ours - loss).abs() < 1e-6 * loss, "{ours} vs {loss}");
            assert_equal(&result.gradients, &expected, 1e-6);
        }
    }
}

#[test]
fn recomputing_agrees_with_keeping() {
    let (model, batch) = (model(true), batch(0..6));
    let kept = forward_backward(&model, &batch, &plan(ALL, 3), 30.0).expect("they fit").gradients;
    let recomputed = forward_backward(&model, &batch, &plan(ALL, 0), 30.0).expect("they fit").gradients;
    // Not to the bit: norms round differently with and without a tape. So the choice is recorded in the run.
    assert_equal(&kept, &recomputed, 2e-6);
}

#[test]
fn a_step_does_not_depend_on_how_it_is_cut() {
    let model = model(true);
    let cut = |micro: usize| (0..16).step_by(micro).map(|start| batch(start..start + micro)).collect::<Vec<_>>();
    let tokens = batch(0..16).supervised_tokens as f64;
    let step = |micro: usize, ranks: usize| {
        let ranks = Ranks::new(ranks).expect("threads");
        let result = ranks.step(&model, &cut(micro), &plan(ALL, 3), tokens).expect("they fit");
        let loss = result.loss_sums.iter().map(|sum| f64::from(sum.clone().into_scalar::<f32>())).sum::<f64>() / tokens;
        (loss, result.gradients)
    };
    let (loss, expected) = step(16, 1);
    for (micro, ranks) in [(1, 1), (4, 1), (4, 2), (1, 3)] {
        let (ours, gradients) = step(micro, ranks);
        assert!((ours - loss).abs() < 1e-6 * loss, "{ours} vs {loss}");
        assert_equal(&gradients, &expected, 1e-6);
    }
}

#[test]
fn frozen_parts_get_no_gradients_and_change_none_of_the_others() {
    let (model, batch) = (model(false), batch(0..6));
    let all = forward_backward(&model, &batch, &plan(ALL, 3), 30.0).expect("they fit").gradients;
    for (encoder, connector, decoder) in
        [(false, true, false), (true, false, false), (false, false, true), (true, true, false), (false, true, true)]
    {
        let trained = Trained { encoder, connector, decoder };
        let expected = all
            .iter()
            .filter(|(name, _)| Part::ALL.iter().any(|&part| trained.part(part) && name.starts_with(part.prefix())))
            .map(|(name, gradient)| (name.clone(), gradient.clone()))
            .collect::<FlatTensors>();
        for keep in [0, 3] {
            assert_equal(
                &forward_backward(&model, &batch, &plan(trained, keep), 30.0).expect("they fit").gradients,
                &expected,
                1e-6,
            );
        }
    }
}

#[test]
fn a_batch_without_images_trains_the_decoder_alone() {
    let model = model(true);
    let text = batch(0..1);
    assert!(text.media.is_empty());
    let gradients = forward_backward(&model, &text, &plan(ALL, 0), 5.0).expect("they fit").gradients;
    assert!(!gradients.is_empty());
    assert!(gradients.keys().all(|name| name.starts_with(Part::Decoder.prefix())));
}

#[test]
fn the_loss_without_a_tape_is_the_same() {
    let (model, batch) = (model(false), batch(0..6));
    let taped = forward_backward(&model, &batch, &plan(ALL, 3), 1.0).expect("they fit").loss_sum.into_scalar::<f32>();
    let plain = forward_loss(&model, &batch, &plan(ALL, 3)).expect("they fit").into_scalar::<f32>();
    assert!((taped / plain - 1.0).abs() < 1e-6, "{taped} vs {plain}");
}

#[test]
fn bf16_activations_stay_near_f32() {
    let (model, batch) = (model(false), batch(0..6));
    let f32_loss = forward_loss(&model, &batch, &plan(ALL, 3)).expect("they fit").into_scalar::<f32>();
    let half = Plan { dtype: DType::BF16, ..plan(ALL, 3) };
    let result = forward_backward(&model, &batch, &half, batch.supervised_tokens as f64).expect("they fit");
    let bf16_loss = result.loss_sum.into_scalar::<f32>();
    assert!((bf16_loss / f32_loss - 1.0).abs() < 0.02, "{bf16_loss} vs {f32_loss}");
    assert!(result.gradients.values().all(|gradient| gradient.dtype() == DType::F32));
}
