//! What a dataset holds: how long its rows are, how large and of which kind its pictures.
//!
//! Pictures are probed by their headers, not decoded, so that large sets take minutes and not hours.

use std::collections::BTreeMap;

use mmtrain_media::probe;
use serde::Serialize;

use crate::prepare::media_reason;
use crate::source::Source;
use crate::{Preparer, RawMedium, RawSample, Skip};

/// Figures about the samples of a source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DataStats {
    /// Samples looked at, bad ones included.
    pub samples: usize,
    /// Bad samples per reason, as far as headers tell.
    pub reasons: BTreeMap<String, usize>,
    /// Row lengths, in tokens.
    pub seq: Spread,
    /// Learned tokens per row.
    pub supervised_tokens: Spread,
    /// Widths of pictures, in pixels.
    pub width: Spread,
    /// Heights of pictures, in pixels.
    pub height: Spread,
    /// Sizes of encoded pictures, in bytes.
    pub image_bytes: Spread,
    /// Pictures per container.
    pub kinds: BTreeMap<String, usize>,
}

/// Smallest, mean and largest of some numbers; all 0 where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many numbers.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    fn add(&mut self, value: usize) {
        let value = value as u64;
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.mean += (value as f64 - self.mean) / self.count as f64;
    }
}

/// Looks at the first `limit` samples of a source, or at all.
pub fn stats(source: &dyn Source, preparer: &Preparer, limit: Option<usize>) -> DataStats {
    let mut stats = DataStats::default();
    for index in 0..source.len().min(limit.unwrap_or(usize::MAX)) {
        stats.samples += 1;
        let looked_at = source.get(index).map_err(|error| error.0).and_then(|raw| stats.add(&raw, preparer));
        if let Err(skip) = looked_at {
            *stats.reasons.entry(skip.reason).or_default() += 1;
        }
    }
    stats
}

impl DataStats {
    fn add(&mut self, raw: &RawSample, preparer: &Preparer) -> Result<(), Skip> {
        for image in raw.media.iter().filter_map(RawMedium::bytes) {
            let (kind, width, height) = probe(image, &preparer.limits).map_err(|error| Skip {
                id: raw.id.clone(),
                reason: media_reason(&error),
                detail: error.to_string().into(),
            })?;
            *self.kinds.entry(kind.to_string()).or_default() += 1;
            self.width.add(width as usize);
            self.height.add(height as usize);
            self.image_bytes.add(image.len());
        }
        let encoded = preparer.encode(raw)?;
        self.seq.add(encoded.input_ids.len());
        self.supervised_tokens.add(encoded.supervised_tokens());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Shards, preparer};

    #[test]
    fn figures_cover_good_samples_and_count_bad_ones() {
        let shards = Shards::numbered(5, |i| i == 0);
        let stats = stats(shards.open().as_ref(), &preparer(), None);
        assert_eq!((stats.samples, stats.seq.count), (10, 9));
        assert_eq!(stats.reasons, [("image_empty".to_owned(), 1)].into());
        assert_eq!((stats.width.min, stats.width.max, stats.height.min), (12, 12, 8));
        assert_eq!(stats.kinds.values().sum::<usize>(), 9);
        assert!(stats.supervised_tokens.min >= 3 && stats.supervised_tokens.max < stats.seq.max);
    }

    #[test]
    fn a_spread_follows_its_numbers() {
        let mut spread = Spread::default();
        for value in [4, 1, 7] {
            spread.add(value);
        }
        assert_eq!(spread, Spread { count: 3, min: 1, mean: 4.0, max: 7 });
    }
}
