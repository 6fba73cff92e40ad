//! The running mean of rewards that `bco_pair` compares with (`RunningMoments` of TRL).

use serde::{Deserialize, Serialize};

use crate::Rewards;

/// Mean of all rewards so far, and their number. It is read back from a checkpoint to the bit.
///
/// TRL counts every micro-batch once. Here every reward counts once, which is the same for micro-batches of the same size
/// and does not depend on how a step is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningDelta {
    #[serde(with = "bits")]
    mean: f64,
    rewards: u64,
}

impl RunningDelta {
    /// What goes into [`crate::Step`]; zero before the first reward.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The mean with the rewards of both answers of these pairs as well.
    #[must_use]
    pub fn observe(self, rewards: &[Rewards]) -> Self {
        if rewards.is_empty() {
            return self;
        }
        let (seen, new) = (self.rewards, 2 * rewards.len() as u64);
        let mean = rewards.iter().map(|pair| pair.chosen + pair.rejected).sum::<f64>() / new as f64;
        let share = new as f64 / (seen + new) as f64;
        Self { mean: self.mean + (mean - self.mean) * share, rewards: seen + new }
    }
}

/// A number as its bits in hexadecimal: decimal digits are not read back to the bit by every parser.
mod bits {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:016x}", value.to_bits()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = u64::from_str_radix(&text, 16).map(f64::from_bits).map_err(D::Error::custom)?;
        if value.is_finite() { Ok(value) } else { Err(D::Error::custom("running mean is not finite")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewards(chosen: f64, rejected: f64) -> Rewards {
        Rewards { chosen, rejected, ablated: None }
    }

    #[test]
    fn the_mean_is_over_all_rewards_however_they_come() {
        let all = [rewards(1.0, -2.0), rewards(0.5, 0.25), rewards(-4.0, 3.0)];
        let at_once = RunningDelta::default().observe(&all);
        let cut = RunningDelta::default().observe(&all[..1]).observe(&[]).observe(&all[1..]);
        assert!((at_once.mean() - -1.25 / 6.0).abs() < 1e-15);
        assert!((cut.mean() - at_once.mean()).abs() < 1e-15);
        assert_eq!(cut.rewards, 6);
    }

    #[test]
    fn a_checkpoint_gives_the_same_bits() {
        let mut running = RunningDelta::default();
        for step in 0..1000 {
            running = running.observe(&[rewards((f64::from(step) * 0.7).sin(), (f64::from(step) * 1.3).cos())]);
            let text = serde_json::to_string(&running).expect("plain data");
            let read: RunningDelta = serde_json::from_str(&text).expect("what was written");
            assert_eq!(read.mean.to_bits(), running.mean.to_bits(), "{text}");
            assert_eq!(read, running);
        }
    }

    #[test]
    fn a_damaged_state_is_refused() {
        for text in [r#"{"mean":"zz","rewards":1}"#, r#"{"mean":"7ff8000000000000","rewards":1}"#, r#"{"mean":"0"}"#] {
            assert!(serde_json::from_str::<RunningDelta>(text).is_err(), "{text}");
        }
    }
}
