//! Steps of training: forward, backward and update, as the trainer makes them.

use std::collections::BTreeMap;

use burn::prelude::*;
use mmtrain_data::{HostBatch, HostMedium, Medium};
use mmtrain_media::{MediaLayout, MediaValues};
use mmtrain_model::Vlm;
use mmtrain_model::flops::{self, Pass};
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::params::{FlatTensors, Part, Tuned};
use mmtrain_train::clip::{clip_factor, global_norm};
use mmtrain_train::driver::{Plan, Trained};
use mmtrain_train::optimizer::{AdamW, AdamWConfig, PartRates, Update};
use mmtrain_train::ranks::Ranks;

use crate::Workload;
use crate::shapes::{PLACEHOLDER, ids, model, pixels, precision, siglip, small, smol, wait};

const ROWS: usize = 4;
const SEQ: usize = 256;

/// A model in training.
pub(crate) struct Training {
    pub(crate) model: Vlm,
    pub(crate) ranks: Ranks,
    pub(crate) plan: Plan,
    optimizer: AdamW,
}

impl Training {
    /// Of a model of which `part` is trained, all graphs kept.
    pub(crate) fn new(model: Vlm, part: Part, tuned: Tuned, ranks: usize) -> std::io::Result<Self> {
        let mut trained = Trained::NOTHING;
        *match part {
            Part::Encoder => &mut trained.encoder,
            Part::Connector => &mut trained.connector,
            Part::Decoder => &mut trained.decoder,
        } = tuned;
        let plan = Plan {
            trained,
            keep_encoder: 0,
            keep_decoder: model.config.text.num_hidden_layers,
            chunk_rows: 256,
            dtype: precision(&model.device()),
            features: None,
            dropout: None,
        };
        Ok(Self { model, ranks: Ranks::new(ranks)?, plan, optimizer: AdamW::default() })
    }

    /// Clips gradients and makes the update, which is waited for.
    pub(crate) fn update(&mut self, part: Part, gradients: &FlatTensors) {
        let norm = global_norm(gradients, &self.model.device()).into_scalar::<f32>();
        let rates = BTreeMap::from([(part, PartRates { lr: 1e-4, weight_decay: 0.05 })]);
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
        let update = Update { factor: clip_factor(norm, 1.0), config, rates: &rates };
        self.optimizer.update(&mut self.model, gradients, update, None);
        if let Some(moments) = self.optimizer.exp_avg.values().next_back() {
            wait(&moments.clone().slice_dim(0, 0..1));
        }
    }

    fn step(&mut self, part: Part, micro_batches: &[HostBatch]) {
        let supervised = micro_batches.iter().map(|batch| batch.supervised_tokens).sum::<usize>();
        let result = self.ranks.step(&self.model, micro_batches, &self.plan, (supervised as f64).into());
        let result = result.expect("the model takes what its sizes say");
        self.update(part, &result.gradients);
        result.sums.into_iter().for_each(|sums| assert!(sums.read().0.is_finite(), "a loss went wrong"));
    }
}

/// Rows of text behind `media` placeholders, of which the last `learned` tokens are learned.
fn rows(vocab: usize, count: usize, seed: usize, [media, learned]: [usize; 2]) -> HostBatch {
    let mut input_ids = ids(vocab, count * SEQ, seed);
    let mut labels = input_ids.clone();
    for (column, (id, label)) in input_ids.iter_mut().zip(&mut labels).enumerate().map(|(at, both)| (at % SEQ, both)) {
        if column < media {
            *id = PLACEHOLDER;
        }
        if column < SEQ - learned {
            *label = -100;
        }
    }
    HostBatch {
        batch: count,
        seq: SEQ,
        input_ids,
        labels,
        samples: vec![std::iter::once(0..SEQ).collect(); count],
        forks: Vec::new(),
        media: Vec::new(),
        ids: Vec::new(),
        supervised_tokens: count * learned.min(SEQ - 1),
    }
}

/// Micro-batches of a step, one for each rank where it can be.
pub(crate) fn each_rank<T>(rows: usize, ranks: usize, batch: impl Fn(usize, usize) -> T) -> Vec<T> {
    let count = if rows.is_multiple_of(ranks) { ranks } else { 1 };
    (0..count).map(|number| batch(number, rows / count)).collect()
}

fn workload(mut training: Training, part: Part, batches: Vec<HostBatch>, flops: f64) -> Workload {
    let step = move || training.step(part, &batches);
    Workload { step: Box::new(step), tokens: (ROWS * SEQ) as f64, flops }
}

pub(crate) fn decoder(device: &Device, ranks: usize) -> std::io::Result<Workload> {
    let config = model(None, small());
    let flops = flops::decoder(&config.text, ROWS, SEQ, Pass::Trained)
        + flops::head(&config.text, ROWS * (SEQ - 1), Pass::Trained);
    let training = Training::new(Vlm::random(&config, 7, device), Part::Decoder, Tuned::Full, ranks)?;
    let vocab = config.text.vocab_size;
    let batches = each_rank(ROWS, ranks, |number, count| rows(vocab, count, number, [0, SEQ]));
    Ok(workload(training, Part::Decoder, batches, flops))
}

pub(crate) fn lora(device: &Device, ranks: usize) -> std::io::Result<Workload> {
    const LEARNED: usize = 64;
    let config = model(None, smol());
    let lora = LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, targets: None, use_rslora: false, use_dora: false };
    let model = Vlm::random(&config, 7, device).with_adapters(Part::Decoder, &lora).map_err(std::io::Error::other)?;
    let model = model.with_fresh_adapters(Part::Decoder, 7);
    let flops = flops::decoder(&config.text, ROWS, SEQ, Pass::Through)
        + flops::adapters(&config.text, lora.rank, ROWS * SEQ)
        + flops::head(&config.text, ROWS * LEARNED, Pass::Through);
    let training = Training::new(model, Part::Decoder, Tuned::Adapters, ranks)?;
    let vocab = config.text.vocab_size;
    let batches = each_rank(ROWS, ranks, |number, count| rows(vocab, count, number, [0, LEARNED]));
    Ok(workload(training, Part::Decoder, batches, flops))
}

pub(crate) fn vlm(device: &Device, ranks: usize) -> std::io::Result<Workload> {
    let (tower, config) = (siglip(), model(Some(siglip()), smol()));
    let patches = tower.num_patches();
    let batches = each_rank(ROWS, ranks, |number, count| {
        let mut batch = rows(config.text.vocab_size, count, number, [patches, SEQ - patches]);
        batch.media = (0..count).map(|row| HostMedium { row, medium: picture(patches) }).collect();
        batch
    });
    let flops = flops::vit(&tower, ROWS, Pass::Forward)
        + flops::decoder(&config.text, ROWS, SEQ, Pass::Through)
        + flops::head(&config.text, ROWS * (SEQ - patches), Pass::Through);
    let training = Training::new(Vlm::random(&config, 7, device), Part::Connector, Tuned::Full, ranks)?;
    Ok(workload(training, Part::Connector, batches, flops))
}

/// A picture in front of a row.
fn picture(patches: usize) -> Medium {
    let side = siglip().image_size;
    let input = MediaValues { values: pixels(3 * side * side), layout: MediaLayout::Square { side: side as u32 } };
    Medium::new(vec![(0, patches)], input)
}
