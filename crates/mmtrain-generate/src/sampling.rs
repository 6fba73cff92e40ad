//! The next token from a row of logits, on the host.
//!
//! The order is that of `transformers`: the penalty of what was said already (CTRL, Keskar et al., 2019,
//! arXiv:1909.05858), temperature, then the `top_k` most likely, then of those the smallest set whose
//! probability reaches `top_p` (nucleus sampling, Holtzman et al., 2020, arXiv:1904.09751), then those
//! that have at least a share `min_p` of the most likely one's (Nguyen et al., 2024, arXiv:2407.01082). Each draw has a random stream of its own, keyed by seed, row and position, so
//! that what a prompt gets does not depend on which prompts run beside it.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::GenerateError;

/// How the next token is chosen; greedily by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SamplingConfig {
    /// Divides the logits; 0 always takes the most likely token.
    pub temperature: f32,
    /// Only that many of the most likely tokens are drawn from.
    pub top_k: Option<usize>,
    /// Only the smallest set of tokens with that much probability is drawn from.
    pub top_p: Option<f32>,
    /// Only tokens with that share of the most likely one's probability are drawn from.
    pub min_p: Option<f32>,
    /// Divides the logit of each token that stands in the sequence already, and multiplies it where it is negative.
    pub repetition_penalty: Option<f32>,
    /// Seed of the draws.
    pub seed: u64,
}

impl SamplingConfig {
    /// The most likely token, always.
    pub const GREEDY: Self =
        Self { temperature: 0.0, top_k: None, top_p: None, min_p: None, repetition_penalty: None, seed: 0 };

    /// Rejects settings that mean nothing.
    pub fn check(&self) -> Result<(), GenerateError> {
        let bad = |key, value: String, expected| Err(GenerateError::Sampling { key, value, expected });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return bad("temperature", self.temperature.to_string(), "a number from 0 up");
        }
        if self.top_k == Some(0) {
            return bad("top_k", "0".into(), "at least 1");
        }
        if let Some(top_p) = self.top_p.filter(|top_p| !(*top_p > 0.0 && *top_p <= 1.0)) {
            return bad("top_p", top_p.to_string(), "a number above 0 and up to 1");
        }
        if let Some(min_p) = self.min_p.filter(|min_p| !(*min_p >= 0.0 && *min_p <= 1.0)) {
            return bad("min_p", min_p.to_string(), "a number from 0 to 1");
        }
        match self.repetition_penalty {
            Some(penalty) if !(penalty.is_finite() && penalty > 0.0) => {
                bad("repetition_penalty", penalty.to_string(), "a number above 0")
            }
            _ => Ok(()),
        }
    }

    /// Makes tokens that stand in the sequence already less likely, each once however often it stands there.
    ///
    /// # Shapes
    ///
    /// - `logits`: `[vocab]`; ids behind them are passed by
    pub fn penalize(&self, logits: &mut [f32], seen: &[u32]) {
        let Some(penalty) = self.repetition_penalty else { return };
        let mut ids = seen.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }

    /// Picks the token at `position` of the sequence that is `row` of the request.
    ///
    /// `None` if a logit is not a number, or none is finite. Among equals the lowest id wins.
    ///
    /// # Shapes
    ///
    /// - `logits`: `[vocab]`
    pub fn pick(&self, logits: &[f32], row: usize, position: usize) -> Option<u32> {
        let best = argmax(logits)?;
        if self.temperature == 0.0 {
            return Some(best);
        }
        let candidates = self.candidates(logits, logits[best as usize]);
        let uniform = draw(self.seed, row, position);
        Some(pick_by_weight(&candidates, uniform))
    }

    /// Ids with their weights `exp((logit - max) / temperature)`, those that may be drawn.
    fn candidates(&self, logits: &[f32], max: f32) -> Vec<(u32, f64)> {
        let weight = |logit: f32| (f64::from(logit - max) / f64::from(self.temperature)).exp();
        let mut candidates = logits.iter().zip(0..).map(|(&logit, id)| (id, weight(logit))).collect::<Vec<_>>();
        if let Some(top_k) = self.top_k.filter(|&top_k| top_k < candidates.len()) {
            candidates.select_nth_unstable_by(top_k - 1, by_weight);
            candidates.truncate(top_k);
        }
        if let Some(top_p) = self.top_p {
            candidates.sort_unstable_by(by_weight);
            truncate_to_nucleus(&mut candidates, f64::from(top_p));
        }
        if let Some(min_p) = self.min_p {
            // The most likely one weighs 1.
            candidates.retain(|(_, weight)| *weight >= f64::from(min_p));
        }
        // One order for the draw, whatever selection did.
        candidates.sort_unstable_by_key(|&(id, _)| id);
        candidates
    }
}

/// The largest logit's id; the lowest among equals.
fn argmax(logits: &[f32]) -> Option<u32> {
    if logits.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0..).zip(logits) {
        if best.is_none_or(|(_, max)| logit > max) {
            best = Some((id, logit));
        }
    }
    best.filter(|(_, max)| max.is_finite()).map(|(id, _)| id)
}

/// Heaviest first, then lowest id.
fn by_weight(a: &(u32, f64), b: &(u32, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the shortest prefix that holds a share `top_p` of all weight; never less than one.
fn truncate_to_nucleus(candidates: &mut Vec<(u32, f64)>, top_p: f64) {
    let goal = top_p * candidates.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    let reached = candidates.iter().position(|(_, weight)| {
        sum += weight;
        sum >= goal
    });
    if let Some(last) = reached {
        candidates.truncate(last + 1);
    }
}

/// A number in `[0, 1)`, a pure function of its three keys.
fn draw(seed: u64, row: usize, position: usize) -> f64 {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(row as u64).to_le_bytes());
    key[16..24].copy_from_slice(&(position as u64).to_le_bytes());
    ChaCha8Rng::from_seed(key).random::<f64>()
}

/// The candidate at `uniform` of the summed weight; the last one with any weight catches rounding.
fn pick_by_weight(candidates: &[(u32, f64)], uniform: f64) -> u32 {
    let goal = uniform * candidates.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut sum = 0.0;
    let mut chosen = 0;
    for &(id, weight) in candidates.iter().filter(|(_, weight)| *weight > 0.0) {
        chosen = id;
        sum += weight;
        if sum > goal {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampled(temperature: f32, top_k: Option<usize>, top_p: Option<f32>) -> SamplingConfig {
        SamplingConfig { temperature, top_k, top_p, seed: 3, ..SamplingConfig::GREEDY }
    }

    /// How often each id is drawn over many positions.
    fn counts(config: SamplingConfig, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut counts = vec![0; logits.len()];
        for position in 0..draws {
            counts[config.pick(logits, 0, position).expect("finite") as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_largest_and_of_equals_the_lowest_id() {
        assert_eq!(SamplingConfig::GREEDY.pick(&[-1.0, 3.0, 3.0, 2.0], 0, 0), Some(1));
        assert_eq!(SamplingConfig::GREEDY.pick(&[f32::NEG_INFINITY, -5.0], 0, 0), Some(1));
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_token() {
        for logits in [&[1.0, f32::NAN][..], &[f32::NEG_INFINITY; 2], &[f32::INFINITY, 0.0], &[]] {
            assert_eq!(SamplingConfig::GREEDY.pick(logits, 0, 0), None, "{logits:?}");
            assert_eq!(sampled(1.0, None, None).pick(logits, 0, 0), None, "{logits:?}");
        }
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0, (2.0_f32).ln(), f32::NEG_INFINITY, (5.0_f32).ln()];
        let counts = counts(sampled(1.0, None, None), &logits, 16_000);
        for (count, expected) in counts.iter().zip([2_000.0, 4_000.0, 0.0, 10_000.0]) {
            assert!((*count as f64 - expected).abs() < 200.0, "{counts:?}");
        }
    }

    #[test]
    fn temperature_sharpens_and_flattens() {
        let logits = [0.0, 1.0];
        let share = |temperature| counts(sampled(temperature, None, None), &logits, 4_000)[1] as f64 / 4_000.0;
        for temperature in [0.25, 1.0, 4.0] {
            let expected = 1.0 / (1.0 + f64::exp(-1.0 / f64::from(temperature)));
            assert!((share(temperature) - expected).abs() < 0.03, "{temperature}");
        }
    }

    proptest! {
        #[test]
        fn a_vanishing_temperature_is_greedy(
            logits in proptest::collection::vec(-5.0_f32..5.0, 1..40), row in 0_usize..9, position in 0_usize..9,
        ) {
            let best = SamplingConfig::GREEDY.pick(&logits, row, position).expect("finite");
            // Two that are as good as equal may both be drawn.
            prop_assume!(logits.iter().filter(|&&logit| logits[best as usize] - logit < 1e-4).count() == 1);
            prop_assert_eq!(sampled(1e-6, None, None).pick(&logits, row, position), Some(best));
        }
    }

    #[test]
    fn top_k_and_top_p_leave_the_tail_out() {
        let logits = [1.0_f32, 4.0, 2.0, 3.0].map(f32::ln);
        let drawn = |config| counts(config, &logits, 2_000).iter().map(|&n| n > 0).collect::<Vec<_>>();
        assert_eq!(drawn(sampled(1.0, Some(1), None)), [false, true, false, false]);
        assert_eq!(drawn(sampled(1.0, Some(2), None)), [false, true, false, true]);
        assert_eq!(drawn(sampled(1.0, Some(9), None)), [true; 4]);
        // 0.4, 0.3, 0.2, 0.1: the first two hold 0.7.
        assert_eq!(drawn(sampled(1.0, None, Some(0.65))), [false, true, false, true]);
        assert_eq!(drawn(sampled(1.0, None, Some(0.75))), [false, true, true, true]);
        assert_eq!(drawn(sampled(1.0, None, Some(1e-6))), [false, true, false, false]);
        assert_eq!(drawn(sampled(1.0, Some(2), Some(0.9))), [false, true, false, true]);
    }

    #[test]
    fn min_p_is_measured_at_the_most_likely_one() {
        let logits = [1.0_f32, 4.0, 2.0, 3.0].map(f32::ln);
        let drawn = |min_p| {
            let config = SamplingConfig { min_p: Some(min_p), ..sampled(1.0, None, None) };
            counts(config, &logits, 2_000).iter().map(|&n| n > 0).collect::<Vec<_>>()
        };
        assert_eq!(drawn(0.0), [true; 4]);
        assert_eq!(drawn(0.4), [false, true, true, true]);
        assert_eq!(drawn(0.6), [false, true, false, true]);
        assert_eq!(drawn(1.0), [false, true, false, false]);
    }

    /// `RepetitionPenaltyLogitsProcessor` of `transformers`.
    #[test]
    fn what_was_said_is_penalized_once() {
        let mut logits = [1.0, -2.0, 3.0, 0.5];
        let config = SamplingConfig { repetition_penalty: Some(2.0), ..SamplingConfig::GREEDY };
        config.penalize(&mut logits, &[1, 2, 2, 1, 99]);
        let expected = [1.0_f32, -4.0, 1.5, 0.5].map(f32::to_bits);
        assert_eq!(logits.map(f32::to_bits), expected);
        SamplingConfig::GREEDY.penalize(&mut logits, &[0]);
        assert_eq!(logits.map(f32::to_bits), expected);
    }

    #[test]
    fn equal_weights_at_the_border_keep_the_lowest_ids() {
        let counts = counts(sampled(1.0, Some(2), None), &[0.0; 5], 500);
        assert!(counts[0] > 0 && counts[1] > 0);
        assert_eq!(counts[2..], [0, 0, 0]);
    }

    #[test]
    fn a_draw_depends_on_seed_row_and_position() {
        let all = [draw(1, 0, 0), draw(2, 0, 0), draw(1, 1, 0), draw(1, 0, 1)];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| (a - b).abs() > 1e-9), "{all:?}");
        }
        assert!((draw(1, 2, 3) - draw(1, 2, 3)).abs() < f64::EPSILON);
    }

    #[test]
    fn settings_that_mean_nothing_are_rejected() {
        for bad in [
            sampled(-1.0, None, None),
            sampled(f32::NAN, None, None),
            sampled(1.0, Some(0), None),
            sampled(1.0, None, Some(0.0)),
            sampled(1.0, None, Some(1.5)),
            sampled(1.0, None, Some(f32::NAN)),
            SamplingConfig { min_p: Some(1.1), ..SamplingConfig::GREEDY },
            SamplingConfig { min_p: Some(f32::NAN), ..SamplingConfig::GREEDY },
            SamplingConfig { repetition_penalty: Some(0.0), ..SamplingConfig::GREEDY },
            SamplingConfig { repetition_penalty: Some(f32::INFINITY), ..SamplingConfig::GREEDY },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert!(sampled(0.7, Some(50), Some(1.0)).check().is_ok());
    }
}
