//! Which samples an objective can learn from.

use crate::prepare::skip;
use crate::sample::{Feedback, RawSample, Skip};

/// Which samples are prepared; others are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Conversations that nobody judged.
    Answers,
    /// Pairs of a better and a worse answer.
    Pairs,
    /// Answers that are judged by themselves.
    Judged,
    /// All, such as for looking at them.
    #[default]
    Any,
}

impl Wanted {
    pub(crate) fn check(self, raw: &RawSample) -> Result<(), Skip> {
        match (self, &raw.feedback) {
            (Self::Answers, Some(_)) => {
                Err(skip(&raw.id, "judged_answer", "an answer that is judged, of which the objective learns nothing"))
            }
            (Self::Pairs, None) => Err(skip(&raw.id, "no_pair", "one answer, where two are compared")),
            (Self::Pairs, Some(Feedback::Wanted(_) | Feedback::Judged { .. })) => {
                Err(skip(&raw.id, "no_pair", "one answer that is judged by itself, where two are compared"))
            }
            (Self::Judged, None) => Err(skip(&raw.id, "not_judged", "an answer that nobody judged")),
            (Self::Judged, Some(Feedback::Rejected(_))) => {
                Err(skip(&raw.id, "not_judged", "a pair, where answers are judged by themselves"))
            }
            _ => Ok(()),
        }
    }
}
