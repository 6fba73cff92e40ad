//! One pass over a mixture in its own order, for evaluation and checks.

use std::sync::Arc;

use crate::pool::OrderedPool;
use crate::prepare::too_slow;
use crate::sample::Skip;
use crate::{DataError, Mixture, Prepared, Preparer};

/// How many samples each worker may be ahead.
const AHEAD_PER_WORKER: usize = 8;

/// Every sample once, good or bad, without shuffling; ends after the last one.
pub struct Pass {
    pool: OrderedPool<Result<Prepared, Skip>>,
}

impl Pass {
    /// Starts a pass over the first `limit` samples, or over all.
    pub fn new(
        mixture: Arc<Mixture>,
        preparer: Arc<Preparer>,
        limit: Option<usize>,
        workers: usize,
    ) -> Result<Self, DataError> {
        let len = mixture.epoch_len().min(limit.map_or(u64::MAX, |limit| limit as u64));
        let asked = mixture.clone();
        let work = move |position| {
            let (source, index) = asked.locate(None, 0, position);
            preparer.fetch(source.as_ref(), index)
        };
        let give_up = move |position| {
            let (source, index) = mixture.locate(None, 0, position);
            Err(too_slow(&source.id(index)))
        };
        let ahead = workers.max(1) * AHEAD_PER_WORKER;
        Ok(Self { pool: OrderedPool::new(workers, ahead, 0..len, work, give_up)? })
    }
}

impl Iterator for Pass {
    type Item = Result<Result<Prepared, Skip>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pool.next_result().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Shards, preparer};

    #[test]
    fn a_pass_takes_every_sample_once_in_order() {
        let shards = Shards::numbered(5, |i| i == 3);
        for (limit, expected) in [(None, 10), (Some(4), 4), (Some(99), 10)] {
            let pass = Pass::new(shards.mixture(), Arc::new(preparer()), limit, 2).expect("a pass");
            let outcomes: Result<Vec<_>, DataError> = pass.collect();
            let indices = outcomes.expect("working").into_iter().map(|outcome| match outcome {
                Ok(prepared) => prepared.id.index,
                Err(skip) => 1000 + skip.id.index,
            });
            assert!(indices.eq((0..expected).map(|i| if i == 3 { 1003 } else { i })), "limit {limit:?}");
        }
    }
}
