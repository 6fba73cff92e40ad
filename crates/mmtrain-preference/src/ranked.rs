//! Losses of sorted values (AOT): the k-th smallest of one side against the k-th smallest of the other.
//!
//! Which pairs are sorted together changes these losses: it is the pairs of one call, in TRL those of a micro-batch.

use crate::curve;
use crate::scores::{Score, Scores};
use crate::term::Term;

/// Which values are sorted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ranking {
    /// Chosen less rejected: under the policy, and under the reference.
    Preferences,
    /// Policy less reference: of the chosen answers, and of the rejected ones.
    Ratios,
}

/// The loss of each pair, with its gradient.
pub(crate) fn of_pairs(ranking: Ranking, pairs: &[Scores], beta: f64, smoothing: f64) -> Vec<Term> {
    let values = |of: fn(&Scores) -> f64| pairs.iter().map(of).collect::<Vec<f64>>();
    let (ahead, behind) = match ranking {
        Ranking::Preferences => (
            values(|pair| pair.chosen.policy - pair.rejected.policy),
            values(|pair| pair.chosen.reference - pair.rejected.reference),
        ),
        Ranking::Ratios => (values(|pair| Score::ratio(&pair.chosen)), values(|pair| Score::ratio(&pair.rejected))),
    };
    let mut terms = vec![Term::default(); pairs.len()];
    for (first, second) in ascending(&ahead).into_iter().zip(ascending(&behind)) {
        let curve = curve::smoothed_log_loss(beta * (ahead[first] - behind[second]), smoothing);
        let rejected = match ranking {
            Ranking::Preferences => first,
            Ranking::Ratios => second,
        };
        terms[first].loss += curve.value;
        terms[first].gradient.chosen += beta * curve.slope;
        terms[rejected].gradient.rejected -= beta * curve.slope;
    }
    terms
}

/// Indices from the smallest to the largest value; equal ones in their order.
fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}
