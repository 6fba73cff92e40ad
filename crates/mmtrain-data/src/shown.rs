//! What a model is shown of the media of a sample.

use mmtrain_media::{Ablation, CutOut};

use crate::prepare::skip;
use crate::sample::{RawSample, SampleId, Skip};

/// What is shown of media.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    #[default]
    Whole,
    /// All of them, and the better answer of a pair once more behind cut-outs of them. Which cut-outs follows from the seed and
    /// the name of the sample, in every epoch the same.
    WholeAndCutOut {
        /// That of the run.
        seed: u64,
    },
    /// Nothing of them: flat pictures, silence. What a model still knows, it does not know from them.
    Blank,
}

impl Shown {
    /// What cannot be shown less of is left out.
    pub(crate) fn check(self, raw: &RawSample) -> Result<(), Skip> {
        match self {
            Self::WholeAndCutOut { .. } | Self::Blank if raw.media.is_empty() => {
                Err(skip(&raw.id, "no_medium", "text alone, where answers with and without a medium are compared"))
            }
            _ => Ok(()),
        }
    }

    /// What is left of the media in their own place.
    pub(crate) fn in_place(self) -> Option<Ablation> {
        (self == Self::Blank).then_some(Ablation::Blank)
    }

    /// What is left of a medium, by its number, beside the whole one.
    pub(crate) fn beside(self, id: &SampleId, medium: usize) -> Option<Ablation> {
        match self {
            Self::WholeAndCutOut { seed } => Some(Ablation::CutOut(cut_out(seed, id, medium))),
            Self::Whole | Self::Blank => None,
        }
    }
}

/// A function of all its arguments.
fn cut_out(seed: u64, id: &SampleId, medium: usize) -> CutOut {
    let SampleId { source, shard, key, index } = id;
    let mut hasher = blake3::Hasher::new_derive_key("mmtrain cut-outs of media");
    for number in [seed, *index as u64, medium as u64] {
        hasher.update(&number.to_le_bytes());
    }
    for name in [source, shard, key] {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
    }
    let hash = hasher.finalize();
    let number = |at: usize| {
        let eight = hash.as_bytes()[at * 8..][..8].try_into().expect("eight bytes of thirty-two");
        // As many bits as a number from 0 to below 1 has.
        (u64::from_le_bytes(eight) >> 11) as f64 / (1_u64 << 53) as f64
    };
    CutOut { area: number(0), ratio: number(1), left: number(2), top: number(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_out_follows_from_seed_sample_and_medium() {
        let id = |key: &str| SampleId { source: "s".into(), shard: "a".into(), key: key.into(), index: 3 };
        let all = [(7, id("k"), 0), (8, id("k"), 0), (7, id("l"), 0), (7, id("k"), 1)];
        let drawn = all.clone().map(|(seed, id, medium)| cut_out(seed, &id, medium));
        for (index, CutOut { area, ratio, left, top }) in drawn.iter().enumerate() {
            assert!([area, ratio, left, top].iter().all(|number| (0.0..1.0).contains(*number)));
            assert!(drawn[..index].iter().all(|other| (other.area - area).abs() > 1e-9));
        }
        assert_eq!(all.map(|(seed, id, medium)| cut_out(seed, &id, medium)), drawn);
    }
}
