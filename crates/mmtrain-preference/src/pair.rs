//! What goes in: pairs of answers as policy and reference score them, and the totals of a step.

/// One answer as the two models score it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerLogps {
    /// Log-probability under the model in training: the sum over its supervised tokens.
    pub policy: f64,
    /// The same under the reference model, if there is one.
    pub reference: Option<f64>,
    /// How many supervised tokens it has; of a weighted sum, [`crate::TokenWeights::tokens`].
    pub tokens: f64,
}

/// Two answers to the same prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairLogps {
    /// The better one.
    pub chosen: AnswerLogps,
    /// The worse one.
    pub rejected: AnswerLogps,
    /// The better one behind a picture that was cropped, noised or masked; for mDPO.
    pub ablated: Option<AnswerLogps>,
}

/// What a loss has to know about the whole step, so that it does not depend on how the step is cut into micro-batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Pairs of all micro-batches and ranks.
    pub pairs: usize,
    /// Supervised tokens of all their chosen answers; read by `sft`.
    pub chosen_tokens: f64,
    /// What `bco_pair` compares rewards with: [`crate::RunningDelta::mean`].
    pub delta: f64,
    /// Estimate of the KL divergence for `kto`: [`crate::kl_estimate`].
    pub kl: f64,
}

impl Step {
    /// A step that consists of these pairs alone, with `delta` and `kl` zero.
    pub fn of(pairs: &[PairLogps]) -> Self {
        let chosen_tokens = pairs.iter().map(|pair| pair.chosen.tokens).sum();
        Self { pairs: pairs.len(), chosen_tokens, delta: 0.0, kl: 0.0 }
    }
}
