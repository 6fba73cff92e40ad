//! What a step minimizes: the next token, or the better of two answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use mmtrain_config::LossReduction;
use mmtrain_data::{Cursor, Mixture, Preparer, Shown, StepBatch, StepLoader, StepsAhead};
use mmtrain_model::Vlm;
use mmtrain_model::params::FlatTensors;
use mmtrain_preference::RunningDelta;

use super::{Progress, Run, has_dropout, loader_config};
use crate::clip::global_norm;
use crate::driver::Plan;
use crate::error::TrainError;
use crate::evaluate::{Evaluated, TOKEN_ACCURACY, each_held_out, each_prepared, evaluate_tokens};
use crate::objective::{Averaged, Sums};
use crate::preference::{
    Asked, Comparison, Covered, PairScores, ReferenceTable, evaluate_pairs, fill_reference, step_pairs,
};
use crate::quarantine::Quarantine;
use crate::ranks::Ranks;

/// What a run minimizes.
#[derive(Debug)]
pub enum Objective {
    /// Cross-entropy of the next token, averaged in one of several ways.
    NextToken(LossReduction),
    /// The better of two answers.
    Pairs(Pairs),
}

/// How answers are compared.
#[derive(Debug)]
pub struct Pairs {
    /// What is learned of them.
    pub comparison: Comparison,
    /// What the reference model says of the pairs.
    pub reference: ReferenceTable,
}

/// What the micro-batches of a step yield.
pub(super) struct Computed {
    pub(super) loss: f64,
    pub(super) gradients: FlatTensors,
    /// Euclidean norm of the gradients.
    pub(super) norm: f32,
    /// More to report, by name.
    pub(super) values: BTreeMap<String, f64>,
    pub(super) delta: RunningDelta,
}

impl Objective {
    /// Loss and gradients of the step after those that were made.
    ///
    /// Loss and norm are read here, once and together: a device is waited for where the host needs numbers, and nowhere else in a
    /// step. Of pairs, the log-probabilities are read before, since the host weighs them.
    pub(super) fn step(
        &self,
        run: &Run,
        progress: &Progress,
        batch: &StepBatch,
        ranks: &Ranks,
    ) -> Result<Computed, TrainError> {
        let (model, delta, step) = (&progress.model, progress.state.delta, progress.state.step);
        let dropout = has_dropout(&run.config).then_some((run.config.train.seed, step));
        let plan = Plan { dropout, ..run.plan.clone() };
        match self {
            Self::NextToken(reduction) => {
                let divisor = batch.supervised_tokens.max(1) as f64;
                let mean = match reduction {
                    LossReduction::Token => divisor.into(),
                    _ => Averaged::over(&batch.micro_batches, *reduction),
                };
                let result = ranks.step(model, &batch.micro_batches, &plan, mean)?;
                let (loss, hits, norm) = Sums::read_with(result.sums, global_norm(&result.gradients, &model.device()));
                let values = BTreeMap::from([(TOKEN_ACCURACY.to_owned(), hits / divisor)]);
                Ok(Computed { loss: loss / divisor, gradients: result.gradients, norm, values, delta })
            }
            Self::Pairs(Pairs { comparison, reference }) => {
                let how = (comparison, reference, delta);
                let result = step_pairs(ranks, model, &batch.micro_batches, &plan, how)?;
                let delta = comparison.observe(delta, &result.scores.pairs)?;
                let (loss, values) = (result.scores.loss, named(&result.scores));
                let norm = global_norm(&result.gradients, &model.device()).into_scalar::<f32>();
                Ok(Computed { loss, gradients: result.gradients, norm, values, delta })
            }
        }
    }

    /// Results on held-out data.
    pub(super) fn evaluate(
        &self,
        run: &Run,
        progress: &Progress,
        held_out: &Arc<Mixture>,
    ) -> Result<Evaluated, TrainError> {
        match self {
            Self::NextToken(_) => evaluate_tokens(run, &progress.model, held_out),
            Self::Pairs(pairs) => pairs.evaluate(run, progress, held_out),
        }
    }
}

impl Pairs {
    fn evaluate(&self, run: &Run, progress: &Progress, held_out: &Arc<Mixture>) -> Result<Evaluated, TrainError> {
        let Self { comparison, reference } = self;
        let (model, running) = (&progress.model, progress.state.delta);
        let mut scores = PairScores::default();
        let left_out = each_held_out(run, held_out, |batch| {
            scores.merge(evaluate_pairs(model, &batch, &run.plan, (comparison, reference, running))?);
            Ok(())
        })?;
        let mut values = named(&scores);
        if scores.count > 0 {
            values.insert("loss".to_owned(), scores.loss / scores.count as f64);
        }
        // `rewards/accuracies` is beside the reference; this is what the model itself would rather say.
        let preferred = scores.pairs.iter().filter(|pair| pair.chosen.policy > pair.rejected.policy).count();
        if !scores.pairs.is_empty() {
            values.insert("preference_accuracy".to_owned(), preferred as f64 / scores.pairs.len() as f64);
        }
        let gap = self.image_gap(run, (model, running), held_out, &scores)?;
        values.extend(gap.map(|gap| ("rewards/image_gap".to_owned(), gap)));
        Ok(Evaluated { values, left_out })
    }

    /// How much of the margin comes from the media: the mean margin of the pairs that have some, less that of the same pairs
    /// with nothing to be seen or heard there; none where no pair has any.
    fn image_gap(
        &self,
        run: &Run,
        (model, running): (&Vlm, RunningDelta),
        held_out: &Arc<Mixture>,
        whole: &PairScores,
    ) -> Result<Option<f64>, TrainError> {
        let Some(margin) = whole.margin_with_media() else { return Ok(None) };
        let (comparison, mut scores) = (self.comparison.of_two_answers(), PairScores::default());
        each_prepared(run, &blank(run), held_out, |batch| {
            scores.merge(evaluate_pairs(model, &batch, &run.plan, (&comparison, &self.reference, running))?);
            Ok(())
        })?;
        Ok(scores.margin_with_media().map(|blank| margin - blank))
    }
}

/// Prepares samples without anything to be seen or heard in their media.
fn blank(run: &Run) -> Arc<Preparer> {
    Arc::new(Preparer { shown: Shown::Blank, ..run.preparer.as_ref().clone() })
}

fn named(scores: &PairScores) -> BTreeMap<String, f64> {
    scores.metrics.values().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Asks the reference model, which `model` gives, for every pair that a run will see and that is not known yet.
///
/// Returns how many were asked for, none where nothing is compared with a reference. If a stop is asked for, what was found is
/// kept.
///
/// # Errors
///
/// [`TrainError`] for data or media that cannot be used, a table that cannot be written, or a stop that was asked for.
pub fn complete_reference<E: From<TrainError>>(
    run: &Run,
    objective: &mut Objective,
    model: impl FnOnce() -> Result<Vlm, E>,
    mut tell: impl FnMut(u64, usize),
) -> Result<Option<usize>, E> {
    match objective {
        Objective::Pairs(pairs) if pairs.comparison.needs_reference() => fill(run, pairs, model, &mut tell).map(Some),
        _ => Ok(None),
    }
}

/// The steps of the first epoch, or all if there are fewer: later epochs see the same pairs.
fn fill<E: From<TrainError>>(
    run: &Run,
    Pairs { comparison, reference: table }: &mut Pairs,
    model: impl FnOnce() -> Result<Vlm, E>,
    tell: &mut impl FnMut(u64, usize),
) -> Result<usize, E> {
    let asked = comparison.asked();
    let pairs = Covered { steps: run.total_steps, held_out: run.config.train.eval_every > 0 };
    if table.covers(pairs, asked) {
        return Ok(0);
    }
    let model = model()?;
    let asked_for = ask_all(run, (table, asked), (&model, pairs), tell);
    // Also of what was interrupted: the next start asks for the rest.
    table.sync()?;
    Ok(asked_for?)
}

/// Asks for the pairs of the training data, then for those that are held out where the run evaluates.
fn ask_all(
    run: &Run,
    (table, asked): (&mut ReferenceTable, Asked),
    (model, covered): (&Vlm, Covered),
    tell: &mut impl FnMut(u64, usize),
) -> Result<usize, TrainError> {
    let mut pairs = 0;
    let ranks = Ranks::new(run.config.train.ranks)?.until(&run.stop);
    let loader = StepLoader::new(
        run.mixture.clone(),
        run.preparer.clone(),
        loader_config(&run.config, run.workers),
        Cursor::default(),
    );
    let (mut loader, mut quarantine) = (StepsAhead::of(loader?)?, Quarantine::open(&run.run_dir)?);
    for step in 1..=run.total_steps {
        let batch = quarantine.next_step(&mut loader)?;
        pairs += fill_reference((table, asked), model, &batch.micro_batches, &run.plan, &ranks)?;
        tell(step, pairs);
        if batch.cursor_after.epoch > 0 {
            break;
        }
    }
    let blank = blank(run);
    for held_out in run.held_out.iter().filter(|_| covered.held_out) {
        let mut ask = |batch, asked| {
            pairs += fill_reference((table, asked), model, &[batch], &run.plan, &ranks)?;
            Ok(())
        };
        each_held_out(run, &held_out.data, |batch| ask(batch, asked))?;
        let asked = Asked { ablated: false, ..asked };
        each_prepared(run, &blank, &held_out.data, |batch| ask(batch, asked))?;
    }
    quarantine.sync()?;
    table.cover(covered, asked)?;
    Ok(pairs)
}
