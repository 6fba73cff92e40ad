//! The tokens of answers, and how they count.

use std::ops::Range;

use mmtrain_data::{HostBatch, HostFork};
use mmtrain_preference::{Normalize, PreferenceError, TokenWeights, changed_tokens};
use mmtrain_text::IGNORE_INDEX;

use crate::objective::{Side, Supervised};

/// Tokens in which the answers of a pair differ count more (dense DPO, RLHF-V).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dense {
    /// Weight of a changed token.
    pub gamma: f64,
    /// What the weighted sum is divided by.
    pub normalize: Normalize,
}

/// Shortest run of tokens that both answers have, as in RLHF-V; a shorter one between changes is changed too.
const MIN_MATCH: usize = 3;

/// Numbers of the answers of a pair: better, worse, better behind what is left of the media.
pub(super) type OfPair<T> = [T; 3];

/// Log-probabilities of the supervised tokens of each answer, in their order.
pub(super) fn by_answer(batch: &HostBatch, rows: &Supervised, logps: &[f64]) -> Vec<OfPair<Vec<f64>>> {
    let mut found = vec![OfPair::<Vec<f64>>::default(); batch.forks.len()];
    for (answer, logp) in rows.answer.iter().zip(logps) {
        if let Some(answer) = answer {
            found[answer.pair][answer.side as usize].push(*logp);
        }
    }
    found
}

/// Which supervised tokens of an answer the other one has not, in their order.
pub(super) type Changes = Vec<bool>;

/// Changes of the better and of the worse answer of a pair.
///
/// As in RLHF-V whole rows are compared, with the prompt but for its first token: a run that both have may begin there.
pub(super) fn changes(batch: &HostBatch, fork: &HostFork) -> [Changes; 2] {
    let ids = |columns: Range<usize>| &batch.input_ids[fork.row * batch.seq..][columns];
    let prompt = ids(fork.start..fork.chosen).get(1..).unwrap_or_default();
    let row = |answer| [prompt, ids(answer)].concat();
    let [chosen, rejected] = [fork.chosen..fork.rejected, fork.rejected..fork.end];
    let changed = changed_tokens(&row(chosen.clone()), &row(rejected.clone()), MIN_MATCH);
    let of = |answer: Range<usize>, changed: &[usize]| {
        let place = |column: usize| prompt.len() + column - answer.start;
        supervised_columns(batch, fork.row, answer.clone())
            .map(|at| changed.binary_search(&place(at)).is_ok())
            .collect()
    };
    [of(chosen, &changed.chosen), of(rejected, &changed.rejected)]
}

fn supervised_columns(batch: &HostBatch, row: usize, columns: Range<usize>) -> impl Iterator<Item = usize> + '_ {
    columns.filter(move |column| batch.labels[row * batch.seq + column] != IGNORE_INDEX)
}

/// The sum over the changed tokens.
pub(super) fn sum_of_changed(logps: &[f64], changes: &Changes) -> f64 {
    logps.iter().zip(changes).filter(|(_, changed)| **changed).map(|(logp, _)| logp).sum()
}

/// How the tokens of an answer count.
#[derive(Debug, Clone)]
pub(super) enum Counted {
    /// All alike, so many.
    Alike(usize),
    /// Each with its weight.
    Weighed(TokenWeights),
}

impl Counted {
    /// The tokens of the better and of the worse answer of a pair.
    pub(super) fn of(batch: &HostBatch, fork: &HostFork, dense: Option<Dense>) -> Result<[Self; 2], PreferenceError> {
        let Some(Dense { gamma, normalize }) = dense else {
            let tokens = |answer| supervised_columns(batch, fork.row, answer).count();
            return Ok([fork.chosen..fork.rejected, fork.rejected..fork.end].map(|answer| Self::Alike(tokens(answer))));
        };
        let [chosen, rejected] = changes(batch, fork).map(|changes| {
            let places = (0..changes.len()).collect::<Vec<_>>();
            let changed = places.iter().copied().filter(|&place| changes[place]).collect::<Vec<_>>();
            TokenWeights::of(&places, &changed, gamma, normalize).map(Self::Weighed)
        });
        Ok([chosen?, rejected?])
    }

    /// Those of an answer, given those of both of its pair.
    pub(super) fn side(of: &[Self; 2], side: Side) -> &Self {
        match side {
            Side::Chosen | Side::Ablated => &of[0],
            Side::Rejected => &of[1],
        }
    }

    /// The log-probability of the answer.
    pub(super) fn logp(&self, tokens: &[f64]) -> Result<f64, PreferenceError> {
        match self {
            Self::Alike(_) => Ok(tokens.iter().sum()),
            Self::Weighed(weights) => weights.logp(tokens),
        }
    }

    /// The same from the sums over all tokens and over the changed ones.
    pub(super) fn of_sums(&self, all: f64, changed: f64) -> f64 {
        match self {
            Self::Alike(_) => all,
            Self::Weighed(weights) => weights.of_sums(all, changed),
        }
    }

    /// What stands for the number of tokens.
    pub(super) fn tokens(&self) -> f64 {
        match self {
            Self::Alike(tokens) => *tokens as f64,
            Self::Weighed(weights) => weights.tokens(),
        }
    }

    /// The gradient of each token, so many, from that of the answer.
    pub(super) fn slopes(&self, gradient: f64, tokens: usize) -> Vec<f64> {
        match self {
            Self::Alike(_) => vec![gradient; tokens],
            Self::Weighed(weights) => weights.per_token(gradient),
        }
    }
}
