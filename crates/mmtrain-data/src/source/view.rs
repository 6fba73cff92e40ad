//! Another source as it is wanted: some of its samples, or its samples in another form.

use std::sync::Arc;

use burn_dataset::Dataset;

use super::{ShardProblem, Source};
use crate::prepare::skip;
use crate::sample::{Feedback, RawSample, SampleId, SourceError};

/// A sample in another form; `part` says which of the samples that are made of it, from 0.
type Form = fn(part: usize, RawSample) -> Result<RawSample, SourceError>;

/// A source seen through a form.
pub struct View {
    inner: Arc<dyn Source>,
    /// Samples of `inner` that are seen, from its beginning.
    seen: usize,
    /// Samples that are made of each. Those of the first part stand before those of the second.
    parts: usize,
    form: Form,
    fingerprint: String,
}

impl View {
    /// The first samples, at most `limit`.
    pub fn first(inner: Arc<dyn Source>, limit: usize) -> Self {
        let seen = inner.len().min(limit);
        Self { seen, ..Self::new(inner, &seen.to_string(), 1, |_, sample| Ok(sample)) }
    }

    /// The better answers of judged data, as if nobody had judged them: of each pair the better one, of single answers those
    /// that are wanted.
    pub fn better_answers(inner: Arc<dyn Source>) -> Self {
        Self::new(inner, "better", 1, |_, sample| match sample.feedback {
            Some(Feedback::Wanted(false)) => {
                Err(SourceError(skip(&sample.id, "unwanted_answer", "the answer is judged as not wanted")))
            }
            _ => Ok(RawSample { feedback: None, ..sample }),
        })
    }

    /// Both answers of each pair, as if they had been judged by themselves: the better ones, which are wanted, and behind them
    /// the worse ones, which are not (`unpair_preference_dataset` of TRL).
    pub fn split_pairs(inner: Arc<dyn Source>) -> Self {
        Self::new(inner, "split", 2, |part, sample| {
            let Some(Feedback::Rejected(worse)) = sample.feedback else {
                return Err(SourceError(skip(&sample.id, "no_pair", "one answer, where pairs are split")));
            };
            let conversation = if part == 0 { sample.conversation } else { worse };
            Ok(RawSample { conversation, feedback: Some(Feedback::Wanted(part == 0)), ..sample })
        })
    }

    /// `mark` tells the fingerprint from that of other views.
    pub(crate) fn new(inner: Arc<dyn Source>, mark: &str, parts: usize, form: Form) -> Self {
        let fingerprint = format!("{}:{mark}", inner.fingerprint());
        Self { seen: inner.len(), inner, parts, form, fingerprint }
    }

    /// Which sample of `inner`, and which part of it.
    fn place(&self, index: usize) -> (usize, usize) {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        (index % self.seen, index / self.seen)
    }
}

impl Dataset<RawSample, SourceError> for View {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let (place, part) = self.place(index);
        let sample = self.inner.get(place)?;
        (self.form)(part, RawSample { id: SampleId { index, ..sample.id }, ..sample })
    }

    fn len(&self) -> usize {
        self.seen * self.parts
    }
}

impl Source for View {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn problems(&self) -> &[ShardProblem] {
        self.inner.problems()
    }

    fn id(&self, index: usize) -> SampleId {
        SampleId { index, ..self.inner.id(self.place(index).0) }
    }
}
