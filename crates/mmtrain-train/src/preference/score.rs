//! Pairs of a step: scored, learned, reported.

use mmtrain_data::HostBatch;
use mmtrain_model::params::FlatTensors;
use mmtrain_model::{ModelError, Vlm};
use mmtrain_preference::{Metrics, PairLogps, RunningDelta};

use super::answers::by_answer;
use super::comparison::Weighed;
use super::{Comparison, ReferenceTable};
use crate::driver::{Plan, forward_logps, forward_weigh_backward_into};
use crate::error::TrainError;
use crate::gather::Gathering;
use crate::objective::Supervised;
use crate::ranks::Ranks;

/// What the pairs of a step yield.
#[derive(Debug, Default)]
pub struct StepPairs {
    /// Gradients of the step's mean loss by parameter name.
    pub gradients: FlatTensors,
    /// What was found of the pairs.
    pub scores: PairScores,
}

/// What was found of some pairs, or single answers, rank by rank.
#[derive(Debug, Default, Clone)]
pub struct PairScores {
    /// How many there are.
    pub count: usize,
    /// Their part of the step's mean loss.
    pub loss: f64,
    /// Rewards and log-probabilities under the names of TRL.
    pub metrics: Metrics,
    /// How the models score pairs.
    pub pairs: Vec<PairLogps>,
    /// By how much the better answer is ahead in reward, of those that have media: the sum, and how many they are.
    pub ahead_with_media: (f64, usize),
}

impl PairScores {
    fn add(&mut self, batch: &HostBatch, weighed: Weighed) {
        self.count += batch.forks.len();
        self.loss += weighed.loss;
        self.metrics.merge(&weighed.metrics);
        self.pairs.extend(weighed.pairs);
        for (fork, margin) in batch.forks.iter().zip(weighed.margins) {
            if batch.media.iter().any(|medium| medium.row == fork.row) {
                self.ahead_with_media.0 += margin;
                self.ahead_with_media.1 += 1;
            }
        }
    }

    /// With those of others behind them.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.loss += other.loss;
        self.metrics.merge(&other.metrics);
        self.pairs.extend(other.pairs);
        self.ahead_with_media.0 += other.ahead_with_media.0;
        self.ahead_with_media.1 += other.ahead_with_media.1;
    }

    /// The mean margin of those that have media, if there are any.
    pub fn margin_with_media(&self) -> Option<f64> {
        let (sum, count) = self.ahead_with_media;
        (count > 0).then(|| sum / count as f64)
    }
}

/// Forward and backward over all pairs of a step. `running` is the mean of the rewards before it, which `bco_pair` reads.
///
/// # Errors
///
/// [`TrainError`] for media that the model does not take, or scores that are no numbers.
pub fn step_pairs(
    ranks: &Ranks,
    model: &Vlm,
    micro_batches: &[HostBatch],
    plan: &Plan,
    (comparison, reference, running): (&Comparison, &ReferenceTable, RunningDelta),
) -> Result<StepPairs, TrainError> {
    let counted = micro_batches.iter().map(|batch| comparison.counted(batch)).collect::<Result<Vec<_>, _>>()?;
    let step = Comparison::totals(&counted, running);
    let run = |number: usize, batch: &HostBatch, gathering: &mut Gathering<'_>| {
        let mut scores = PairScores::default();
        let weigh = |rows: &Supervised, logps: &[f64]| {
            let mut weighed = comparison.weigh((batch, &counted[number]), (rows, logps), reference, &step)?;
            let slopes = std::mem::take(&mut weighed.slopes);
            scores.add(batch, weighed);
            Ok::<_, TrainError>(slopes)
        };
        forward_weigh_backward_into(&plan.model_for(model, number), batch, plan, weigh, gathering)?;
        Ok(scores)
    };
    let (ranks, gradients) = ranks.gather(micro_batches, run)?;
    let mut total = StepPairs { gradients, scores: PairScores::default() };
    for of_rank in ranks {
        let mut scores = PairScores::default();
        for of_batch in of_rank {
            scores.merge(of_batch);
        }
        total.scores.merge(scores);
    }
    Ok(total)
}

/// The pairs of a batch without learning; the loss is their sum. `running` is that of [`step_pairs`].
///
/// # Errors
///
/// As of [`step_pairs`].
pub fn evaluate_pairs(
    model: &Vlm,
    batch: &HostBatch,
    plan: &Plan,
    (comparison, reference, running): (&Comparison, &ReferenceTable, RunningDelta),
) -> Result<PairScores, TrainError> {
    let mut scores = PairScores::default();
    if batch.forks.is_empty() {
        return Ok(scores);
    }
    let (rows, logps) = forward_logps(model, batch, plan)?;
    let counted = comparison.counted(batch)?;
    let totals = Comparison::totals(std::slice::from_ref(&counted), running);
    scores.add(batch, comparison.weigh((batch, &counted), (&rows, &logps), reference, &totals)?);
    scores.loss *= totals.step.pairs as f64;
    Ok(scores)
}

/// The log-probabilities of both answers of each pair of a batch, the better one first; nothing is learned.
///
/// # Errors
///
/// [`ModelError`] for media that the model does not take.
pub fn answer_logps(model: &Vlm, batch: &HostBatch, plan: &Plan) -> Result<Vec<[f64; 2]>, ModelError> {
    let (rows, logps) = forward_logps(model, batch, plan)?;
    let sums = by_answer(batch, &rows, &logps).into_iter();
    Ok(sums.map(|[chosen, rejected, _]| [chosen, rejected].map(|tokens| tokens.iter().sum())).collect())
}
