//! Both answers of each pair, as if they had been judged by themselves.

use std::sync::Arc;

use burn_dataset::Dataset;

use super::{ShardProblem, Source};
use crate::prepare::skip;
use crate::sample::{Feedback, RawSample, SampleId, SourceError};

/// The better answers of a source of pairs, which are wanted, and behind them the worse ones, which are not
/// (`unpair_preference_dataset` of TRL).
pub struct SplitPairs {
    inner: Arc<dyn Source>,
    fingerprint: String,
}

impl SplitPairs {
    /// Twice as many samples as `inner`.
    pub fn new(inner: Arc<dyn Source>) -> Self {
        let fingerprint = format!("{}:split", inner.fingerprint());
        Self { inner, fingerprint }
    }

    /// The pair of an answer, and whether it is the better one.
    fn place(&self, index: usize) -> (usize, bool) {
        let pairs = self.inner.len();
        if index < pairs { (index, true) } else { (index - pairs, false) }
    }
}

impl Dataset<RawSample, SourceError> for SplitPairs {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let (pair, is_better) = self.place(index);
        let (sample, id) = (self.inner.get(pair)?, self.id(index));
        let Some(Feedback::Rejected(worse)) = sample.feedback else {
            return Err(SourceError(skip(&id, "no_pair", "one answer, where pairs are split")));
        };
        let conversation = if is_better { sample.conversation } else { worse };
        Ok(RawSample { id, conversation, feedback: Some(Feedback::Wanted(is_better)), ..sample })
    }

    fn len(&self) -> usize {
        2 * self.inner.len()
    }
}

impl Source for SplitPairs {
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
