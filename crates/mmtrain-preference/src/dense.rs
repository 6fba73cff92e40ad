//! Dense DPO (RLHF-V): log-probabilities that weigh the rewritten tokens more.
//!
//! ```text
//! changed_tokens ─▶ TokenWeights::of ─ logp ─▶ AnswerLogps ─ Preference::evaluate ─▶ gradient of the answer ─ per_token ─▶ of each token
//! ```
//!
//! After `compute_weighted_logp` of `muffin/train/trainers.py` in `github.com/thunlp/Muffin`.

use crate::PreferenceError;
use crate::error::Place;
use crate::scores::finite;
use crate::validate::{above_zero, within};

/// What a weighted sum is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// Nothing: `dpo_use_average = False`, as its script has it.
    Sum,
    /// The sum of the weights, as in the paper: `dpo_use_average = True`.
    Mean,
}

/// Weights of the supervised tokens of one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWeights {
    weights: Vec<f64>,
    /// Of the changed ones.
    weight: f64,
    normalize: Normalize,
}

impl TokenWeights {
    /// One for each token at these places, `weight` for those that were changed: 5 in the paper, 1.1 in the published
    /// script, 3 where that names none.
    ///
    /// - `places`: where the supervised tokens of the answer stand in the lists that [`crate::changed_tokens`] read
    pub fn of(places: &[usize], changed: &[usize], weight: f64, normalize: Normalize) -> Result<Self, PreferenceError> {
        above_zero(|| "weight of changed tokens".into(), weight)?;
        within(!places.is_empty(), || "number of supervised tokens".into(), 0.0, "at least 1")?;
        let one = |place| if changed.binary_search(place).is_ok() { weight } else { 1.0 };
        Ok(Self { weights: places.iter().map(one).collect(), weight, normalize })
    }

    /// The weighted log-probability of an answer.
    ///
    /// - `per_token`: `[places]`, log-probabilities of its supervised tokens
    pub fn logp(&self, per_token: &[f64]) -> Result<f64, PreferenceError> {
        if per_token.len() != self.weights.len() {
            return Err(PreferenceError::Weights { weights: self.weights.len(), tokens: per_token.len() });
        }
        for (index, &logp) in per_token.iter().enumerate() {
            finite(Place::Token(index), || "log-probability".into(), logp)?;
        }
        let sum: f64 = per_token.iter().zip(&self.weights).map(|(logp, weight)| logp * weight).sum();
        Ok(sum / self.divisor())
    }

    /// The weighted log-probability of an answer from the sum over all its tokens and that over the changed ones, which do not
    /// depend on weights.
    pub fn of_sums(&self, all: f64, changed: f64) -> f64 {
        (all + (self.weight - 1.0) * changed) / self.divisor()
    }

    /// What stands for the number of tokens in [`crate::AnswerLogps`].
    pub fn tokens(&self) -> f64 {
        match self.normalize {
            Normalize::Sum => self.weights.iter().sum(),
            Normalize::Mean => 1.0,
        }
    }

    /// Gradient of each token from that of the weighted log-probability.
    pub fn per_token(&self, gradient: f64) -> Vec<f64> {
        let share = gradient / self.divisor();
        self.weights.iter().map(|weight| weight * share).collect()
    }

    fn divisor(&self) -> f64 {
        match self.normalize {
            Normalize::Sum => 1.0,
            Normalize::Mean => self.weights.iter().sum(),
        }
    }
}
