//! Preference alignment: log-probabilities of answers, and what is learned of them.
//!
//! A pair is one row, both answers behind one prompt. Its log-probabilities are read to the host, where
//! [`mmtrain_preference`] makes a loss and its slopes of them; the slopes seed the backward pass
//! ([`forward_weigh_backward`](crate::driver::forward_weigh_backward)). The reference model is asked once for each pair,
//! before the first step; its answers stand in a [`ReferenceTable`].
//!
//! ```text
//! HostBatch ─ forward ─ [token] ─ by_answer ─ Counted::logp ─▶ AnswerLogps ─ Comparison::weigh ─▶ loss, slope of each token
//!                                    ReferenceTable::get ──────────┘
//! ```

mod answers;
mod comparison;
mod objective;
mod reference;
mod score;

pub use answers::Dense;
pub use comparison::Comparison;
pub use objective::objective_of;
pub use reference::{Asked, Covered, ReferenceTable, fill_reference};
pub use score::{PairScores, StepPairs, answer_logps, evaluate_pairs, step_pairs};
