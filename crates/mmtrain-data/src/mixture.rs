//! Several sources as one epoch.
//!
//! An epoch holds `round(weight x n)` samples of a source of n samples: with weight 1 each one once,
//! with 2.5 each one twice and a half of them a third time, with 0.3 a third of them (another choice each
//! epoch). The epoch is the sources one after the other, permuted as a whole.

use std::sync::Arc;

use crate::order::permute;
use crate::source::Source;
use crate::{DataError, ShardProblem};

/// Sources with weights.
pub struct Mixture {
    parts: Vec<Part>,
}

struct Part {
    source: Arc<dyn Source>,
    /// First position of the source in the epoch that is not yet permuted.
    start: u64,
    /// Samples of the source in an epoch.
    share: u64,
}

impl Mixture {
    /// Sources with the number of times that each of their samples comes per epoch.
    pub fn new(sources: Vec<(Arc<dyn Source>, f64)>) -> Result<Self, DataError> {
        let mut parts = Vec::with_capacity(sources.len());
        let mut start = 0;
        for (source, weight) in sources {
            let share = share(source.as_ref(), weight)?;
            parts.push(Part { source, start, share });
            start += share;
        }
        if parts.is_empty() {
            return Err(DataError::NoSamples { name: "mixture of no sources".into(), problems: Vec::new() });
        }
        Ok(Self { parts })
    }

    /// Samples in an epoch; at least 1.
    pub fn epoch_len(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.start + part.share)
    }

    /// Samples in all sources, each counted once.
    pub fn num_samples(&self) -> usize {
        self.parts.iter().map(|part| part.source.len()).sum()
    }

    /// The sources, in order.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<dyn Source>> {
        self.parts.iter().map(|part| &part.source)
    }

    /// What is wrong with the files of all sources.
    pub fn problems(&self) -> Vec<ShardProblem> {
        self.sources().flat_map(|source| source.problems().iter().cloned()).collect()
    }

    /// Changes when the data or the shares change; in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for Part { source, share, .. } in &self.parts {
            hasher.update(source.fingerprint().as_bytes()).update(&share.to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The sample at `position` of `epoch`: the number of its source and the index there. With `seed`, the
    /// epoch is permuted; without, sources and samples come in their own order.
    ///
    /// # Panics
    ///
    /// If `position` is not below [`epoch_len`](Self::epoch_len).
    pub fn place(&self, seed: Option<u64>, epoch: u64, position: u64) -> (usize, usize) {
        let len = self.epoch_len();
        assert!(position < len, "position {position} of {len}");
        let at = seed.map_or(position, |seed| permute(seed, epoch, len, position));
        let number = self.parts.partition_point(|part| part.start <= at) - 1;
        let part = &self.parts[number];
        (number, part.index(at - part.start, seed.map(|seed| (seed ^ number as u64, epoch))))
    }

    /// As [`place`](Self::place), with the source itself.
    pub fn locate(&self, seed: Option<u64>, epoch: u64, position: u64) -> (&Arc<dyn Source>, usize) {
        let (number, index) = self.place(seed, epoch, position);
        (self.source(number), index)
    }

    /// The source of that number.
    ///
    /// # Panics
    ///
    /// If there are not as many.
    pub fn source(&self, number: usize) -> &Arc<dyn Source> {
        &self.parts[number].source
    }
}

impl Part {
    /// Index in the source of the `l`-th sample of its share. Whole passes take every sample; the last,
    /// partial one takes a choice by `key`.
    fn index(&self, l: u64, key: Option<(u64, u64)>) -> usize {
        let n = self.source.len() as u64;
        let (pass, rest) = (l / n, l % n);
        let is_whole = (pass + 1) * n <= self.share;
        match key {
            Some((seed, epoch)) if !is_whole => permute(!seed, epoch, n, rest) as usize,
            _ => rest as usize,
        }
    }
}

fn share(source: &dyn Source, weight: f64) -> Result<u64, DataError> {
    let n = source.len();
    let refuse = |detail: String| DataError::Weight { name: source.name().to_owned(), weight, detail };
    if !(weight.is_finite() && weight > 0.0) {
        return Err(refuse("must be a number above 0".into()));
    }
    let share = (weight * n as f64).round();
    if share < 1.0 {
        return Err(refuse(format!("leaves none of its {n} samples")));
    }
    if share > (1_u64 << 48) as f64 {
        return Err(refuse(format!("repeats its {n} samples too often")));
    }
    Ok(share as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixtures::Shards;

    /// How often each (source, index) comes in an epoch, sources told apart by their length.
    fn counts(mixture: &Mixture, seed: Option<u64>, epoch: u64) -> BTreeMap<(usize, usize), usize> {
        let mut counts = BTreeMap::new();
        for position in 0..mixture.epoch_len() {
            let (source, index) = mixture.locate(seed, epoch, position);
            *counts.entry((source.len(), index)).or_default() += 1;
        }
        counts
    }

    fn mixture(weights: [f64; 2]) -> Mixture {
        let sources = [5, 10].map(|n| Shards::numbered(n, |_| false).open());
        Mixture::new(sources.into_iter().zip(weights).collect()).expect("a mixture")
    }

    #[test]
    fn weight_one_takes_every_sample_once() {
        for seed in [None, Some(3)] {
            let counts = counts(&mixture([1.0, 1.0]), seed, 0);
            assert_eq!(counts.len(), 30);
            assert!(counts.values().all(|&n| n == 1));
        }
    }

    #[test]
    fn weights_repeat_and_choose() {
        let mixture = mixture([2.5, 0.3]);
        assert_eq!((mixture.epoch_len(), mixture.num_samples()), (25 + 6, 30));
        let of = |epoch, n: usize| {
            let counts = counts(&mixture, Some(3), epoch).into_iter();
            counts.filter(move |((len, _), _)| *len == n).map(|((_, index), times)| (index, times)).collect::<Vec<_>>()
        };
        assert_eq!(of(0, 10).iter().filter(|(_, times)| *times == 3).count(), 5);
        assert_eq!(of(0, 10).iter().filter(|(_, times)| *times == 2).count(), 5);
        assert_eq!(of(0, 20).len(), 6);
        assert_ne!(of(0, 20), of(1, 20), "another choice each epoch");
        assert_eq!(of(1, 20), of(1, 20));
    }

    #[test]
    fn the_sources_are_mixed() {
        let mixture = mixture([1.0, 1.0]);
        let first_half: Vec<_> = (0..15).map(|at| mixture.locate(Some(1), 0, at).0.len()).collect();
        assert!(first_half.contains(&10) && first_half.contains(&20), "{first_half:?}");
        assert_eq!(mixture.locate(None, 0, 0).0.len(), 10);
    }

    #[test]
    fn weights_that_mean_nothing_are_refused() {
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.01, 1e300] {
            let source = Shards::numbered(5, |_| false).open();
            let error = Mixture::new(vec![(source, weight)]).err().expect("refused").to_string();
            assert!(error.contains("of source `test`"), "{error}");
        }
        assert!(Mixture::new(vec![]).is_err());
    }

    #[test]
    fn the_fingerprint_follows_the_weights() {
        assert_eq!(mixture([1.0, 1.0]).fingerprint(), mixture([1.0, 1.0]).fingerprint());
        assert_ne!(mixture([1.0, 1.0]).fingerprint(), mixture([1.0, 2.0]).fingerprint());
    }
}
