//! CIDEr-D, after `cider_scorer.py` of `pycocoevalcap`: cosines of tf-idf vectors with clipped counts and a penalty for
//! another length.

use std::collections::{BTreeSet, HashMap};

use crate::ngrams::{Counts, MAX_N, count};

/// Width of the penalty in words.
const SIGMA: f64 = 6.0;
/// What the mean over the lengths of runs is multiplied by.
const SCALE: f64 = 10.0;

/// In how many pictures' references each run occurs.
pub(crate) struct DocumentFrequency<'a, 't> {
    pictures: usize,
    occurrences: HashMap<&'a [&'t str], usize>,
}

impl<'a, 't> DocumentFrequency<'a, 't> {
    /// Of the references of all pictures: picture, reference, words.
    pub(crate) fn new(pictures: &'a [Vec<Vec<&'t str>>]) -> Self {
        let mut occurrences: HashMap<&[&str], usize> = HashMap::new();
        for references in pictures {
            let runs: BTreeSet<&[&str]> =
                references.iter().flat_map(|words| (1..=MAX_N).flat_map(|n| words.windows(n))).collect();
            for run in runs {
                *occurrences.entry(run).or_default() += 1;
            }
        }
        Self { pictures: pictures.len(), occurrences }
    }

    /// CIDEr-D of one answer.
    pub(crate) fn score(&self, answer: &[&str], references: &[Vec<&str>]) -> f64 {
        let answer_counts = count(answer);
        let answer = self.vector(answer.len(), &answer_counts);
        let sum: f64 = references
            .iter()
            .map(|words| {
                let counts = count(words);
                answer.similarity(&self.vector(words.len(), &counts))
            })
            .sum();
        SCALE * sum / (MAX_N * references.len()) as f64
    }

    /// The logarithm of the inverse document frequency; as of one picture where no reference has the run.
    fn idf(&self, run: &[&str]) -> f64 {
        let occurrences = self.occurrences.get(run).copied().unwrap_or(1);
        (self.pictures as f64).ln() - (occurrences as f64).ln()
    }

    fn vector<'c>(&self, words: usize, counts: &'c [Counts<'c, 'c>; MAX_N]) -> Vector<'c> {
        let weights: [Weights; MAX_N] = std::array::from_fn(|k| {
            counts[k].iter().map(|(run, count)| (*run, *count as f64 * self.idf(run))).collect()
        });
        let norms = std::array::from_fn(|k| weights[k].iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt());
        // The script takes the number of runs of two words for the length.
        Vector { weights, norms, length: words.saturating_sub(1) }
    }
}

/// Runs in order with their weights.
type Weights<'c> = Vec<(&'c [&'c str], f64)>;

/// A text as tf-idf weights, by the length of the runs.
struct Vector<'c> {
    weights: [Weights<'c>; MAX_N],
    norms: [f64; MAX_N],
    length: usize,
}

impl Vector<'_> {
    /// The sum over the lengths of runs; weights of `self` count up to those of the reference.
    fn similarity(&self, reference: &Vector) -> f64 {
        let difference = self.length.abs_diff(reference.length) as f64;
        let penalty = (-(difference * difference) / (2.0 * SIGMA * SIGMA)).exp();
        let cosines = (0..MAX_N).map(|k| {
            let product = clipped_product(&self.weights[k], &reference.weights[k]);
            let norms = self.norms[k] * reference.norms[k];
            if norms == 0.0 { product } else { product / norms }
        });
        cosines.sum::<f64>() * penalty
    }
}

fn clipped_product(answer: &Weights, reference: &Weights) -> f64 {
    let other = |run: &[&str]| reference.binary_search_by(|(other, _)| (*other).cmp(run)).ok().map(|i| reference[i].1);
    answer.iter().filter_map(|(run, weight)| other(run).map(|other| weight.min(other) * other)).sum()
}
