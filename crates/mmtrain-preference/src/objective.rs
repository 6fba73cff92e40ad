//! A weighted sum of losses, and its evaluation.

use crate::error::Place;
use crate::ranked::{self, Ranking};
use crate::scores::{Score, Scores, finite};
use crate::term::{self, Term};
use crate::{BcoDelta, Metrics, Outcome, PairLogps, PreferenceError, PreferenceLoss, Rewards, RunningDelta, Step};

/// What is learned from pairs: a weighted sum of losses with one `beta`.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// How strongly the policy is held to the reference; the larger, the closer.
    pub beta: f64,
    /// The losses.
    pub terms: Vec<Weighted>,
}

/// A loss and its weight in the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// The loss.
    pub loss: PreferenceLoss,
    /// Its factor, at least 0.
    pub weight: f64,
}

impl Preference {
    /// One loss.
    pub fn single(beta: f64, loss: PreferenceLoss) -> Self {
        Self { beta, terms: vec![Weighted { loss, weight: 1.0 }] }
    }

    /// The same with one more loss.
    #[must_use]
    pub fn with(mut self, loss: PreferenceLoss, weight: f64) -> Self {
        self.terms.push(Weighted { loss, weight });
        self
    }

    /// InternVL's mixed preference optimization: 0.8 `sigmoid` + 0.2 `bco_pair` + 1.0 `sft`.
    pub fn mpo(beta: f64) -> Self {
        let sigmoid = Weighted { loss: PreferenceLoss::Sigmoid { label_smoothing: 0.0 }, weight: 0.8 };
        let bco = PreferenceLoss::BcoPair { delta: BcoDelta::Running };
        Self { beta, terms: vec![sigmoid] }.with(bco, 0.2).with(PreferenceLoss::Sft, 1.0)
    }

    /// DPO with `alpha` times the negative log-likelihood per token of the chosen answers (`rpo_alpha`).
    pub fn rpo(beta: f64, alpha: f64) -> Self {
        Self::single(beta, PreferenceLoss::Sigmoid { label_smoothing: 0.0 }).with(PreferenceLoss::Sft, alpha)
    }

    /// ORPO: the negative log-likelihood and `beta` times the odds-ratio loss (`lambda` in the paper).
    ///
    /// TRL takes the likelihood of the prompt as well; the paper and this take that of the answer.
    pub fn orpo(beta: f64) -> Self {
        Self::single(beta, PreferenceLoss::Orpo).with(PreferenceLoss::Sft, 1.0)
    }

    /// CPO: the loss without a reference and `alpha` times the negative log-likelihood (`cpo_alpha`, 1 in the paper).
    pub fn cpo(beta: f64, alpha: f64) -> Self {
        Self::single(beta, PreferenceLoss::Cpo { label_smoothing: 0.0 }).with(PreferenceLoss::Sft, alpha)
    }

    /// mDPO: the preference, the preference for the true picture, and the anchor.
    pub fn mdpo(beta: f64) -> Self {
        let preference = Self::single(beta, PreferenceLoss::Sigmoid { label_smoothing: 0.0 });
        preference.with(PreferenceLoss::ImageConditional, 1.0).with(PreferenceLoss::Anchor, 1.0)
    }

    /// Losses that have a weight.
    pub fn losses(&self) -> impl Iterator<Item = PreferenceLoss> {
        self.terms.iter().filter(|term| term.weight != 0.0).map(|term| term.loss)
    }

    /// Whether the pairs have to be scored by a reference model.
    pub fn needs_reference(&self) -> bool {
        self.losses().any(PreferenceLoss::needs_reference)
    }

    /// Whether the chosen answers have to be scored behind an ablated picture as well.
    pub fn needs_ablated(&self) -> bool {
        self.losses().any(PreferenceLoss::needs_ablated)
    }

    /// Whether losses depend on which pairs are evaluated together. Where they do, all pairs of a step in one call keep
    /// the step from depending on how it is cut.
    pub fn ranks_pairs(&self) -> bool {
        self.losses().any(PreferenceLoss::ranks_pairs)
    }

    /// The losses of some pairs of a step, their gradients, and what to report.
    pub fn evaluate(&self, pairs: &[PairLogps], step: &Step) -> Result<Outcome, PreferenceError> {
        self.validate()?;
        let scores = Scores::read(self, pairs)?;
        step.validate(pairs)?;
        let terms = self.sum(&scores, step);
        for (index, term) in terms.iter().enumerate() {
            finite(Place::Pair(index), || "loss".into(), term.loss)?;
        }
        let rewards: Vec<Rewards> = scores.iter().map(|pair| self.rewards(pair)).collect();
        let metrics = self.metrics(&scores, &rewards);
        let part = |term: Term| {
            let mut scaled = Term::default();
            scaled.add(1.0 / step.pairs as f64, term);
            scaled.gradient
        };
        Ok(Outcome {
            losses: terms.iter().map(|term| term.loss).collect(),
            loss: terms.iter().map(|term| term.loss).sum::<f64>() / step.pairs as f64,
            gradients: terms.iter().copied().map(part).collect(),
            rewards,
            metrics,
        })
    }

    /// The running mean of rewards with those of these pairs, which TRL takes before it computes their losses.
    pub fn observe(&self, running: RunningDelta, pairs: &[PairLogps]) -> Result<RunningDelta, PreferenceError> {
        let rewards = Scores::read(self, pairs)?.iter().map(|pair| self.rewards(pair)).collect::<Vec<_>>();
        Ok(running.observe(&rewards))
    }

    /// The weighted sum of the losses of each pair.
    fn sum(&self, pairs: &[Scores], step: &Step) -> Vec<Term> {
        let mut sums = vec![Term::default(); pairs.len()];
        for &Weighted { loss, weight } in self.terms.iter().filter(|term| term.weight != 0.0) {
            for (sum, term) in sums.iter_mut().zip(self.terms_of(loss, pairs, step)) {
                sum.add(weight, term);
            }
        }
        sums
    }

    fn terms_of(&self, loss: PreferenceLoss, pairs: &[Scores], step: &Step) -> Vec<Term> {
        match loss {
            PreferenceLoss::Aot { label_smoothing } => {
                ranked::of_pairs(Ranking::Preferences, pairs, self.beta, label_smoothing)
            }
            PreferenceLoss::AotUnpaired { label_smoothing } => {
                ranked::of_pairs(Ranking::Ratios, pairs, self.beta, label_smoothing)
            }
            _ => pairs.iter().map(|pair| term::of_pair(loss, pair, self.beta, step)).collect(),
        }
    }

    /// `beta` times what the losses compare: log-ratios, or without a reference log-probabilities, per token where the
    /// losses read them so.
    fn rewards(&self, pair: &Scores) -> Rewards {
        let reward = |score: &Score| {
            let compared = if self.needs_reference() { score.ratio() } else { self.shown_logp(score) };
            self.beta * compared
        };
        Rewards {
            chosen: reward(&pair.chosen),
            rejected: reward(&pair.rejected),
            ablated: pair.ablated.as_ref().map(reward),
        }
    }

    /// The log-probability as TRL reports it: a sum, but per token for ORPO and `SimPO`.
    fn shown_logp(&self, score: &Score) -> f64 {
        let averaged = |loss| matches!(loss, PreferenceLoss::Orpo | PreferenceLoss::Simpo { .. });
        if self.losses().any(averaged) { score.mean_policy() } else { score.policy }
    }

    fn metrics(&self, pairs: &[Scores], rewards: &[Rewards]) -> Metrics {
        let mut metrics = Metrics::default();
        for (pair, rewards) in pairs.iter().zip(rewards) {
            metrics.add_rewards(rewards);
            metrics.add("logps/chosen", self.shown_logp(&pair.chosen), 1.0);
            metrics.add("logps/rejected", self.shown_logp(&pair.rejected), 1.0);
            if let Some(ablated) = &pair.ablated {
                metrics.add("logps/imageless_chosen", self.shown_logp(ablated), 1.0);
            }
            if self.losses().any(|loss| loss == PreferenceLoss::Sft) {
                metrics.add("nll_loss", -pair.chosen.policy, pair.chosen.tokens);
            }
        }
        metrics
    }
}
