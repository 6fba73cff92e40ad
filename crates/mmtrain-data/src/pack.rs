//! Which samples share a row, and in which order rows come: the arrangement of a window.
//!
//! A window is so many usable samples in a row of the epoch's order. What is arranged are lengths alone, so that the
//! rows of a window follow from (data, configuration, where it begins), and a cursor inside it is a number of rows.

use serde::{Deserialize, Serialize};

use crate::order::permute;

/// Keys the order of micro-batches apart from that of samples.
const BUCKETS: u64 = 0x6275_636b_6574_7331;

/// Several samples behind one another in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// Longest row, in tokens.
    pub max_seq: usize,
    /// Samples among which those that share a row are looked for.
    pub window: usize,
}

/// Rows of about the same length in a micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucketing {
    /// Steps among whose rows they are looked for; with packing, the rows of a packing window.
    pub steps: usize,
}

/// The samples of each row: every sample goes into the first row that has room for it (first fit).
///
/// A sample of more than `max_seq` tokens has a row of its own.
pub fn first_fit(lengths: &[usize], max_seq: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for (sample, &len) in lengths.iter().enumerate() {
        match rows.iter_mut().find(|(filled, _)| filled + len <= max_seq) {
            Some((filled, row)) => {
                *filled += len;
                row.push(sample);
            }
            None => rows.push((len, vec![sample])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// An order of rows in which every `micro_batch_size` of them are of about the same length.
///
/// The rows are sorted by length and cut into micro-batches; these come in an order drawn from `key`, a seed and the
/// number of the window, so that a step has short and long ones. Without a key they come from short to long.
pub fn bucketed(lengths: &[usize], micro_batch_size: usize, key: Option<(u64, u64)>) -> Vec<usize> {
    let mut sorted = (0..lengths.len()).collect::<Vec<_>>();
    sorted.sort_by_key(|&row| lengths[row]);
    let whole = (sorted.len() / micro_batch_size.max(1)) as u64;
    let place = |at: u64| match key {
        Some((seed, window)) if at < whole => permute(seed ^ BUCKETS, window, whole, at) as usize,
        _ => at as usize,
    };
    let micro_batches = sorted.chunks(micro_batch_size.max(1)).collect::<Vec<_>>();
    (0..micro_batches.len() as u64).flat_map(|at| micro_batches[place(at)].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sample_goes_into_the_first_row_that_has_room() {
        assert_eq!(first_fit(&[5, 7, 3, 2, 1], 10), [vec![0, 2, 3], vec![1, 4]]);
        assert_eq!(first_fit(&[10, 11, 1], 10), [vec![0], vec![1], vec![2]]);
        assert!(first_fit(&[], 10).is_empty());
    }

    #[test]
    fn micro_batches_are_of_one_length_and_steps_are_not() {
        let lengths = [9, 1, 8, 2, 7, 3, 6, 4, 5];
        assert_eq!(bucketed(&lengths, 2, None), [1, 3, 5, 7, 8, 6, 4, 2, 0]);
        let drawn = bucketed(&lengths, 2, Some((3, 0)));
        assert_ne!(drawn, bucketed(&lengths, 2, None));
        for pair in drawn[..8].chunks(2) {
            assert!(lengths[pair[0]].abs_diff(lengths[pair[1]]) == 1, "{drawn:?}");
        }
        assert_eq!(drawn[8], 0, "what fills no micro-batch comes last");
    }

    proptest! {
        #[test]
        fn every_sample_is_in_one_row_and_rows_are_full(lengths in prop::collection::vec(1_usize..60, 0..80)) {
            let rows = first_fit(&lengths, 60);
            let mut found = rows.concat();
            found.sort_unstable();
            prop_assert!(found.into_iter().eq(0..lengths.len()));
            let filled = rows.iter().map(|row| row.iter().map(|&sample| lengths[sample]).sum::<usize>());
            let filled = filled.collect::<Vec<_>>();
            prop_assert!(filled.iter().all(|&filled| filled <= 60));
            // First fit leaves at most one row half empty.
            prop_assert!(filled.iter().filter(|&&filled| filled <= 30).count() <= 1);
        }

        #[test]
        fn every_row_comes_once(lengths in prop::collection::vec(1_usize..60, 0..80), micro in 1_usize..9, key: u64) {
            let mut order = bucketed(&lengths, micro, Some((key, 5)));
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..lengths.len()));
        }
    }
}
