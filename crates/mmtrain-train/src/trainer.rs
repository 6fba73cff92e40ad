//! The loop: the same for every stage.

mod objective;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mmtrain_config::{RunConfig, Tuning};
use mmtrain_data::{Bucketing, LoaderConfig, Mixture, Packing, Preparer, SampleId, StepBatch, StepLoader};
use mmtrain_model::Vlm;
use mmtrain_model::lora::peft::PeftAdapter;
use mmtrain_model::params::{FlatTensors, ParamInfo, Part, Tuned};

use crate::best::Best;
use crate::checkpoint::{FrozenPart, Snapshot, TrainState, Writer};
use crate::clip::{clip, global_norm};
use crate::driver::{Plan, Trained};
use crate::error::TrainError;
use crate::metrics::{EvalReport, Metric, MetricsLog, StepReport};
use crate::optimizer::{AdamW, PartRates};
use crate::quarantine::Quarantine;
use crate::ranks::Ranks;
use crate::schedule::Schedule;
use crate::stop::Stop;
use crate::verify::{Verification, reached};

use self::objective::Computed;
pub use self::objective::{Objective, Pairs, complete_reference};

/// What the loop needs that does not change.
pub struct Run {
    /// The resolved configuration.
    pub config: RunConfig,
    /// Optimizer steps to make.
    pub total_steps: u64,
    /// Where checkpoints and metrics go.
    pub run_dir: PathBuf,
    /// Training data.
    pub mixture: Arc<Mixture>,
    /// Held-out data, each evaluated by itself; the first one also by who watches, and it says which checkpoint is the best.
    pub held_out: Vec<HeldOut>,
    /// Sample to tensors.
    pub preparer: Arc<Preparer>,
    /// How a step is computed.
    pub plan: Plan,
    /// Threads that decode.
    pub workers: usize,
    /// Parts that are not in the checkpoints.
    pub frozen: Vec<FrozenPart>,
    /// Files that each checkpoint carries along, by name.
    pub texts: Vec<(String, String)>,
    /// Adapters as PEFT reads them, which each checkpoint has too.
    pub adapter: Option<PeftAdapter>,
}

/// Data that are not trained on.
#[derive(Clone)]
pub struct HeldOut {
    /// What its evaluations are called.
    pub name: String,
    /// The data.
    pub data: Arc<Mixture>,
}

/// What the loop changes.
#[derive(Debug)]
pub struct Progress {
    /// The model.
    pub model: Vlm,
    /// Moments.
    pub optimizer: AdamW,
    /// Counters and cursor.
    pub state: TrainState,
}

/// What happens around a step, for whoever watches.
pub trait Watch {
    /// After each step that is logged.
    fn step(&mut self, report: &StepReport);
    /// After each evaluation.
    fn eval(&mut self, report: &EvalReport);
    /// More to evaluate on the model, such as generated captions. Results join the report.
    fn measure(&mut self, model: &Vlm, step: u64) -> Result<BTreeMap<String, f64>, TrainError>;
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made.
    Finished,
    /// A stop was asked for; the state is saved.
    Stopped,
}

/// Trains until all steps are made or a stop is asked for. The last state is always saved.
pub fn train(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    watch: &mut dyn Watch,
    stop: &Stop,
) -> Result<Ending, TrainError> {
    let config = &run.config;
    let mut loader =
        StepLoader::new(run.mixture.clone(), run.preparer.clone(), loader_config(run), progress.state.cursor)?;
    let ranks = Ranks::new(config.train.ranks)?;
    let mut metrics = MetricsLog::open(&run.run_dir, progress.state.step)?;
    let mut quarantine = Quarantine::open(&run.run_dir)?;
    let mut writer = Writer::new(&run.run_dir, config.checkpoint.keep, config.checkpoint.async_save)?;
    let mut meter = Meter::new();
    let mut saved = (progress.state.step > 0).then_some(progress.state.step);
    let mut verification = Verification::new(&progress.model, run.plan.trained);

    while progress.state.step < run.total_steps && !is_given_up(config, &progress.state) && !stop.requested() {
        let batch = next_batch(&mut loader, &mut quarantine)?;
        meter.add(&batch);
        let outcome = train_step((run, objective), progress, &batch, &ranks, &mut verification)?;
        let step = progress.state.step;
        let last = step == run.total_steps;
        if due(step, config.train.log_every) || last {
            let report = meter.report(run, &progress.state, &batch, outcome);
            metrics.write(&Metric::Train(report.clone()))?;
            watch.step(&report);
        }
        let mut is_best = false;
        if due(step, config.train.eval_every) || (last && config.train.eval_every > 0) {
            let reports = evaluate((run, objective), progress, watch)?;
            for report in &reports {
                metrics.write(&Metric::Eval(report.clone()))?;
                watch.eval(report);
            }
            match observe(config, &mut progress.state, reports.first()) {
                Ok(best) => is_best = best,
                Err(error) => {
                    save(run, progress, &mut writer)?;
                    writer.finish()?;
                    return Err(error);
                }
            }
            meter.restart();
        }
        if (due(step, config.checkpoint.every) || is_best) && !last {
            metrics.sync()?;
            save(run, progress, &mut writer)?;
            saved = Some(step);
        }
    }
    if saved != Some(progress.state.step) {
        metrics.sync()?;
        save(run, progress, &mut writer)?;
    }
    writer.finish()?;
    let is_over = progress.state.step >= run.total_steps || is_given_up(config, &progress.state);
    Ok(if is_over { Ending::Finished } else { Ending::Stopped })
}

/// Notes an evaluation. Whether it is the best so far.
fn observe(config: &RunConfig, state: &mut TrainState, report: Option<&EvalReport>) -> Result<bool, TrainError> {
    let Some((best, report)) = config.checkpoint.best.as_ref().zip(report) else { return Ok(false) };
    state.best = Best::observe(state.best, best, report)?;
    Ok(state.best.is_some_and(|best| best.step == report.step))
}

/// Whether evaluations have stopped getting better.
fn is_given_up(config: &RunConfig, state: &TrainState) -> bool {
    let best = config.checkpoint.best.as_ref().zip(state.best);
    best.is_some_and(|(config, best)| best.is_given_up(config))
}

/// The data of the next step. What was left out on the way is recorded, also where it was too much.
fn next_batch(loader: &mut StepLoader, quarantine: &mut Quarantine) -> Result<StepBatch, TrainError> {
    let outcome = loader.next_step();
    quarantine.record(outcome.as_ref().map_or(loader.left_out(), |batch| &batch.skipped))?;
    Ok(outcome?)
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// Data order is keyed apart from the weights' seed so that both can be the same number.
fn loader_config(run: &Run) -> LoaderConfig {
    let (data, train) = (&run.config.data, &run.config.train);
    LoaderConfig {
        seed: train.seed,
        global_batch_size: train.global_batch_size.get(),
        micro_batch_size: train.micro_batch_size.get(),
        packing: data.packing.then_some(Packing { max_seq: data.max_seq, window: data.packing_window }),
        bucketing: data.bucketing.then_some(Bucketing { steps: data.bucketing_window }),
        workers: run.workers,
        prefetch_steps: data.prefetch_steps,
        max_skip_ratio: data.max_skip_ratio,
        shuffle: data.shuffle,
    }
}

/// What one step measured.
#[derive(Debug, Clone)]
struct Outcome {
    loss: f64,
    grad_norm: f64,
    lr: BTreeMap<String, f64>,
    values: BTreeMap<String, f64>,
}

/// Forward and backward over all micro-batches, then one update.
///
/// Loss and norm are read before anything is changed: a number that is not finite must not reach the weights.
fn train_step(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    batch: &StepBatch,
    ranks: &Ranks,
    verification: &mut Verification,
) -> Result<Outcome, TrainError> {
    let config = &run.config;
    let Computed { loss, gradients, values, delta } = objective.step(run, progress, batch, ranks)?;
    let norm = global_norm(&gradients, &progress.model.device()).into_scalar::<f32>();
    reject_non_finite(run, progress.state.step + 1, batch, loss as f32, norm)?;
    let gradients = clip(gradients, norm, config.train.max_grad_norm);
    let rates = rates(config, run.total_steps, progress.state.step);
    let before = verification.is_pending().then(|| (progress.model.clone(), reached(&gradients)));
    update(progress, gradients, config, &rates);
    progress.state.step += 1;
    progress.state.delta = delta;
    if let Some((before, reached)) = before {
        verification.check(&before, &progress.model, &reached, progress.state.step)?;
    }
    progress.state.cursor = batch.cursor_after;
    progress.state.samples += batch.samples as u64;
    progress.state.supervised_tokens += batch.supervised_tokens as u64;
    let lr = rates.iter().map(|(part, rates)| (part.name().to_owned(), rates.lr)).collect();
    Ok(Outcome { loss, grad_norm: f64::from(norm), lr, values })
}

fn update(progress: &mut Progress, gradients: FlatTensors, config: &RunConfig, rates: &BTreeMap<Part, PartRates>) {
    let reached = |info: &ParamInfo| gradients.contains_key(&info.name);
    let params = rates.keys().flat_map(|&part| progress.model.params_where(part, reached)).collect();
    let mut updated = progress.optimizer.step(params, gradients, (&config.train).into(), rates);
    for &part in rates.keys() {
        progress.model = progress.model.clone().assign(part, &mut |info| updated.remove(&info.name));
    }
}

/// Stops before the update, and leaves the samples' names behind.
fn reject_non_finite(run: &Run, step: u64, batch: &StepBatch, loss: f32, norm: f32) -> Result<(), TrainError> {
    let (what, value) = match (loss.is_finite(), norm.is_finite()) {
        (true, true) => return Ok(()),
        (false, _) => ("loss", loss),
        (true, false) => ("gradient norm", norm),
    };
    let samples = batch.micro_batches.iter().flat_map(|micro| micro.ids.clone()).collect::<Vec<SampleId>>();
    let report = serde_json::json!({ "step": step, "what": what, "value": value.to_string(), "samples": samples });
    let text = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
    fs_err::write(run.run_dir.join("bad_batch.json"), text)?;
    Err(TrainError::NonFinite { step, what, value, samples })
}

/// Learning rate and decay of each trained part for the update after `step` steps.
fn rates(config: &RunConfig, total_steps: u64, step: u64) -> BTreeMap<Part, PartRates> {
    let factor = Schedule::new(&config.schedule, total_steps).factor(step);
    let mut rates = BTreeMap::new();
    for part in Part::ALL {
        let settings = part_config(config, part);
        if let Some(lr) = settings.tuning.lr() {
            let weight_decay = settings.weight_decay.unwrap_or(config.train.weight_decay);
            rates.insert(part, PartRates { lr: lr * factor, weight_decay });
        }
    }
    rates
}

/// `[train.encoder]`, `[train.connector]`, `[train.decoder]`
pub fn part_config(config: &RunConfig, part: Part) -> &mmtrain_config::PartConfig {
    match part {
        Part::Encoder => &config.train.encoder,
        Part::Connector => &config.train.connector,
        Part::Decoder => &config.train.decoder,
    }
}

/// What of each part a configuration trains.
pub fn trained(config: &RunConfig) -> Trained {
    let tuned = |part| match &part_config(config, part).tuning {
        Tuning::Frozen => Tuned::Frozen,
        Tuning::Full(full) => full.from_block.map_or(Tuned::Full, Tuned::From),
        Tuning::Lora(_) => Tuned::Adapters,
    };
    Trained { encoder: tuned(Part::Encoder), connector: tuned(Part::Connector), decoder: tuned(Part::Decoder) }
}

/// Whether adapters zero some of what they see.
fn has_dropout(config: &RunConfig) -> bool {
    let lora = Part::ALL.into_iter().filter_map(|part| part_config(config, part).tuning.lora());
    lora.into_iter().any(|lora| lora.dropout > 0.0)
}

/// One report for each of the held-out data.
fn evaluate(
    (run, objective): (&Run, &Objective),
    progress: &Progress,
    watch: &mut dyn Watch,
) -> Result<Vec<EvalReport>, TrainError> {
    let step = progress.state.step;
    let mut watched = watch.measure(&progress.model, step)?;
    let reports = run.held_out.iter().map(|HeldOut { name, data }| {
        let mut values = std::mem::take(&mut watched);
        values.extend(objective.evaluate(run, &progress.model, data)?);
        Ok(EvalReport { step, name: name.clone(), values })
    });
    reports.collect()
}

fn save(run: &Run, progress: &Progress, writer: &mut Writer) -> Result<(), TrainError> {
    let saved = |part| progress.model.params_where(part, |info| run.plan.trained.part(part).saves(info));
    let params = Part::ALL.into_iter().flat_map(saved).collect();
    let mut state = progress.state.clone();
    state.frozen.clone_from(&run.frozen);
    writer.save(Snapshot::take(state, params, &progress.optimizer, run.texts.clone(), run.adapter.as_ref()))
}

/// Rates between two lines of the log.
#[derive(Debug)]
struct Meter {
    since: Instant,
    steps: u64,
    tokens: u64,
    /// Of `tokens`, those that are fill.
    fill: u64,
    samples: u64,
    wait_secs: f64,
    skipped: u64,
    fitted: BTreeMap<String, u64>,
}

impl Meter {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            steps: 0,
            tokens: 0,
            fill: 0,
            samples: 0,
            wait_secs: 0.0,
            skipped: 0,
            fitted: BTreeMap::new(),
        }
    }

    fn restart(&mut self) {
        *self = Self { skipped: self.skipped, fitted: std::mem::take(&mut self.fitted), ..Self::new() };
    }

    fn add(&mut self, batch: &StepBatch) {
        self.steps += 1;
        for micro in &batch.micro_batches {
            self.tokens += micro.input_ids.len() as u64;
            self.fill += (micro.input_ids.len() - micro.tokens()) as u64;
        }
        self.samples += batch.samples as u64;
        self.wait_secs += batch.wait_secs;
        self.skipped += batch.skipped.len() as u64;
        for (&how, &count) in &batch.fitted {
            *self.fitted.entry(how.to_owned()).or_default() += count as u64;
        }
    }

    fn report(&mut self, run: &Run, state: &TrainState, batch: &StepBatch, outcome: Outcome) -> StepReport {
        let secs = self.since.elapsed().as_secs_f64().max(1e-9);
        let epoch = state.cursor.epoch as f64 + state.cursor.position as f64 / run.mixture.epoch_len() as f64;
        let report = StepReport {
            step: state.step,
            epoch,
            loss: outcome.loss,
            lr: outcome.lr,
            grad_norm: outcome.grad_norm,
            supervised_tokens: batch.supervised_tokens as u64,
            samples: batch.samples as u64,
            tokens_per_sec: self.tokens as f64 / secs,
            samples_per_sec: self.samples as f64 / secs,
            data_wait: (self.wait_secs / secs).min(1.0),
            step_secs: secs / self.steps.max(1) as f64,
            mem_bytes: crate::memory::resident_bytes(),
            padding: self.fill as f64 / self.tokens.max(1) as f64,
            skipped: self.skipped,
            fitted: self.fitted.clone(),
            values: outcome.values,
        };
        self.restart();
        report
    }
}

/// Finished runs carry this file: the last step.
pub fn mark_finished(run_dir: &Path, step: u64) -> std::io::Result<()> {
    crate::checkpoint::write_atomically(&run_dir.join("finished"), step.to_string().as_bytes())
}
