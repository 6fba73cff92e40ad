//! BLEU-1 to 4 of a corpus and of each sample, after `bleu_scorer.py` of `pycocoevalcap` with its option `closest`.

use std::collections::BTreeMap;

use crate::ngrams::{Counts, MAX_N, count};

/// Added to numerators and denominators, as there, so that nothing is divided by zero.
const TINY: f64 = 1e-15;
const SMALL: f64 = 1e-9;

/// What BLEU counts in one sample, or, summed, in a corpus.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BleuCounts {
    answer_words: usize,
    reference_words: usize,
    runs: [usize; MAX_N],
    correct: [usize; MAX_N],
}

impl BleuCounts {
    /// Of an answer; each run counts as correct as often as in the reference that has it most often.
    pub(crate) fn new(answer: &[&str], references: &[Vec<&str>]) -> Self {
        let mut allowed: [Counts; MAX_N] = Default::default();
        for reference in references {
            for (allowed, counts) in allowed.iter_mut().zip(count(reference)) {
                keep_largest(allowed, counts);
            }
        }
        let counts = count(answer);
        Self {
            answer_words: answer.len(),
            reference_words: closest(answer.len(), references),
            runs: std::array::from_fn(|k| answer.len().saturating_sub(k)),
            correct: std::array::from_fn(|k| matches(&counts[k], &allowed[k])),
        }
    }

    /// Adds those of another sample.
    pub(crate) fn add(&mut self, other: &Self) {
        self.answer_words += other.answer_words;
        self.reference_words += other.reference_words;
        for k in 0..MAX_N {
            self.runs[k] += other.runs[k];
            self.correct[k] += other.correct[k];
        }
    }

    /// BLEU-1 to 4: geometric means of the precisions, lowered where the answers are shorter than the references.
    pub(crate) fn scores(&self) -> [f64; MAX_N] {
        let ratio = (self.answer_words as f64 + TINY) / (self.reference_words as f64 + SMALL);
        let brevity = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
        let mut product = 1.0;
        std::array::from_fn(|k| {
            product *= (self.correct[k] as f64 + TINY) / (self.runs[k] as f64 + SMALL);
            f64::powf(product, 1.0 / (k + 1) as f64) * brevity
        })
    }
}

fn keep_largest<'a, 't>(largest: &mut Counts<'a, 't>, counts: BTreeMap<&'a [&'t str], usize>) {
    for (run, count) in counts {
        let entry = largest.entry(run).or_default();
        *entry = count.max(*entry);
    }
}

/// The length of the reference that is closest in length; the shorter of two.
fn closest(answer_words: usize, references: &[Vec<&str>]) -> usize {
    let lengths = references.iter().map(Vec::len);
    lengths.min_by_key(|length| (length.abs_diff(answer_words), *length)).unwrap_or(0)
}

fn matches(counts: &Counts, allowed: &Counts) -> usize {
    counts.iter().map(|(run, count)| *count.min(allowed.get(run).unwrap_or(&0))).sum()
}
