//! The better answers of judged data, as if nobody had judged them.

use std::sync::Arc;

use burn_dataset::Dataset;

use super::{ShardProblem, Source};
use crate::prepare::skip;
use crate::sample::{Feedback, RawSample, SampleId, SourceError};

/// Of each pair the better answer, of single answers those that are wanted.
pub struct BetterAnswers {
    inner: Arc<dyn Source>,
    fingerprint: String,
}

impl BetterAnswers {
    /// Leaves the worse answers of `inner`.
    pub fn new(inner: Arc<dyn Source>) -> Self {
        let fingerprint = format!("{}:better", inner.fingerprint());
        Self { inner, fingerprint }
    }
}

impl Dataset<RawSample, SourceError> for BetterAnswers {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let sample = self.inner.get(index)?;
        match sample.feedback {
            Some(Feedback::Wanted(false)) => {
                Err(SourceError(skip(&sample.id, "unwanted_answer", "the answer is judged as not wanted")))
            }
            _ => Ok(RawSample { feedback: None, ..sample }),
        }
    }

    fn len(&self) -> usize {
        self.inner.len()
    }
}

impl Source for BetterAnswers {
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
        self.inner.id(index)
    }
}
