//! Steps of training: forward, backward and update, as the trainer makes them.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::prelude::*;
use mmtrain_data::{HostBatch, HostMedium, Medium};
use mmtrain_media::MediaValues;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::flops;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::params::{FlatTensors, Part, Tuned};
use mmtrain_text::IGNORE_INDEX;
use mmtrain_train::clip::{clip_factor, global_norm};
use mmtrain_train::driver::{Plan, Trained};
use mmtrain_train::forecast::load_of;
use mmtrain_train::objective::Sums;
use mmtrain_train::optimizer::{AdamW, AdamWConfig, PartRates, Update};
use mmtrain_train::ranks::Ranks;

use crate::jobs::Job;
use crate::shapes::{PLACEHOLDER, ids, pixels, precision, random_model, wait};
use crate::{Place, Workload};

const SEED: u64 = 7;
/// The default of `objective.chunk_rows`.
const CHUNK_ROWS: usize = 2048;
const LORA: LoraConfig =
    LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, targets: None, use_rslora: false, use_dora: false };

/// A model in training.
pub(crate) struct Training {
    pub(crate) model: Vlm,
    pub(crate) ranks: Ranks,
    pub(crate) plan: Plan,
    optimizer: AdamW,
}

impl Training {
    /// A model of random numbers of which `trained` is trained, all graphs kept.
    pub(crate) fn new(config: &VlmConfig, trained: Trained, device: &Device, ranks: usize) -> std::io::Result<Self> {
        let mut model = random_model(config, trained, device);
        if trained.decoder == Tuned::Adapters {
            model = model.with_adapters(Part::Decoder, &LORA).map_err(std::io::Error::other)?;
            model = model.with_fresh_adapters(Part::Decoder, SEED);
        }
        let plan = Plan {
            trained,
            keep_encoder: if trained.encoder.is_trained() { config.encoder.num_layers() } else { 0 },
            keep_decoder: config.text.num_hidden_layers,
            chunk_rows: CHUNK_ROWS,
            dtype: precision(device),
            features: None,
            dropout: None,
        };
        Ok(Self { model, ranks: Ranks::new(ranks)?, plan, optimizer: AdamW::default() })
    }

    /// Floating-point operations of forward and backward over a step.
    pub(crate) fn flops(&self, batches: &[HostBatch]) -> f64 {
        let of = |batch: &HostBatch| {
            let load = load_of(batch, &self.model.config.encoder);
            flops::model::step(&self.model, |part| self.plan.trained.part(part), &load).total()
        };
        batches.iter().map(of).sum()
    }

    /// Clips gradients and makes the update, which is waited for. The loss is read with the norm.
    pub(crate) fn update(&mut self, gradients: &FlatTensors, sums: Vec<Sums>) {
        let (loss, _, norm) = Sums::read_with(sums, global_norm(gradients, &self.model.device()));
        assert!(loss.is_finite() && norm.is_finite(), "a loss went wrong");
        let trained = Part::ALL.into_iter().filter(|&part| self.plan.trained.part(part).is_trained());
        let rates = trained.map(|part| (part, PartRates { lr: 1e-4, weight_decay: 0.05 })).collect::<BTreeMap<_, _>>();
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
        let update = Update { factor: clip_factor(norm, 1.0), config, rates: &rates };
        self.optimizer.update(&mut self.model, gradients, update, None);
        if let Some(moments) = self.optimizer.exp_avg.values().next_back() {
            wait(&moments.clone().slice_dim(0, 0..1));
        }
    }

    fn step(&mut self, micro_batches: &[HostBatch]) {
        let supervised = micro_batches.iter().map(|batch| batch.supervised_tokens).sum::<usize>();
        let result = self.ranks.step(&self.model, micro_batches, &self.plan, (supervised as f64).into());
        let result = result.expect("the model takes what its sizes say");
        self.update(&result.gradients, result.sums);
    }
}

/// Steps of a job.
pub(crate) fn workload(job: &Job, Place { device, ranks, .. }: &Place) -> std::io::Result<Workload> {
    let mut training = Training::new(&job.model, job.trained, device, *ranks)?;
    let batches = each_rank(job.rows, *ranks, |rows| batch(job, rows));
    let flops = training.flops(&batches);
    let step = move || training.step(&batches);
    Ok(Workload { step: Box::new(step), tokens: (job.rows * job.seq) as f64, flops })
}

/// Micro-batches of a step, one for each rank where it can be, of the rows in the range.
pub(crate) fn each_rank<T>(rows: usize, ranks: usize, batch: impl Fn(Range<usize>) -> T) -> Vec<T> {
    let count = if rows.is_multiple_of(ranks) { ranks } else { 1 };
    let share = rows / count;
    (0..count).map(|number| batch(number * share..(number + 1) * share)).collect()
}

/// Some rows of a job, each with its picture before the text.
fn batch(job: &Job, rows: Range<usize>) -> HostBatch {
    let (count, seq) = (rows.len(), job.seq);
    let mut input_ids = ids(job.model.text.vocab_size, count * seq, rows.start);
    let mut labels = input_ids.clone();
    labels.chunks_exact_mut(seq).for_each(|row| row[..seq - job.learned].fill(IGNORE_INDEX));
    let mut media = Vec::new();
    for (row, input_ids) in input_ids.chunks_exact_mut(seq).enumerate() {
        let layouts = job.pictures.len();
        let Some(layout) = (layouts > 0).then(|| job.pictures[(rows.start + row) % layouts].clone()) else { break };
        let tokens = layout.tokens(job.model.media_tokens());
        input_ids[..tokens].fill(PLACEHOLDER);
        let input = MediaValues { values: pixels(layout.values()), layout };
        media.push(HostMedium { row, medium: Medium::new(vec![(0, tokens)], input) });
    }
    HostBatch {
        batch: count,
        seq,
        input_ids,
        labels,
        samples: vec![std::iter::once(0..seq).collect(); count],
        forks: Vec::new(),
        media,
        ids: Vec::new(),
        supervised_tokens: count * job.learned.min(seq - 1),
    }
}
