//! An answer and what it is compared with.

use crate::ScoreError;

/// An answer of the model with its references: captions of the same picture, or answers of people to the same question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graded<'a> {
    /// What the model said; may be empty.
    pub answer: &'a str,
    /// What people said; at least one.
    pub references: Vec<&'a str>,
}

impl Graded<'_> {
    /// Whether there are samples, each with a reference.
    pub(crate) fn check(samples: &[Self]) -> Result<(), ScoreError> {
        if samples.is_empty() {
            return Err(ScoreError::NoSamples);
        }
        match samples.iter().position(|sample| sample.references.is_empty()) {
            Some(sample) => Err(ScoreError::NoReferences { sample }),
            None => Ok(()),
        }
    }
}

/// The mean; 0 of nothing.
pub(crate) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    ratio(values.sum(), count)
}

/// `sum / count`; 0 where there is nothing.
pub(crate) fn ratio(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}
