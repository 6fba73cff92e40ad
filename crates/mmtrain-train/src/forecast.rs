//! What the steps of a run are made of, seen in its first ones before it begins, and how long one will take.

use std::collections::BTreeMap;
use std::sync::Arc;

use mmtrain_config::RunConfig;
use mmtrain_data::{Cursor, DataError, HostBatch, HostMedium, Mixture, Preparer, StepBatch, StepLoader};
use mmtrain_media::MediaLayout;
use mmtrain_model::Vlm;
use mmtrain_model::config::{EncoderConfig, TextConfig, VlmConfig};
use mmtrain_model::flops::model::{Load, ModelFlops, step as step_flops};
use mmtrain_model::params::{Part, Tuned};
use serde::Serialize;

use crate::driver::Trained;
use crate::memory::{KeepPlan, MicroShape};
use crate::trainer::loader_config;

/// Floats that AdamW reads and writes for a weight: gradient, two moments and the value read, the last three written.
const FLOATS_OF_UPDATE: f64 = 7.0;

/// Tokens of one kind of media.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MediaSeen {
    /// How many were seen.
    pub count: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Of the one that has most.
    pub most: usize,
}

/// The steps that were looked at.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// How many.
    pub steps: usize,
    /// Their micro-batches.
    pub micro_batches: Vec<Load>,
    /// Their samples.
    pub samples: usize,
    /// Tokens of their samples, without fill.
    pub tokens: usize,
    /// The most rows, tokens a row and media that a micro-batch has.
    pub largest: [usize; 3],
    /// By kind.
    pub media: BTreeMap<&'static str, MediaSeen>,
}

impl Outlook {
    /// Prepares the first `steps` steps of a run, in its order.
    ///
    /// # Errors
    ///
    /// [`DataError`] as the run itself would have it.
    pub fn of_data(
        config: &RunConfig,
        (mixture, preparer): (Arc<Mixture>, Arc<Preparer>),
        encoder: &EncoderConfig,
        workers: usize,
        steps: usize,
    ) -> Result<Self, DataError> {
        let mut loader = StepLoader::new(mixture, preparer, loader_config(config, workers), Cursor::default())?;
        let mut outlook = Self::default();
        for _ in 0..steps {
            outlook.see(&loader.next_step()?, encoder);
        }
        Ok(outlook)
    }

    /// One step of the longest rows that a configuration allows, with a medium each: the most that can come.
    pub fn longest(config: &RunConfig, sizes: &VlmConfig, shape: MicroShape) -> Self {
        let (rows, media) = (shape.batch as f64, shape.images as f64);
        let positions = sizes.encoder.typical_tokens();
        let load = Load {
            rows,
            seq: shape.seq as f64,
            learned: rows * shape.seq as f64,
            tiles: media,
            positions: media * positions as f64,
            position_pairs: media * (positions as f64).powi(2),
            media_tokens: media * sizes.tokens_per_image().unwrap_or(positions) as f64,
        };
        let micro_batches = config.train.grad_accum_steps();
        Self {
            steps: 1,
            micro_batches: vec![load; micro_batches],
            samples: config.train.global_batch_size.get(),
            tokens: micro_batches * shape.batch * shape.seq,
            largest: [shape.batch, shape.seq, shape.images],
            media: BTreeMap::new(),
        }
    }

    /// Adds a step.
    pub fn see(&mut self, step: &StepBatch, encoder: &EncoderConfig) {
        self.steps += 1;
        self.samples += step.samples;
        step.micro_batches.iter().for_each(|batch| self.add(batch, encoder));
    }

    fn add(&mut self, batch: &HostBatch, encoder: &EncoderConfig) {
        let load = load_of(batch, encoder);
        let media = load.positions / encoder.typical_tokens().max(1) as f64;
        let [rows, seq, most] = self.largest;
        self.largest = [rows.max(batch.batch), seq.max(batch.seq), most.max(media.ceil() as usize)];
        self.micro_batches.push(load);
        self.tokens += batch.tokens();
        for medium in &batch.media {
            let tokens = medium.medium.placeholders();
            let seen = self.media.entry(kind(medium)).or_default();
            *seen = MediaSeen { count: seen.count + 1, tokens: seen.tokens + tokens, most: seen.most.max(tokens) };
        }
    }

    /// Tokens of a step, without fill.
    pub fn tokens_per_step(&self) -> f64 {
        self.tokens as f64 / self.steps.max(1) as f64
    }

    /// Share of all positions that are fill.
    pub fn fill(&self) -> f64 {
        let all = self.micro_batches.iter().map(|load| load.rows * load.seq).sum::<f64>();
        if all > 0.0 { 1.0 - self.tokens as f64 / all } else { 0.0 }
    }
}

fn kind(medium: &HostMedium) -> &'static str {
    match &medium.medium.input.layout {
        MediaLayout::Sound(_) => "audio",
        MediaLayout::Frames { .. } | MediaLayout::CanvasFrames { .. } => "video",
        MediaLayout::Grid(grid) if grid.time > 1 => "video",
        _ => "image",
    }
}

/// What a micro-batch puts through a model.
pub fn load_of(batch: &HostBatch, encoder: &EncoderConfig) -> Load {
    let mut load = Load {
        rows: batch.batch as f64,
        seq: batch.seq as f64,
        learned: batch.supervised_tokens as f64,
        ..Load::default()
    };
    for HostMedium { medium, .. } in &batch.media {
        let positions = medium.input.layout.values() as f64 / encoder.values_per_position() as f64;
        // Each tile and each frame sees itself alone.
        let spans = match &medium.input.layout {
            MediaLayout::Grid(grid) => grid.time as usize,
            layout => layout.tiles(),
        };
        load.tiles += medium.input.layout.tiles() as f64;
        load.positions += positions;
        load.position_pairs += positions * positions / spans.max(1) as f64;
        load.media_tokens += medium.placeholders() as f64;
    }
    load
}

/// What a device does in a second, all ranks together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Floating-point operations of matrix products shaped as the encoder's.
    pub encoder: f64,
    /// As the decoder's.
    pub decoder: f64,
    /// As the output projection's.
    pub head: f64,
    /// Floats that are read or written by passes over tensors.
    pub floats: f64,
}

/// What a step takes, on average over the steps that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepCost {
    /// Floating-point operations that the shapes need, by part.
    #[serde(skip)]
    pub flops: ModelFlops,
    /// Those of blocks that run again in the backward pass.
    pub again: f64,
    /// Floats that are read or written between the products.
    pub floats: f64,
    /// Floats that the update reads and writes.
    pub update: f64,
    /// How much longer ranks take because some have a micro-batch less; 1 where all have as many.
    pub imbalance: f64,
}

impl StepCost {
    /// Of a model of which `trained` is trained.
    pub fn of(model: &Vlm, trained: Trained, keep: KeepPlan, ranks: usize, outlook: &Outlook) -> Self {
        let steps = outlook.steps.max(1) as f64;
        let mut cost = Self { flops: ModelFlops::default(), again: 0.0, floats: 0.0, update: 0.0, imbalance: 1.0 };
        for load in &outlook.micro_batches {
            let flops = step_flops(model, |part| trained.part(part), load);
            let forward = step_flops(model, |_| Tuned::Frozen, load);
            let passes = Passes::of(&model.config, trained, keep);
            cost.flops = cost.flops.plus(&flops);
            cost.again += passes.decoder_again * forward.decoder + passes.encoder_again * forward.encoder;
            cost.floats += passes.floats(&model.config, load);
        }
        let per_step = 1.0 / steps;
        cost.flops = cost.flops.times(per_step);
        cost.again *= per_step;
        cost.floats *= per_step;
        let infos = Part::ALL.iter().flat_map(|&part| model.infos(part));
        let tuned = infos.filter(|info| trained.part(info.part).trains(info)).map(|info| info.elements() as f64);
        cost.update = FLOATS_OF_UPDATE * tuned.sum::<f64>();
        let each = outlook.micro_batches.len() as f64 * per_step;
        let ranks = ranks.max(1) as f64;
        cost.imbalance = (each / ranks).ceil() * ranks / each.max(1.0);
        cost
    }

    /// How long it takes.
    pub fn seconds(&self, rates: &Rates) -> f64 {
        let ModelFlops { encoder, connector, decoder, head } = self.flops;
        let products = encoder / rates.encoder + (connector + decoder + self.again) / rates.decoder + head / rates.head;
        self.imbalance * (products + self.floats / rates.floats) + self.update / rates.floats
    }
}

/// How often blocks are gone through.
struct Passes {
    decoder: f64,
    encoder: f64,
    /// Share of the decoder's blocks that run forward once more.
    decoder_again: f64,
    encoder_again: f64,
}

impl Passes {
    fn of(config: &VlmConfig, trained: Trained, keep: KeepPlan) -> Self {
        let is_encoder_trained = trained.encoder.is_trained();
        let has_gradient = is_encoder_trained || trained.connector.is_trained() || trained.decoder.is_trained();
        let again = |is_needed: bool, kept: usize, blocks: usize| {
            if is_needed { 1.0 - kept.min(blocks) as f64 / blocks.max(1) as f64 } else { 0.0 }
        };
        // Forward, and the backward pass with twice as much.
        let passes = |is_needed: bool, again: f64| if is_needed { 3.0 + again } else { 1.0 };
        let decoder_again = again(has_gradient, keep.decoder, config.text.num_hidden_layers);
        let encoder_again = again(is_encoder_trained, keep.encoder, config.encoder.num_layers());
        Self {
            decoder: passes(has_gradient, decoder_again),
            encoder: passes(is_encoder_trained, encoder_again),
            decoder_again,
            encoder_again,
        }
    }

    fn floats(&self, config: &VlmConfig, load: &Load) -> f64 {
        let decoder = (config.text.num_hidden_layers * decoder_values(&config.text)) as f64 * load.rows * load.seq;
        let encoder = (config.encoder.num_layers() * encoder_values(&config.encoder)) as f64 * load.positions;
        let scores = (config.text.num_hidden_layers * config.text.num_attention_heads) as f64
            * load.rows
            * load.seq.powi(2)
            * self.decoder;
        let [.., heads] = config.encoder.block_sizes();
        let seen = (config.encoder.num_layers() * heads) as f64 * load.position_pairs * self.encoder;
        decoder * self.decoder + encoder * self.encoder + scores + seen
    }
}

/// Values of a token that one block of the decoder makes: about 11 tensors of the stream's width, 3 of the MLP's.
fn decoder_values(config: &TextConfig) -> usize {
    11 * config.hidden_size + 3 * config.intermediate_size
}

/// As [`decoder_values`] for a position of the encoder.
fn encoder_values(config: &EncoderConfig) -> usize {
    let [hidden, inner, _] = config.block_sizes();
    8 * hidden + 2 * inner
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::tests::model;

    const ALL: Trained = Trained { encoder: Tuned::Full, connector: Tuned::Full, decoder: Tuned::Full };

    fn load(rows: f64) -> Load {
        Load {
            rows,
            seq: 8.0,
            learned: 4.0 * rows,
            tiles: rows,
            positions: 4.0 * rows,
            position_pairs: 16.0 * rows,
            media_tokens: 4.0 * rows,
        }
    }

    fn outlook(steps: usize, micro_batches: Vec<Load>) -> Outlook {
        Outlook { steps, micro_batches, ..Outlook::default() }
    }

    fn cost(trained: Trained, keep: KeepPlan, outlook: &Outlook) -> StepCost {
        StepCost::of(&model(), trained, keep, 1, outlook)
    }

    fn all_kept() -> KeepPlan {
        let config = model().config;
        KeepPlan { encoder: config.encoder.num_layers(), decoder: config.text.num_hidden_layers }
    }

    #[test]
    fn a_step_is_the_mean_of_those_that_were_seen() {
        let one = cost(ALL, all_kept(), &outlook(1, vec![load(2.0), load(2.0)]));
        let two = cost(ALL, all_kept(), &outlook(2, vec![load(1.0), load(3.0), load(1.0), load(3.0)]));
        assert!((one.flops.total() / two.flops.total() - 1.0).abs() < 1e-12);
        assert!((one.floats / two.floats - 1.0).abs() < 1e-12 && (one.update - two.update).abs() < 1e-9);
        assert!(one.again.abs() < 1e-9);
    }

    #[test]
    fn blocks_that_keep_no_graph_run_again_and_what_is_frozen_is_passed_once() {
        let outlook = outlook(1, vec![load(2.0)]);
        let none = KeepPlan { encoder: 0, decoder: 0 };
        let again = cost(ALL, none, &outlook);
        let frozen = cost(Trained::NOTHING, none, &outlook);
        assert!((again.again - frozen.flops.encoder - frozen.flops.decoder).abs() < 1e-6);
        assert!(frozen.again.abs() < 1e-9 && frozen.update.abs() < 1e-9);
        // Forward, backward with twice as much, and once more.
        assert!((again.floats / frozen.floats - 4.0).abs() < 1e-9, "{} {}", again.floats, frozen.floats);
        let rates = Rates { encoder: 1e9, decoder: 1e9, head: 1e9, floats: 1e9 };
        let work = frozen.flops.total() + frozen.floats;
        assert!((frozen.seconds(&rates) - work / 1e9).abs() < 1e-12);
    }

    #[test]
    fn ranks_wait_for_the_one_that_has_a_micro_batch_more() {
        let of_ranks = |micro_batches: usize, ranks| {
            let outlook = outlook(1, vec![load(1.0); micro_batches]);
            StepCost::of(&model(), ALL, all_kept(), ranks, &outlook).imbalance
        };
        for (micro_batches, ranks, expected) in [(1, 1, 1.0), (4, 2, 1.0), (3, 2, 4.0 / 3.0), (1, 4, 4.0)] {
            assert!((of_ranks(micro_batches, ranks) - expected).abs() < 1e-12, "{micro_batches} over {ranks}");
        }
    }
}
