//! Why there is no score.

/// What was handed in cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// No sample at all.
    #[error("no sample to score")]
    NoSamples,

    /// A sample with nothing to compare its answer with.
    #[error("sample {sample} has no reference")]
    NoReferences {
        /// Its index.
        sample: usize,
    },

    /// VQA's soft accuracy needs answers of several people.
    #[error("sample {sample} has {found} reference answers, the soft accuracy of VQA needs at least {needed}")]
    FewAnswers {
        /// Its index.
        sample: usize,
        /// Its answers.
        found: usize,
        /// How many there have to be.
        needed: usize,
    },

    /// A true box without area, or with a coordinate that is no number.
    #[error("true box {index} of sample {sample} has no area: `{coordinates}`")]
    EmptyBox {
        /// Index of the sample.
        sample: usize,
        /// Index of the box in it.
        index: usize,
        /// `[x1, y1, x2, y2]`, written out.
        coordinates: String,
    },
}

impl ScoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::FewAnswers { .. } => Some("score questions with one right answer by exact match"),
            Self::EmptyBox { .. } => Some("boxes are `[x1, y1, x2, y2]` with x1 < x2 and y1 < y2"),
            Self::NoSamples | Self::NoReferences { .. } => None,
        }
    }
}
