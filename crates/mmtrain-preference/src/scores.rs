//! Pairs whose numbers were looked at: everything that the losses read is there and finite.

use crate::error::Place;
use crate::{AnswerLogps, PairLogps, Preference, PreferenceError, PreferenceLoss};

/// One answer, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    pub(crate) policy: f64,
    /// Zero where no loss reads it.
    pub(crate) reference: f64,
    pub(crate) tokens: f64,
}

/// A pair, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scores {
    pub(crate) chosen: Score,
    pub(crate) rejected: Score,
    pub(crate) ablated: Option<Score>,
}

impl Scores {
    /// The pairs as the objective reads them.
    pub(crate) fn read(objective: &Preference, pairs: &[PairLogps]) -> Result<Vec<Self>, PreferenceError> {
        pairs.iter().enumerate().map(|(index, pair)| Self::of(objective, index, pair)).collect()
    }

    fn of(objective: &Preference, index: usize, pair: &PairLogps) -> Result<Self, PreferenceError> {
        let place = Place::Pair(index);
        let comparing = objective.losses().find(|loss| loss.needs_reference());
        let read = |side, answer| Score::read(place, side, answer, comparing);
        let ablated = pair.ablated.as_ref().map(|answer| read("ablated", answer)).transpose()?;
        if let Some(loss) = objective.losses().find(|loss| loss.needs_ablated())
            && ablated.is_none()
        {
            return Err(PreferenceError::NoAblated { place, loss: loss.name() });
        }
        Ok(Self { chosen: read("chosen", &pair.chosen)?, rejected: read("rejected", &pair.rejected)?, ablated })
    }
}

impl Score {
    /// The answer, if all that is read is there and finite; `comparing` is a loss that reads the reference.
    pub(crate) fn read(
        place: Place,
        side: &'static str,
        answer: &AnswerLogps,
        comparing: Option<PreferenceLoss>,
    ) -> Result<Self, PreferenceError> {
        let reference = match (answer.reference, comparing) {
            (Some(reference), Some(_)) => reference,
            (None, Some(loss)) => return Err(PreferenceError::NoReference { place, side, loss: loss.name() }),
            (_, None) => 0.0,
        };
        finite(place, || format!("{side} policy log-probability"), answer.policy)?;
        finite(place, || format!("{side} reference log-probability"), reference)?;
        finite(place, || format!("{side} token count"), answer.tokens)?;
        if answer.tokens <= 0.0 {
            return Err(PreferenceError::NoTokens { place, side, tokens: answer.tokens });
        }
        Ok(Self { policy: answer.policy, reference, tokens: answer.tokens })
    }

    /// Policy less reference.
    pub(crate) fn ratio(&self) -> f64 {
        self.policy - self.reference
    }

    /// Policy less reference, per token.
    pub(crate) fn mean_ratio(&self) -> f64 {
        self.ratio() / self.tokens
    }

    /// Log-probability of the policy, per token.
    pub(crate) fn mean_policy(&self) -> f64 {
        self.policy / self.tokens
    }
}

/// An error that names the number unless it is finite.
pub(crate) fn finite(place: Place, what: impl FnOnce() -> String, value: f64) -> Result<(), PreferenceError> {
    if value.is_finite() { Ok(()) } else { Err(PreferenceError::NotFinite { place, what: what(), value }) }
}
