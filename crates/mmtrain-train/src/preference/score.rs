//! Pairs of a step: scored, learned, reported.

use mmtrain_data::{HostBatch, HostFork};
use mmtrain_model::params::FlatTensors;
use mmtrain_model::{ModelError, Vlm};
use mmtrain_preference::{AnswerLogps, Metrics, Outcome, PairGradient, PairLogps, Preference, Step};
use mmtrain_text::IGNORE_INDEX;

use super::ReferenceTable;
use crate::driver::{Plan, forward_logps, forward_weigh_backward};
use crate::error::TrainError;
use crate::objective::Supervised;
use crate::ranks::{Ranks, add_all};

/// What the pairs of a step yield.
#[derive(Debug, Default)]
pub struct StepPairs {
    /// Gradients of the step's mean loss by parameter name.
    pub gradients: FlatTensors,
    /// What was found of the pairs.
    pub scores: PairScores,
}

/// What was found of some pairs, rank by rank.
#[derive(Debug, Default, Clone)]
pub struct PairScores {
    /// Their part of the step's mean loss.
    pub loss: f64,
    /// Rewards and log-probabilities under the names of TRL.
    pub metrics: Metrics,
    /// How the models score them.
    pub pairs: Vec<PairLogps>,
}

impl PairScores {
    fn add(&mut self, pairs: Vec<PairLogps>, outcome: &Outcome) {
        self.loss += outcome.loss;
        self.metrics.merge(&outcome.metrics);
        self.pairs.extend(pairs);
    }

    /// With those of others behind them.
    pub fn merge(&mut self, other: Self) {
        self.loss += other.loss;
        self.metrics.merge(&other.metrics);
        self.pairs.extend(other.pairs);
    }
}

/// The totals of a step, known before anything of it is computed. `delta` is the running mean that `bco_pair` reads.
fn totals(micro_batches: &[HostBatch], delta: f64) -> Step {
    let pairs = micro_batches.iter().map(|batch| batch.forks.len()).sum();
    let chosen = micro_batches.iter().map(|batch| {
        let learned = |fork: &HostFork| learned(batch, fork.row, fork.chosen..fork.rejected);
        batch.forks.iter().map(learned).sum::<usize>()
    });
    Step { pairs, chosen_tokens: chosen.sum::<usize>() as f64, delta, kl: 0.0 }
}

fn learned(batch: &HostBatch, row: usize, columns: std::ops::Range<usize>) -> usize {
    let labels = &batch.labels[row * batch.seq..][columns];
    labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
}

/// Forward and backward over all pairs of a step.
///
/// # Errors
///
/// [`TrainError`] for media that the model does not take, or scores that are no numbers.
pub fn step_pairs(
    ranks: &Ranks,
    model: &Vlm,
    micro_batches: &[HostBatch],
    plan: &Plan,
    (objective, reference, delta): (&Preference, &ReferenceTable, f64),
) -> Result<StepPairs, TrainError> {
    let step = totals(micro_batches, delta);
    let results = ranks.each(micro_batches, |share| {
        let mut total = StepPairs::default();
        for (number, batch) in share {
            let model = plan.model_for(model, number);
            let weigh = |rows: &Supervised, logps: &[f64]| {
                let pairs = pairs_of(batch, rows, logps, objective, reference)?;
                let outcome = objective.evaluate(&pairs, &step)?;
                total.scores.add(pairs, &outcome);
                let slopes = rows.answer.iter().map(|&answer| slope(answer, &outcome.gradients));
                Ok::<_, TrainError>(slopes.collect())
            };
            add_all(&mut total.gradients, forward_weigh_backward(&model, batch, plan, weigh)?);
        }
        Ok::<_, TrainError>(total)
    })?;
    let mut total = StepPairs::default();
    for rank in results {
        add_all(&mut total.gradients, rank.gradients);
        total.scores.merge(rank.scores);
    }
    Ok(total)
}

/// The pairs of a batch without learning; the loss is their sum.
///
/// # Errors
///
/// As of [`step_pairs`].
pub fn evaluate_pairs(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    (objective, reference): (&Preference, &ReferenceTable),
) -> Result<PairScores, TrainError> {
    let mut scores = PairScores::default();
    if batch.forks.is_empty() {
        return Ok(scores);
    }
    let (rows, logps) = forward_logps(model, batch, plan)?;
    let pairs = pairs_of(batch, &rows, &logps, objective, reference)?;
    let step = totals(std::slice::from_ref(batch), 0.0);
    let outcome = objective.evaluate(&pairs, &step)?;
    scores.add(pairs, &outcome);
    scores.loss *= step.pairs as f64;
    Ok(scores)
}

/// The log-probabilities of both answers of each pair of a batch, the better one first; nothing is learned.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn answer_logps(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<Vec<[f64; 2]>, ModelError> {
    let (rows, logps) = forward_logps(model, batch, plan)?;
    Ok(answer_sums(batch, &rows, &logps))
}

/// The gradient of the loss by a token of an answer: that of the answer's sum.
fn slope(answer: Option<u32>, gradients: &[PairGradient]) -> f64 {
    let Some(answer) = answer else { return 0.0 };
    let pair = gradients[answer as usize / 2];
    if answer.is_multiple_of(2) { pair.chosen } else { pair.rejected }
}

/// Sums of both models over the answers of a micro-batch.
fn pairs_of(
    batch: &HostBatch,
    rows: &Supervised,
    logps: &[f64],
    objective: &Preference,
    reference: &ReferenceTable,
) -> Result<Vec<PairLogps>, TrainError> {
    let mut pairs = Vec::with_capacity(batch.forks.len());
    for (fork, [chosen, rejected]) in batch.forks.iter().zip(answer_sums(batch, rows, logps)) {
        let known = if objective.needs_reference() { Some(reference.get(&fork.key)?) } else { None };
        let answer = |side: usize, policy: f64, columns| AnswerLogps {
            policy,
            reference: known.map(|known| known[side]),
            tokens: learned(batch, fork.row, columns) as f64,
        };
        pairs.push(PairLogps {
            chosen: answer(0, chosen, fork.chosen..fork.rejected),
            rejected: answer(1, rejected, fork.rejected..fork.end),
            ablated: None,
        });
    }
    Ok(pairs)
}

/// The log-probability of both answers of each pair.
pub(super) fn answer_sums(batch: &HostBatch, rows: &Supervised, logps: &[f64]) -> Vec<[f64; 2]> {
    let mut sums = vec![[0.0; 2]; batch.forks.len()];
    for (answer, logp) in rows.answer.iter().zip(logps) {
        if let Some(answer) = *answer {
            sums[answer as usize / 2][answer as usize % 2] += logp;
        }
    }
    sums
}
