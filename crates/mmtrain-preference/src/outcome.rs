//! What comes out: losses, gradients and rewards.

use crate::Metrics;

/// The losses of some pairs of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The loss of each pair. Losses of sorted values stand with the pair whose policy log-probabilities they read.
    pub losses: Vec<f64>,
    /// Their part of the step's loss: the sum over `Step::pairs`. Added up over a step it is the mean over its pairs.
    pub loss: f64,
    /// Gradient of `loss` for each pair.
    pub gradients: Vec<PairGradient>,
    /// Rewards of each pair.
    pub rewards: Vec<Rewards>,
    /// What to report.
    pub metrics: Metrics,
}

/// d(loss)/d(log-probability under the policy) of each answer of a pair.
///
/// A log-probability is a sum over tokens, so this is as well the gradient of each of its tokens; of a weighted sum,
/// [`crate::TokenWeights::per_token`] makes the gradients of the tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PairGradient {
    /// Of the chosen answer.
    pub chosen: f64,
    /// Of the rejected answer.
    pub rejected: f64,
    /// Of the chosen answer behind the ablated picture; zero where no loss reads it.
    pub ablated: f64,
}

/// `beta` times policy less reference; without a reference, `beta` times the policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rewards {
    /// Of the chosen answer.
    pub chosen: f64,
    /// Of the rejected answer.
    pub rejected: f64,
    /// Of the chosen answer behind the ablated picture, where it was scored.
    pub ablated: Option<f64>,
}

impl Rewards {
    /// By how much the chosen answer is ahead.
    pub fn margin(&self) -> f64 {
        self.chosen - self.rejected
    }

    /// By how much the chosen answer is ahead of itself without its picture: what the picture is worth.
    pub fn picture_margin(&self) -> Option<f64> {
        self.ablated.map(|ablated| self.chosen - ablated)
    }
}
