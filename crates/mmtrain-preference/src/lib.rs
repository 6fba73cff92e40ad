//! Preference objectives as functions of log-probabilities: values, gradients and metrics, in `f64`.
//!
//! ```text
//! forward ─ log-probabilities of a micro-batch, read to the host ─▶ [PairLogps]
//!                                                                      │ Preference::evaluate(pairs, Step)
//! backward ◀─ seeded with the gradient of each answer ─ Outcome { loss, gradients, rewards, metrics }
//! ```
//!
//! - [`loss`]: the losses and their parameters; [`objective`]: a weighted sum of them, as `DPOTrainer` of TRL mixes them.
//! - [`pair`]: what goes in, a pair of answers as two models score them, and the totals of a step.
//! - [`outcome`]: what comes out.
//! - [`metrics`]: means under the names of TRL, over any number of micro-batches.
//! - [`running`]: the running mean of `bco_pair`, the only state there is.
//! - [`kto`]: single answers that are marked desirable or not.
//! - [`matching`] and [`changed`]: which tokens of an answer were rewritten; [`dense`]: sums that weigh these more (RLHF-V).
//!
//! Nothing here knows tensors, tokenizers or files. An evaluation is a pure function of its arguments.

pub mod changed;
mod curve;
pub mod dense;
pub mod error;
pub mod kto;
pub mod loss;
pub mod matching;
pub mod metrics;
pub mod objective;
pub mod outcome;
pub mod pair;
mod ranked;
pub mod running;
mod scores;
mod term;
mod validate;

pub use changed::{Changed, changed_tokens};
pub use dense::{Normalize, TokenWeights};
pub use error::PreferenceError;
pub use kto::{Feedback, Kto, KtoOutcome, Verdict, kl_estimate, mismatched};
pub use loss::{BcoDelta, PreferenceLoss};
pub use metrics::Metrics;
pub use objective::{Preference, Weighted};
pub use outcome::{Outcome, PairGradient, Rewards};
pub use pair::{AnswerLogps, PairLogps, Step};
pub use running::RunningDelta;
