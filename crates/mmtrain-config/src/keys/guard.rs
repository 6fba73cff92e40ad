//! `[train.guard]`: what happens when the numbers of a step went wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done instead of an update with numbers that went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The run ends with code 5; the samples of the step are in `bad_batch.json`.
    #[default]
    Stop,
    /// The step is counted, but nothing is updated.
    Skip,
    /// The run goes back to its newest checkpoint and leaves out all data up to the end of the step.
    Rewind,
}

/// `[train.guard]`: steps whose numbers went wrong never reach the weights; this says what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// A loss or a gradient norm that is NaN or infinite.
    pub non_finite: Remedy,
    /// How often one after another `skip` or `rewind` are a remedy; then the run stops.
    #[schemars(range(min = 1))]
    pub in_a_row: u64,
    /// A loss or gradient norm so many standard deviations above the mean of the last steps is a spike; 0 looks for none.
    #[schemars(range(min = 0.0))]
    pub spike_sigmas: f64,
    /// Steps that mean and deviation are of; the first half of them is only looked at.
    #[schemars(range(min = 8, max = 4096))]
    pub spike_window: usize,
    /// What a spike is met with.
    pub spike: Remedy,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self { non_finite: Remedy::Stop, in_a_row: 3, spike_sigmas: 0.0, spike_window: 128, spike: Remedy::Skip }
    }
}
