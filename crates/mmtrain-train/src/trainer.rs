//! The loop: the same for every stage.

mod bad_steps;
mod objective;
mod rehearsal;
mod saves;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use mmtrain_config::{Remedy, RunConfig, Tuning};
use mmtrain_data::{Bucketing, LoaderConfig, Mixture, Packing, Preparer, SampleId, StepBatch, StepLoader, StepsAhead};
use mmtrain_model::Vlm;
use mmtrain_model::lora::peft::PeftAdapter;
use mmtrain_model::params::{Part, Tuned};

use crate::best::Best;
use crate::checkpoint::{self, FrozenPart, LoadedCheckpoint, TrainState, find_newest};
use crate::clip::clip_factor;
use crate::driver::{Plan, Trained};
use crate::error::TrainError;
use crate::guard::{Fault, Guarded};
use crate::metrics::{EvalReport, FaultReport, Metric, MetricsLog, REWOUND, SKIPPED, StepReport};
use crate::optimizer::{AdamW, PartRates, Update};
use crate::quarantine::Quarantine;
use crate::ranks::Ranks;
use crate::schedule::Schedule;
use crate::stop::Stop;
use crate::verify::{Verification, reached};

use self::bad_steps::BadSteps;
use self::objective::Computed;
pub use self::objective::{Objective, Pairs, complete_reference};
pub use self::rehearsal::{Rehearsal, rehearse};
use self::saves::Saves;

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
    /// Ends the run early, with everything saved.
    pub stop: Stop,
}

impl Run {
    /// Whether an evaluation that is under way is to be dropped. Not where the best one is looked for: who goes on would look at a
    /// checkpoint that does not know of it.
    pub fn drops_evaluation(&self) -> bool {
        self.stop.requested() && self.config.checkpoint.best.is_none()
    }
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
    /// After a step that was no update.
    fn fault(&mut self, report: &FaultReport);
    /// More to evaluate on the model, such as generated captions, unless it is to be dropped ([`Run::drops_evaluation`]). Results join
    /// the report.
    fn measure(&mut self, run: &Run, model: &Vlm) -> Result<BTreeMap<String, f64>, TrainError>;
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
///
/// A stop drops the step or the evaluation that is under way. The step is made again by who goes on, and so is the evaluation.
pub fn train(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    watch: &mut dyn Watch,
) -> Result<Ending, TrainError> {
    let mut around = Around::open(run, progress)?;
    let outcome = make_steps((run, objective), progress, &mut around, watch);
    let is_cut_short = matches!(outcome, Err(TrainError::Interrupted));
    if !is_cut_short {
        outcome?;
    }
    around.saves.finish(run, progress, &mut around.logs)?;
    let is_over = progress.state.step >= run.total_steps || is_given_up(&run.config, &progress.state);
    Ok(if is_over && !is_cut_short { Ending::Finished } else { Ending::Stopped })
}

fn make_steps(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    around: &mut Around,
    watch: &mut dyn Watch,
) -> Result<(), TrainError> {
    let config = &run.config;
    if owes_evaluation(run, progress, &around.logs) && evaluate_now((run, objective), progress, around, watch)? {
        around.saves.save(run, progress, &mut around.logs)?;
    }
    while progress.state.step < run.total_steps && !is_given_up(config, &progress.state) && !run.stop.requested() {
        let Logs { quarantine, loader, .. } = &mut around.logs;
        let batch = quarantine.next_step(loader)?;
        around.meter.add(&batch);
        let made = train_step((run, objective), progress, &batch, &around.ranks, &mut around.verification)?;
        if let Made::Nothing(fault) = made {
            let failed = progress.state.step + 1;
            turn_back(run, progress, &batch, fault, &mut around.saves)?;
            around.logs.rewind(run, progress)?;
            around.logs.fault(failed, &progress.state.guard, &batch, (fault, Remedy::Rewind), watch)?;
            around.meter.restart();
            continue;
        }
        let step = progress.state.step;
        let last = step == run.total_steps;
        match made {
            Made::Updated(outcome) if due(step, config.train.log_every) || last => {
                let mut report = around.meter.report(run, &progress.state, &batch, outcome);
                report.values.extend(around.saves.failures());
                report.values.extend(crate::memory::of_device(&progress.model.device()));
                around.logs.metrics.write(&Metric::Train(report.clone()))?;
                watch.step(&report);
            }
            Made::PassedOver(fault) => {
                around.logs.fault(step, &progress.state.guard, &batch, (fault, Remedy::Skip), watch)?;
            }
            Made::Updated(_) | Made::Nothing(_) => {}
        }
        let is_best = is_evaluated(run, step) && evaluate_now((run, objective), progress, around, watch)?;
        if (due(step, config.checkpoint.every) || is_best) && !last {
            around.saves.save(run, progress, &mut around.logs)?;
        }
    }
    Ok(())
}

/// What the loop has beside the model.
struct Around {
    logs: Logs,
    ranks: Ranks,
    saves: Saves,
    meter: Meter,
    verification: Verification,
}

impl Around {
    fn open(run: &Run, progress: &Progress) -> Result<Self, TrainError> {
        Ok(Self {
            logs: Logs::open(run, progress)?,
            ranks: Ranks::new(run.config.train.ranks)?.until(&run.stop),
            saves: Saves::new(run, progress)?,
            meter: Meter::new(),
            verification: Verification::new(&progress.model, run.plan.trained),
        })
    }
}

/// Whether there is an evaluation after this step.
fn is_evaluated(run: &Run, step: u64) -> bool {
    let every = run.config.train.eval_every;
    every > 0 && (due(step, every) || step == run.total_steps)
}

/// Whether the evaluation of the step from which the run goes on is missing: a stop came while it was made.
fn owes_evaluation(run: &Run, progress: &Progress, logs: &Logs) -> bool {
    let step = progress.state.step;
    step > 0 && is_evaluated(run, step) && !logs.metrics.is_evaluated
}

/// Evaluates the model. Whether it is the best so far.
fn evaluate_now(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    around: &mut Around,
    watch: &mut dyn Watch,
) -> Result<bool, TrainError> {
    let reports = evaluate((run, objective), progress, &mut around.logs.quarantine, watch)?;
    for report in &reports {
        around.logs.metrics.write(&Metric::Eval(report.clone()))?;
        watch.eval(report);
    }
    around.meter.restart();
    let observed = observe(&run.config, &mut progress.state, &reports);
    if observed.is_err() {
        around.saves.finish(run, progress, &mut around.logs)?;
    }
    observed
}

/// The data from where `progress` stands.
fn loader(run: &Run, progress: &Progress) -> Result<StepsAhead, TrainError> {
    let (mixture, preparer) = (run.mixture.clone(), run.preparer.clone());
    let config = loader_config(&run.config, run.workers);
    Ok(StepsAhead::of(StepLoader::new(mixture, preparer, config, progress.state.cursor)?)?)
}

/// Data of the steps to come, and what is written down of those that were made.
struct Logs {
    loader: StepsAhead,
    metrics: MetricsLog,
    quarantine: Quarantine,
    bad_steps: BadSteps,
}

impl Logs {
    /// From where `progress` stands.
    fn open(run: &Run, progress: &Progress) -> Result<Self, TrainError> {
        Ok(Self {
            loader: loader(run, progress)?,
            metrics: MetricsLog::open(&run.run_dir, progress.state.step)?,
            quarantine: Quarantine::open(&run.run_dir)?,
            bad_steps: BadSteps::open(&run.run_dir, progress.state.step)?,
        })
    }

    /// Back to where `progress` stands. What was left out stays written down.
    fn rewind(&mut self, run: &Run, progress: &Progress) -> Result<(), TrainError> {
        self.loader = loader(run, progress)?;
        self.metrics = MetricsLog::open(&run.run_dir, progress.state.step)?;
        Ok(())
    }

    /// Makes all that is written down durable, before the checkpoint of `step` is.
    fn sync(&mut self, step: u64) -> Result<(), TrainError> {
        let synced = self.metrics.sync().and_then(|()| self.quarantine.sync());
        let synced = synced.and_then(|()| self.bad_steps.sync());
        synced.map_err(|error| TrainError::Save { step, message: error.to_string() })
    }

    /// Writes down a step that was no update, and its samples.
    fn fault(
        &mut self,
        step: u64,
        guard: &Guarded,
        batch: &StepBatch,
        (fault, remedy): (Fault, Remedy),
        watch: &mut dyn Watch,
    ) -> Result<(), TrainError> {
        let remedy = if remedy == Remedy::Skip { SKIPPED } else { REWOUND };
        let report = FaultReport {
            step,
            what: fault.what.to_owned(),
            value: fault.value.to_string(),
            remedy: remedy.to_owned(),
            passed_over: guard.passed_over,
            rewinds: guard.rewinds,
        };
        self.bad_steps.add(&report, &sample_ids(batch))?;
        self.metrics.write(&Metric::Fault(report.clone()))?;
        watch.fault(&report);
        Ok(())
    }
}

fn sample_ids(batch: &StepBatch) -> Vec<SampleId> {
    batch.micro_batches.iter().flat_map(|micro| micro.ids.clone()).collect()
}

/// Goes back to the newest checkpoint, and from there past all data up to the end of `batch`.
fn turn_back(
    run: &Run,
    progress: &mut Progress,
    batch: &StepBatch,
    fault: Fault,
    saves: &mut Saves,
) -> Result<(), TrainError> {
    saves.wait()?;
    let Some(found) = find_newest(&run.run_dir)? else {
        let step = progress.state.step + 1;
        if !fault.is_spike {
            write_bad_batch(run, step, batch, &fault);
        }
        let Fault { what, value, .. } = fault;
        return Err(TrainError::NoWayBack { step, what, value });
    };
    let known = std::mem::take(&mut progress.state.guard);
    let LoadedCheckpoint { model, optimizer, mut state } =
        checkpoint::load(&found.dir, progress.model.clone(), run.plan.trained)?;
    state.guard.rewound(&known);
    state.cursor = batch.cursor_after;
    *progress = Progress { model, optimizer, state };
    saves.saved = None;
    Ok(())
}

/// Notes an evaluation. Whether it is the best so far.
fn observe(config: &RunConfig, state: &mut TrainState, reports: &[EvalReport]) -> Result<bool, TrainError> {
    let Some((best, first)) = config.checkpoint.best.as_ref().zip(reports.first()) else { return Ok(false) };
    state.best = Best::observe(state.best, best, reports)?;
    Ok(state.best.is_some_and(|best| best.step == first.step))
}

/// Whether evaluations have stopped getting better.
fn is_given_up(config: &RunConfig, state: &TrainState) -> bool {
    let best = config.checkpoint.best.as_ref().zip(state.best);
    best.is_some_and(|(config, best)| best.is_given_up(config))
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// How a run's data come. Data order is keyed apart from the weights' seed so that both can be the same number.
pub fn loader_config(config: &RunConfig, workers: usize) -> LoaderConfig {
    let (data, train) = (&config.data, &config.train);
    LoaderConfig {
        seed: train.seed,
        global_batch_size: train.global_batch_size.get(),
        micro_batch_size: train.micro_batch_size.get(),
        packing: data.packing.then_some(Packing { max_seq: data.max_seq, window: data.packing_window }),
        bucketing: data.bucketing.then_some(Bucketing { steps: data.bucketing_window }),
        workers,
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

/// What became of a step.
enum Made {
    /// An update.
    Updated(Outcome),
    /// A step without one.
    PassedOver(Fault),
    /// No step: the run has to go back.
    Nothing(Fault),
}

/// Forward and backward over all micro-batches, then one update.
///
/// Loss and norm are read before anything is changed: a number that went wrong must not reach the weights.
fn train_step(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    batch: &StepBatch,
    ranks: &Ranks,
    verification: &mut Verification,
) -> Result<Made, TrainError> {
    let (config, guard) = (&run.config, &run.config.train.guard);
    let Computed { loss, gradients, norm, values, delta } = objective.step(run, progress, batch, ranks)?;
    match progress.state.guard.judge(guard, loss as f32, norm) {
        None => {}
        Some((fault, Remedy::Stop)) => return Err(stopped(run, progress.state.step + 1, batch, fault)),
        Some((fault, Remedy::Rewind)) => return Ok(Made::Nothing(fault)),
        Some((fault, Remedy::Skip)) => {
            progress.state.guard.passed_over();
            advance(progress, batch);
            return Ok(Made::PassedOver(fault));
        }
    }
    progress.state.guard.updated(guard, loss as f32, norm);
    let factor = clip_factor(norm, config.train.max_grad_norm);
    let rates = rates(config, run.total_steps, progress.state.step);
    let mut changes = verification.changes();
    let update = Update { factor, config: (&config.train).into(), rates: &rates };
    progress.optimizer.update(&mut progress.model, &gradients, update, changes.as_mut());
    advance(progress, batch);
    progress.state.delta = delta;
    if let Some(changes) = changes {
        verification.check(changes, &progress.model, &reached(&gradients), progress.state.step)?;
    }
    let lr = rates.iter().map(|(part, rates)| (part.name().to_owned(), rates.lr)).collect();
    Ok(Made::Updated(Outcome { loss, grad_norm: f64::from(norm), lr, values }))
}

/// Counts a step and its data.
fn advance(progress: &mut Progress, batch: &StepBatch) {
    let state = &mut progress.state;
    state.step += 1;
    state.cursor = batch.cursor_after;
    state.samples += batch.samples as u64;
    state.supervised_tokens += batch.supervised_tokens as u64;
}

/// The end before an update; the samples' names are left behind.
fn stopped(run: &Run, step: u64, batch: &StepBatch, fault: Fault) -> TrainError {
    write_bad_batch(run, step, batch, &fault);
    let (Fault { what, value, .. }, samples) = (fault, sample_ids(batch));
    TrainError::NonFinite { step, what, value, samples }
}

/// `bad_batch.json`: the step that was not made, and its samples. That it cannot be written is said, and hides nothing of the step.
fn write_bad_batch(run: &Run, step: u64, batch: &StepBatch, fault: &Fault) {
    let (what, value, samples) = (fault.what, fault.value.to_string(), sample_ids(batch));
    let report = serde_json::json!({ "step": step, "what": what, "value": value, "samples": samples });
    let path = run.run_dir.join("bad_batch.json");
    if let Err(error) = checkpoint::write_atomically(&path, format!("{report:#}").as_bytes()) {
        tracing::error!("`{}` could not be written: {error}", path.display());
    }
}

/// Learning rate and decay of each trained part for the update after `step` steps.
fn rates(config: &RunConfig, total_steps: u64, step: u64) -> BTreeMap<Part, PartRates> {
    let factor = Schedule::new(&config.schedule, total_steps).factor(step);
    let mut rates = BTreeMap::new();
    for part in Part::ALL {
        let settings = part_config(config, part);
        if let Some(lr) = settings.tuning.lr() {
            let weight_decay = config.train.weight_decay_of(settings);
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

/// One report for each of the held-out data. What cannot be used of them is recorded.
fn evaluate(
    (run, objective): (&Run, &Objective),
    progress: &Progress,
    quarantine: &mut Quarantine,
    watch: &mut dyn Watch,
) -> Result<Vec<EvalReport>, TrainError> {
    let step = progress.state.step;
    let mut watched = watch.measure(run, &progress.model)?;
    let reports = run.held_out.iter().map(|HeldOut { name, data }| {
        let mut values = std::mem::take(&mut watched);
        let found = objective.evaluate(run, progress, data)?;
        quarantine.record(&found.left_out)?;
        values.extend(found.values);
        Ok(EvalReport { step, name: name.clone(), values, skipped: found.left_out.len() as u64 })
    });
    reports.collect()
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
pub const FINISHED_FILE: &str = "finished";

/// Writes down that all steps were made.
pub fn mark_finished(run_dir: &Path, step: u64) -> std::io::Result<()> {
    crate::checkpoint::write_atomically(&run_dir.join(FINISHED_FILE), step.to_string().as_bytes())
}
