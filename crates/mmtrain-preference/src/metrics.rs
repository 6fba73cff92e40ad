//! Means under the names of TRL, that add up over micro-batches and ranks.

use std::collections::BTreeMap;

use crate::Rewards;

/// Sums and what they are divided by.
///
/// | name | mean over pairs of |
/// |---|---|
/// | `rewards/chosen`, `rewards/rejected` | `beta` (policy - reference) |
/// | `rewards/margins` | the difference of the two |
/// | `rewards/accuracies` | 1 where the chosen answer has the larger reward |
/// | `logps/chosen`, `logps/rejected` | the policy's log-probability |
/// | `rewards/imageless_*`, `logps/imageless_chosen` | the same for the ablated picture, as in mDPO's code |
/// | `nll_loss` | negative log-likelihood of the chosen answers, per token |
/// | `kl` | KTO's estimate |
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(BTreeMap<&'static str, Mean>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    sum: f64,
    count: f64,
}

/// Margins: chosen less which other mean.
const MARGINS: [(&str, &str); 2] =
    [("rewards/margins", "rewards/rejected"), ("rewards/imageless_margins", "rewards/imageless_chosen")];

impl Metrics {
    /// Those of another micro-batch as well.
    pub fn merge(&mut self, other: &Self) {
        for (name, mean) in &other.0 {
            self.add(name, mean.sum, mean.count);
        }
    }

    /// The means, by name.
    pub fn values(&self) -> BTreeMap<&'static str, f64> {
        let mut values: BTreeMap<_, _> = self.0.iter().map(|(&name, mean)| (name, mean.sum / mean.count)).collect();
        for (margin, other) in MARGINS {
            if let (Some(chosen), Some(other)) = (values.get("rewards/chosen"), values.get(other)) {
                values.insert(margin, chosen - other);
            }
        }
        values
    }

    pub(crate) fn add(&mut self, name: &'static str, sum: f64, count: f64) {
        let mean = self.0.entry(name).or_default();
        mean.sum += sum;
        mean.count += count;
    }

    pub(crate) fn add_rewards(&mut self, rewards: &Rewards) {
        let won = |margin: f64| f64::from(u8::from(margin > 0.0));
        self.add("rewards/chosen", rewards.chosen, 1.0);
        self.add("rewards/rejected", rewards.rejected, 1.0);
        self.add("rewards/accuracies", won(rewards.margin()), 1.0);
        if let Some((ablated, margin)) = rewards.ablated.zip(rewards.picture_margin()) {
            self.add("rewards/imageless_chosen", ablated, 1.0);
            self.add("rewards/imageless_accuracies", won(margin), 1.0);
        }
    }
}
