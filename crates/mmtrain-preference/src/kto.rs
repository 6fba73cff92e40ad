//! KTO: single answers, each marked as desirable or not (`KTOTrainer` of TRL).

use crate::curve;
use crate::error::Place;
use crate::scores::Score;
use crate::validate::{fits, within};
use crate::{AnswerLogps, Metrics, PreferenceError, PreferenceLoss};

/// Parameters of KTO.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kto {
    /// How strongly the policy is held to the reference.
    pub beta: f64,
    /// Factor of desirable answers.
    pub desirable_weight: f64,
    /// Factor of undesirable answers.
    pub undesirable_weight: f64,
}

/// What somebody said about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More of this.
    Desirable,
    /// Less of this.
    Undesirable,
}

/// An answer and what was said about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feedback {
    /// Log-probabilities.
    pub answer: AnswerLogps,
    /// What was said.
    pub verdict: Verdict,
}

/// The losses of some answers of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct KtoOutcome {
    /// The loss of each answer.
    pub losses: Vec<f64>,
    /// Their part of the step's loss: their sum over the answers of the step.
    pub loss: f64,
    /// d(loss)/d(log-probability under the policy) of each answer.
    pub gradients: Vec<f64>,
    /// `beta` (policy - reference) of each answer.
    pub rewards: Vec<f64>,
    /// What to report.
    pub metrics: Metrics,
}

impl Kto {
    /// The losses of some of the `answers` of a step, with an estimate of the KL divergence ([`kl_estimate`]).
    pub fn evaluate(&self, feedback: &[Feedback], answers: usize, kl: f64) -> Result<KtoOutcome, PreferenceError> {
        self.validate()?;
        fits("answers", answers as f64, feedback.len() as f64)?;
        within(kl.is_finite(), || "`kl`".into(), kl, "a finite number")?;
        let mut outcome = KtoOutcome::empty(feedback.len());
        outcome.metrics.add("kl", kl, 1.0);
        for (index, given) in feedback.iter().enumerate() {
            let score = read(index, &given.answer)?;
            let (reward, weight) = (self.beta * score.ratio(), self.weight(given.verdict));
            let curve = match given.verdict {
                Verdict::Desirable => curve::falling(reward - self.beta * kl),
                Verdict::Undesirable => curve::rising(reward - self.beta * kl),
            };
            outcome.losses.push(weight * curve.value);
            outcome.gradients.push(weight * self.beta * curve.slope / answers as f64);
            outcome.rewards.push(reward);
            report(&mut outcome.metrics, given.verdict, reward, score.policy);
        }
        outcome.loss = outcome.losses.iter().sum::<f64>() / answers as f64;
        Ok(outcome)
    }

    fn weight(&self, verdict: Verdict) -> f64 {
        match verdict {
            Verdict::Desirable => self.desirable_weight,
            Verdict::Undesirable => self.undesirable_weight,
        }
    }
}

impl KtoOutcome {
    fn empty(answers: usize) -> Self {
        let numbers = || Vec::with_capacity(answers);
        let (losses, gradients, rewards) = (numbers(), numbers(), numbers());
        Self { losses, loss: 0.0, gradients, rewards, metrics: Metrics::default() }
    }
}

fn report(metrics: &mut Metrics, verdict: Verdict, reward: f64, logp: f64) {
    let (rewards, logps) = match verdict {
        Verdict::Desirable => ("rewards/chosen", "logps/chosen"),
        Verdict::Undesirable => ("rewards/rejected", "logps/rejected"),
    };
    metrics.add(rewards, reward, 1.0);
    metrics.add(logps, logp, 1.0);
}

/// How far the policy is from the reference: the mean log-ratio of answers behind prompts that they do not belong to, at
/// least 0.
pub fn kl_estimate(mismatched: &[AnswerLogps]) -> Result<f64, PreferenceError> {
    let mut sum = 0.0;
    for (index, answer) in mismatched.iter().enumerate() {
        sum += read(index, answer)?.ratio();
    }
    Ok(if mismatched.is_empty() { 0.0 } else { (sum / mismatched.len() as f64).max(0.0) })
}

/// Whose answer is put behind the prompt of an answer for [`kl_estimate`]: that of the one before, in a circle.
pub fn mismatched(prompt: usize, answers: usize) -> usize {
    (prompt + answers).saturating_sub(1) % answers.max(1)
}

fn read(index: usize, answer: &AnswerLogps) -> Result<Score, PreferenceError> {
    let loss = PreferenceLoss::Kto { desirable_weight: 1.0, undesirable_weight: 1.0 };
    Score::read(Place::Answer(index), "given", answer, Some(loss))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(policy: f64, reference: f64) -> AnswerLogps {
        AnswerLogps { policy, reference: Some(reference), tokens: 4.0 }
    }

    #[test]
    fn every_prompt_gets_the_answer_of_the_one_before() {
        assert_eq!((0..4).map(|prompt| mismatched(prompt, 4)).collect::<Vec<_>>(), [3, 0, 1, 2]);
        assert_eq!(mismatched(0, 0), 0);
    }

    #[test]
    fn the_estimate_is_a_mean_that_never_falls_below_zero() {
        assert_eq!(kl_estimate(&[answer(-3.0, -6.0), answer(-4.0, -5.0)]), Ok(2.0));
        assert_eq!(kl_estimate(&[answer(-6.0, -3.0)]), Ok(0.0));
        assert_eq!(kl_estimate(&[]), Ok(0.0));
    }

    #[test]
    fn a_number_that_is_none_names_its_answer() {
        let kto = Kto { beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.0 };
        let given = |policy| Feedback { answer: answer(policy, -2.0), verdict: Verdict::Undesirable };
        let error = kto.evaluate(&[given(-1.0), given(f64::NAN)], 2, 0.0).expect_err("to be refused");
        assert_eq!(error.to_string(), "answer 1: the given policy log-probability is NaN");
    }

    #[test]
    fn a_step_has_the_same_loss_however_it_is_cut() {
        let kto = Kto { beta: 0.1, desirable_weight: 1.3, undesirable_weight: 0.7 };
        let given = |policy, verdict| Feedback { answer: answer(policy, -20.0), verdict };
        let all =
            [given(-1.0, Verdict::Desirable), given(-30.0, Verdict::Undesirable), given(-9.0, Verdict::Desirable)];
        let whole = kto.evaluate(&all, 3, 0.5).expect("valid input");
        let parts = [&all[..1], &all[1..]].map(|part| kto.evaluate(part, 3, 0.5).expect("valid input"));
        assert!((parts[0].loss + parts[1].loss - whole.loss).abs() < 1e-15);
        assert_eq!([&parts[0].gradients[..], &parts[1].gradients].concat(), whole.gradients);
    }
}
