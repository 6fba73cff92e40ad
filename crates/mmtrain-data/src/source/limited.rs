//! The first samples of another source.

use std::sync::Arc;

use burn_dataset::Dataset;

use super::{ShardProblem, Source};
use crate::sample::{RawSample, SampleId, SourceError};

/// At most `limit` samples of a source, from its beginning.
pub struct Limited {
    inner: Arc<dyn Source>,
    len: usize,
    fingerprint: String,
}

impl Limited {
    /// Looks at the first `limit` samples of `inner`.
    pub fn new(inner: Arc<dyn Source>, limit: usize) -> Self {
        let len = inner.len().min(limit);
        let fingerprint = format!("{}:{len}", inner.fingerprint());
        Self { inner, len, fingerprint }
    }
}

impl Dataset<RawSample, SourceError> for Limited {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        assert!(index < self.len, "sample {index} of {}", self.len);
        self.inner.get(index)
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl Source for Limited {
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
