//! What is learned of which answers are better, on the log-probabilities of a micro-batch.

use mmtrain_data::{HostBatch, HostFork};
use mmtrain_preference::{
    AnswerLogps, Feedback, Kto, Metrics, PairGradient, PairLogps, Preference, PreferenceError, PreferenceLoss,
    RunningDelta, Step, Verdict, Weighted, kl_estimate,
};

use super::ReferenceTable;
use super::answers::{Counted, Dense, OfPair, by_answer};
use super::reference::Asked;
use crate::error::TrainError;
use crate::objective::{Side, Supervised};

/// How answers are learned from.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// Of two answers to one prompt the better one.
    Pairs {
        /// The losses.
        preference: Preference,
        /// Whether changed tokens count more.
        dense: Option<Dense>,
    },
    /// Answers that are judged by themselves.
    Single(Kto),
}

/// What the pairs, or the single answers, of a micro-batch yield.
#[derive(Debug)]
pub(super) struct Weighed {
    /// Their part of the step's loss.
    pub(super) loss: f64,
    /// What to report.
    pub(super) metrics: Metrics,
    /// Of each, by how much the better answer is ahead in reward; of a single one its reward, of one that is not wanted less it.
    pub(super) margins: Vec<f64>,
    /// As both models score them; nothing of single answers.
    pub(super) pairs: Vec<PairLogps>,
    /// The gradient of the loss by each supervised token.
    pub(super) slopes: Vec<f64>,
}

/// A pair with its tokens.
struct Scored<'a> {
    fork: &'a HostFork,
    counted: &'a [Counted; 2],
    tokens: OfPair<Vec<f64>>,
}

/// How the tokens of each pair of a micro-batch count: of the better answer, and of the worse one.
pub(super) type CountedPairs = Vec<[Counted; 2]>;

impl Comparison {
    /// Whether answers are compared with what a reference says of them.
    pub fn needs_reference(&self) -> bool {
        match self {
            Self::Pairs { preference, .. } => preference.needs_reference(),
            Self::Single(_) => true,
        }
    }

    /// What the reference is asked of each pair.
    pub fn asked(&self) -> Asked {
        let dense = matches!(self, Self::Pairs { dense: Some(_), .. });
        let ablated = matches!(self, Self::Pairs { preference, .. } if preference.needs_ablated());
        Asked { changed: dense, ablated }
    }

    /// The same with the losses that need nothing but the two answers, for pairs that have nothing else. Rewards stay what they
    /// are.
    #[must_use]
    pub(crate) fn of_two_answers(&self) -> Self {
        let Self::Pairs { preference: Preference { beta, terms }, dense } = self else { return self.clone() };
        let mut terms = terms.iter().copied().filter(|term| !term.loss.needs_ablated()).collect::<Vec<_>>();
        let compares = |term: &Weighted| term.weight > 0.0 && term.loss.needs_reference();
        if self.needs_reference() && !terms.iter().any(compares) {
            terms.push(Weighted { loss: PreferenceLoss::Anchor, weight: 1.0 });
        }
        Self::Pairs { preference: Preference { beta: *beta, terms }, dense: *dense }
    }

    /// The running mean of rewards with those of these pairs as well.
    pub fn observe(&self, running: RunningDelta, pairs: &[PairLogps]) -> Result<RunningDelta, PreferenceError> {
        match self {
            Self::Pairs { preference, .. } => preference.observe(running, pairs),
            Self::Single(_) => Ok(running),
        }
    }

    /// How the tokens of the pairs of a micro-batch count.
    pub(super) fn counted(&self, batch: &HostBatch) -> Result<CountedPairs, PreferenceError> {
        batch.forks.iter().map(|fork| Counted::of(batch, fork, self.dense())).collect()
    }

    /// The totals of a step, known before anything of it is computed. `running` is the mean of the rewards before it; what each
    /// micro-batch is compared with comes of that and its own.
    pub(super) fn totals(counted: &[CountedPairs], running: RunningDelta) -> Totals {
        let pairs = || counted.iter().flatten();
        let chosen_tokens = pairs().map(|[chosen, _]| chosen.tokens()).sum();
        let step = Step { pairs: pairs().count(), chosen_tokens, delta: 0.0, kl: 0.0 };
        Totals { step, running }
    }

    /// The losses of a micro-batch of a step, and the slope of each supervised token.
    pub(super) fn weigh(
        &self,
        (batch, counted): (&HostBatch, &CountedPairs),
        (rows, logps): (&Supervised, &[f64]),
        reference: &ReferenceTable,
        totals: &Totals,
    ) -> Result<Weighed, TrainError> {
        let scored = batch.forks.iter().zip(counted).zip(by_answer(batch, rows, logps));
        let scored = scored.map(|((fork, counted), tokens)| Scored { fork, counted, tokens }).collect::<Vec<_>>();
        let (mut weighed, gradients) = match self {
            Self::Pairs { preference, .. } => of_pairs(preference, &scored, (reference, self.asked()), totals)?,
            Self::Single(kto) => of_single(kto, &scored, (reference, self.asked()), &totals.step)?,
        };
        weighed.slopes = slopes(rows, &scored, &gradients);
        Ok(weighed)
    }

    fn dense(&self) -> Option<Dense> {
        match self {
            Self::Pairs { dense, .. } => *dense,
            Self::Single(_) => None,
        }
    }
}

/// What losses have to know of the whole step, and of those before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) step: Step,
    running: RunningDelta,
}

fn of_pairs(
    preference: &Preference,
    scored: &[Scored<'_>],
    (reference, asked): (&ReferenceTable, Asked),
    totals: &Totals,
) -> Result<(Weighed, Vec<PairGradient>), TrainError> {
    let mut pairs = Vec::with_capacity(scored.len());
    for pair in scored {
        let known = preference.needs_reference().then(|| reference.sums(pair.fork, asked)).transpose()?;
        let answer = |side| pair.logps(side, known.map(|known| known[side as usize]));
        pairs.push(PairLogps {
            chosen: answer(Side::Chosen)?,
            rejected: answer(Side::Rejected)?,
            ablated: pair.fork.ablated.filter(|_| asked.ablated).map(|_| answer(Side::Ablated)).transpose()?,
        });
    }
    // As TRL has it, the pairs of a micro-batch are in the mean that they are compared with.
    let delta = preference.observe(totals.running, &pairs)?.mean();
    let outcome = preference.evaluate(&pairs, &Step { delta, ..totals.step })?;
    let margins = outcome.rewards.iter().map(mmtrain_preference::Rewards::margin).collect();
    let weighed = Weighed { loss: outcome.loss, metrics: outcome.metrics, margins, pairs, slopes: Vec::new() };
    Ok((weighed, outcome.gradients))
}

/// The answers to something else give the estimate of how far the policy is from the reference, over the micro-batch as in TRL;
/// nothing is learned of them.
fn of_single(
    kto: &Kto,
    scored: &[Scored<'_>],
    (reference, asked): (&ReferenceTable, Asked),
    step: &Step,
) -> Result<(Weighed, Vec<PairGradient>), TrainError> {
    let (mut given, mut elsewhere) = (Vec::with_capacity(scored.len()), Vec::with_capacity(scored.len()));
    for single in scored {
        let known = reference.sums(single.fork, asked)?;
        let verdict = if single.fork.judged == Some(false) { Verdict::Undesirable } else { Verdict::Desirable };
        given.push(Feedback { answer: single.logps(Side::Chosen, Some(known[0]))?, verdict });
        elsewhere.push(single.logps(Side::Rejected, Some(known[1]))?);
    }
    let outcome = kto.evaluate(&given, step.pairs, kl_estimate(&elsewhere)?)?;
    let signed =
        |(given, reward): (&Feedback, &f64)| if given.verdict == Verdict::Desirable { *reward } else { -reward };
    let margins = given.iter().zip(&outcome.rewards).map(signed).collect();
    let gradients = outcome.gradients.iter().map(|&chosen| PairGradient { chosen, ..PairGradient::default() });
    let gradients = gradients.collect();
    Ok((
        Weighed { loss: outcome.loss, metrics: outcome.metrics, margins, pairs: Vec::new(), slopes: Vec::new() },
        gradients,
    ))
}

impl Scored<'_> {
    /// `known` has what the reference says: the sum over all tokens, and over the changed ones.
    fn logps(&self, side: Side, known: Option<[f64; 2]>) -> Result<AnswerLogps, PreferenceError> {
        let counted = Counted::side(self.counted, side);
        Ok(AnswerLogps {
            policy: counted.logp(&self.tokens[side as usize])?,
            reference: known.map(|[all, changed]| counted.of_sums(all, changed)),
            tokens: counted.tokens(),
        })
    }
}

/// The gradient of the loss by each supervised token; none reaches those that are of no answer.
fn slopes(rows: &Supervised, scored: &[Scored<'_>], gradients: &[PairGradient]) -> Vec<f64> {
    let of_pair = |(pair, gradient): (&Scored<'_>, &PairGradient)| {
        let of = |side: Side, gradient| {
            Counted::side(pair.counted, side).slopes(gradient, pair.tokens[side as usize].len()).into_iter()
        };
        [of(Side::Chosen, gradient.chosen), of(Side::Rejected, gradient.rejected), of(Side::Ablated, gradient.ablated)]
    };
    let mut left = scored.iter().zip(gradients).map(of_pair).collect::<Vec<_>>();
    let next = |answer: &Option<crate::objective::Answer>| {
        answer.and_then(|answer| left[answer.pair][answer.side as usize].next()).unwrap_or(0.0)
    };
    rows.answer.iter().map(next).collect()
}
