//! The gradients of a step, added up where they arise.
//!
//! A micro-batch adds its gradients to those of the micro-batches that its rank ran before. In the last one of each rank, a decoder
//! block's are complete once the backward pass has left the block, and go to those of all ranks at once: ranks are at about the same
//! block, so a step holds little more than one set of gradients, and not one for each rank. Sums are in the order of ranks, whichever
//! comes first.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use burn::prelude::*;
use mmtrain_model::params::{FlatTensors, Part};

/// What the micro-batches of one rank add their gradients to.
#[derive(Debug, Default)]
pub struct Gathering<'a> {
    own: FlatTensors,
    /// Where complete gradients go, and the number of this rank.
    all: Option<(&'a InTurn, usize)>,
    is_last: bool,
}

impl<'a> Gathering<'a> {
    /// Of one rank among others.
    pub(crate) fn of_rank(rank: usize, all: &'a InTurn) -> Self {
        Self { own: FlatTensors::new(), all: Some((all, rank)), is_last: false }
    }

    /// Says that the next micro-batch is the last one of this rank.
    pub(crate) fn begin_last(&mut self) {
        self.is_last = true;
    }

    /// What was not handed on, by parameter name.
    pub(crate) fn gradients(&mut self) -> &mut FlatTensors {
        &mut self.own
    }

    /// The micro-batch adds nothing more to parameters whose names begin so.
    pub(crate) fn left(&mut self, part: Part, scope: &str) {
        let Some((all, rank)) = self.all.filter(|_| self.is_last) else { return };
        let prefix = format!("{}{scope}", part.prefix());
        let mut complete = self.own.split_off(&prefix);
        let behind = complete.keys().find(|name| !name.starts_with(&prefix)).cloned();
        if let Some(behind) = behind {
            self.own.append(&mut complete.split_off(&behind));
        }
        all.give(rank, complete);
    }

    /// The end: hands on what is left. What is given back was for no other rank.
    pub(crate) fn finish(self) -> FlatTensors {
        match self.all {
            None => self.own,
            Some((all, rank)) => {
                all.give(rank, self.own);
                FlatTensors::new()
            }
        }
    }
}

/// Sums over ranks, each in the order of ranks.
#[derive(Debug, Default)]
pub(crate) struct InTurn {
    sums: Mutex<BTreeMap<String, Turn>>,
}

/// The sum of a parameter's gradients so far.
#[derive(Debug, Default)]
struct Turn {
    sum: Option<Tensor<1>>,
    /// The rank whose turn it is.
    next: usize,
    /// Those of later ranks, which came before it.
    early: BTreeMap<usize, Tensor<1>>,
}

impl Turn {
    fn add(&mut self, gradient: Tensor<1>) {
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + gradient,
            None => gradient,
        });
    }

    fn give(&mut self, rank: usize, gradient: Tensor<1>) {
        if rank > self.next {
            self.early.insert(rank, gradient);
            return;
        }
        self.add(gradient);
        self.next = self.next.max(rank + 1);
        while let Some(gradient) = self.early.remove(&self.next) {
            self.add(gradient);
            self.next += 1;
        }
    }

    /// A rank without media has no gradients for what sees them, and is waited for no longer.
    fn end(mut self) -> Option<Tensor<1>> {
        for gradient in std::mem::take(&mut self.early).into_values() {
            self.add(gradient);
        }
        self.sum
    }
}

impl InTurn {
    fn give(&self, rank: usize, gradients: FlatTensors) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, gradient) in gradients {
            sums.entry(name).or_default().give(rank, gradient);
        }
    }

    /// What all ranks gave.
    pub(crate) fn end(self) -> FlatTensors {
        let sums = self.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        sums.into_iter().filter_map(|(name, turn)| Some((name, turn.end()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(value: f32) -> Tensor<1> {
        Tensor::from_floats([value], &Device::flex())
    }

    fn value(tensors: &FlatTensors, name: &str) -> f32 {
        tensors[name].clone().into_scalar::<f32>()
    }

    /// Numbers whose sum depends on the order.
    const OF_RANKS: [f32; 4] = [1.0, 3e-8, 3e-8, -1.0];

    #[test]
    fn sums_are_in_the_order_of_ranks_whichever_comes_first() {
        let in_order = OF_RANKS.iter().copied().reduce(|sum, value| sum + value).expect("some");
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let all = InTurn::default();
            for rank in order {
                all.give(rank, FlatTensors::from([("w".to_owned(), tensor(OF_RANKS[rank]))]));
            }
            assert_eq!(value(&all.end(), "w").to_bits(), in_order.to_bits(), "{order:?}");
        }
        let turned_around = OF_RANKS.iter().copied().rev().reduce(|sum, value| sum + value).expect("some");
        assert_ne!(turned_around.to_bits(), in_order.to_bits(), "the order shows");
    }

    #[test]
    fn a_rank_that_has_nothing_for_a_parameter_holds_none_up() {
        let all = InTurn::default();
        all.give(2, FlatTensors::from([("w".to_owned(), tensor(2.0))]));
        all.give(1, FlatTensors::from([("w".to_owned(), tensor(1.0))]));
        all.give(0, FlatTensors::from([("v".to_owned(), tensor(5.0))]));
        let sums = all.end();
        assert_eq!((value(&sums, "w"), value(&sums, "v")), (3.0, 5.0));
    }

    #[test]
    fn a_block_is_handed_on_in_the_last_micro_batch_and_no_other_block_with_it() {
        let all = InTurn::default();
        let mut gathering = Gathering::of_rank(0, &all);
        let names = ["layers.1.w", "layers.10.w", "layers.2.w", "norm.w"];
        let names = names.map(|name| format!("{}{name}", Part::Decoder.prefix()));
        for name in &names {
            gathering.gradients().insert(name.clone(), tensor(1.0));
        }
        gathering.left(Part::Decoder, "layers.1.");
        assert_eq!(gathering.gradients().len(), 4, "more is added to it");
        gathering.begin_last();
        gathering.left(Part::Decoder, "layers.1.");
        assert!(gathering.gradients().keys().eq(&names[1..]));
        assert!(gathering.finish().is_empty());
        assert_eq!(all.end().len(), 4);
        let mut alone = Gathering::default();
        alone.gradients().insert("w".to_owned(), tensor(1.0));
        alone.begin_last();
        alone.left(Part::Decoder, "");
        assert_eq!(alone.finish().len(), 1);
    }
}
