//! Runs of one to four words and how often each occurs.

use std::collections::BTreeMap;

/// The longest run that BLEU and CIDEr-D count.
pub(crate) const MAX_N: usize = 4;

/// Occurrences of each run of words; ordered, so that sums over them are always the same.
pub(crate) type Counts<'a, 't> = BTreeMap<&'a [&'t str], usize>;

/// The words of tokenized text, split at any white space, as `str.split()` of Python does.
pub(crate) fn words(tokenized: &str) -> Vec<&str> {
    tokenized.split_whitespace().collect()
}

/// Counts of runs of 1, 2, 3 and 4 words.
pub(crate) fn count<'a, 't>(words: &'a [&'t str]) -> [Counts<'a, 't>; MAX_N] {
    std::array::from_fn(|k| {
        let mut counts = Counts::new();
        for run in words.windows(k + 1) {
            *counts.entry(run).or_default() += 1;
        }
        counts
    })
}
