//! Several sources as one, one after the other.

use std::sync::Arc;

use burn_dataset::Dataset;

use super::{ShardProblem, Source};
use crate::sample::{RawSample, SampleId, SourceError};

/// Parts of one dataset that have their media in different places.
pub struct Several {
    name: String,
    parts: Vec<Arc<dyn Source>>,
    /// First sample of each part, and the number of samples at the end.
    starts: Vec<usize>,
    fingerprint: String,
    problems: Vec<ShardProblem>,
}

impl Several {
    /// Puts parts together in their order.
    pub fn new(name: impl Into<String>, parts: Vec<Arc<dyn Source>>) -> Self {
        let mut starts = vec![0];
        starts.extend(parts.iter().scan(0, |sum, part| {
            *sum += part.len();
            Some(*sum)
        }));
        let problems = parts.iter().flat_map(|part| part.problems()).cloned().collect();
        let mut hasher = blake3::Hasher::new();
        for part in &parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.fingerprint().as_bytes());
        }
        Self { name: name.into(), parts, starts, fingerprint: hasher.finalize().to_hex().to_string(), problems }
    }

    fn locate(&self, index: usize) -> (&dyn Source, usize) {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        let part = self.starts.partition_point(|&start| start <= index) - 1;
        (self.parts[part].as_ref(), index - self.starts[part])
    }
}

impl Dataset<RawSample, SourceError> for Several {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let (part, place) = self.locate(index);
        let sample = part.get(place);
        sample
            .map(|sample| RawSample { id: self.id(index), ..sample })
            .map_err(|SourceError(skip)| SourceError(crate::Skip { id: self.id(index), ..skip }))
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }
}

impl Source for Several {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn problems(&self) -> &[ShardProblem] {
        &self.problems
    }

    fn id(&self, index: usize) -> SampleId {
        let (part, place) = self.locate(index);
        SampleId { source: self.name.clone(), index, ..part.id(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Shards;

    #[test]
    fn samples_follow_and_are_named_by_their_own_shard_and_the_common_index() {
        let (one, two) = (Shards::numbered(2, |_| false), Shards::numbered(1, |_| false));
        let both = Several::new("both", vec![one.open(), two.open()]);
        assert_eq!(both.len(), 6);
        assert_eq!((both.id(4).index, both.id(4).to_string()), (4, "both/t-train-0.tar/000".to_owned()));
        assert_eq!(both.get(5).expect("a sample").id, both.id(5));
        let swapped = Several::new("both", vec![two.open(), one.open()]);
        assert_ne!(both.fingerprint(), swapped.fingerprint());
    }
}
