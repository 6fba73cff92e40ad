//! What a dataset holds: how long its rows are, how large and of which kind its pictures.
//!
//! Pictures are probed by their headers, not decoded, so that large sets take minutes and not hours.

use std::collections::BTreeMap;

use mmtrain_text::{MediaKind, MediaSpans};
use serde::Serialize;

use crate::source::Source;
use crate::{Examined, Histogram, MediumFacts, Preparer, RawSample, Skip};

/// Figures about the samples of a source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DataStats {
    /// Samples looked at, bad ones included.
    pub samples: usize,
    /// Bad samples per reason, as far as headers tell.
    pub reasons: BTreeMap<String, usize>,
    /// Turns per conversation.
    pub turns: Spread,
    /// Row lengths, in tokens.
    pub seq: Spread,
    /// Row lengths by how often they occur.
    pub seq_histogram: Histogram,
    /// Learned tokens per row.
    pub supervised_tokens: Spread,
    /// Tokens that stand for media, per row.
    pub media_tokens: Spread,
    /// Share of all tokens that are learned, 0 to 1.
    pub supervised_share: f64,
    /// Media per kind: pictures, clips and sounds.
    pub media: BTreeMap<String, usize>,
    /// Widths of pictures and clips, in pixels.
    #[serde(skip_serializing_if = "Spread::is_empty")]
    pub width: Spread,
    /// Heights of pictures and clips, in pixels.
    #[serde(skip_serializing_if = "Spread::is_empty")]
    pub height: Spread,
    /// Lengths of clips and sounds, in seconds, rounded.
    #[serde(skip_serializing_if = "Spread::is_empty")]
    pub seconds: Spread,
    /// Sizes of encoded pictures, in bytes.
    #[serde(skip_serializing_if = "Spread::is_empty")]
    pub image_bytes: Spread,
    /// Pictures per container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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
    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Of all numbers.
    fn sum(&self) -> f64 {
        self.mean * self.count as f64
    }

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
    let mut lengths = Vec::new();
    for index in 0..source.len().min(limit.unwrap_or(usize::MAX)) {
        stats.samples += 1;
        match source.get(index).map_err(|error| error.0).and_then(|raw| stats.add(&raw, preparer)) {
            Ok(seq) => lengths.push(seq),
            Err(skip) => *stats.reasons.entry(skip.reason).or_default() += 1,
        }
    }
    let (learned, all) = (stats.supervised_tokens.sum(), stats.seq.sum());
    stats.supervised_share = if all > 0.0 { learned / all } else { 0.0 };
    stats.seq_histogram = Histogram::of(&lengths);
    stats
}

impl DataStats {
    /// Takes a sample in; returns its length in tokens.
    fn add(&mut self, raw: &RawSample, preparer: &Preparer) -> Result<u64, Skip> {
        let Examined { encoded, facts } = preparer.examine(raw)?;
        for medium in &raw.media {
            *self.media.entry(kind_name(medium.kind).to_owned()).or_default() += 1;
        }
        for facts in facts {
            self.add_facts(facts);
        }
        self.turns.add(raw.conversation.turns.len());
        self.seq.add(encoded.input_ids.len());
        self.supervised_tokens.add(encoded.supervised_tokens());
        self.media_tokens.add(encoded.media.iter().map(MediaSpans::placeholders).sum());
        Ok(encoded.input_ids.len() as u64)
    }
}

impl DataStats {
    /// Of a medium.
    fn add_facts(&mut self, facts: MediumFacts) {
        if let Some(size) = facts.size {
            self.width.add(size.width as usize);
            self.height.add(size.height as usize);
        }
        if let Some(secs) = facts.secs {
            self.seconds.add(secs.round() as usize);
        }
        if let Some((kind, bytes)) = facts.file {
            *self.kinds.entry(kind.to_string()).or_default() += 1;
            self.image_bytes.add(bytes);
        }
    }
}

fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
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
        assert_eq!(stats.media, [("image".to_owned(), 9)].into());
        assert_eq!((stats.turns.min, stats.turns.max), (2, 2));
        assert_eq!((stats.media_tokens.min, stats.media_tokens.max), (4, 4));
        assert_eq!(stats.seq_histogram.counts.iter().sum::<u64>(), 9);
        let (learned, all) = (stats.supervised_tokens.mean, stats.seq.mean);
        assert!((stats.supervised_share - learned / all).abs() < 1e-12);
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
