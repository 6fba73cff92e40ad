//! Which tokens two answers do not have in common (`utils/diff_lib.py` of RLHF-V, `github.com/thunlp/Muffin`).

use crate::matching::{Block, matching_blocks};

/// Places of tokens that were rewritten, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// In the chosen answer.
    pub chosen: Vec<usize>,
    /// In the rejected answer.
    pub rejected: Vec<usize>,
}

/// The tokens between blocks of at least `min_match` tokens (3 in RLHF-V) that both answers have.
///
/// As in RLHF-V a piece counts only if something stands in its place in the other answer: what was merely put in or left out
/// is not changed. RLHF-V compares whole rows, the prompt included, without their first token: a block may then begin in the
/// prompt. [`crate::TokenWeights::of`] picks the supervised places.
pub fn changed_tokens<T: Ord>(chosen: &[T], rejected: &[T], min_match: usize) -> Changed {
    // The rejected answer is the first list in RLHF-V, and blocks depend on the order.
    let mut blocks = matching_blocks(rejected, chosen);
    let end = blocks.pop();
    let kept = blocks.into_iter().filter(|block| block.len >= min_match).chain(end);
    let mut changed = Changed::default();
    let mut last = Block { a: 0, b: 0, len: 0 };
    for block in kept {
        let (in_rejected, in_chosen) = (last.a + last.len..block.a, last.b + last.len..block.b);
        if !in_rejected.is_empty() && !in_chosen.is_empty() {
            changed.rejected.extend(in_rejected);
            changed.chosen.extend(in_chosen);
        }
        last = block;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_piece_is_changed_on_both_sides() {
        let chosen = [1, 2, 3, 40, 5, 6, 7];
        let rejected = [1, 2, 3, 41, 42, 5, 6, 7];
        let changed = Changed { chosen: vec![3], rejected: vec![3, 4] };
        assert_eq!(changed_tokens(&chosen, &rejected, 3), changed);
    }

    #[test]
    fn what_was_only_put_in_is_not_changed() {
        assert_eq!(changed_tokens(&[1, 2, 3, 9, 9, 4, 5, 6], &[1, 2, 3, 4, 5, 6], 3), Changed::default());
    }

    #[test]
    fn short_matches_do_not_interrupt_a_change() {
        let chosen = [1, 2, 3, 40, 5, 41, 7, 8, 9];
        let rejected = [1, 2, 3, 50, 5, 51, 7, 8, 9];
        assert_eq!(changed_tokens(&chosen, &rejected, 3).chosen, [3, 4, 5]);
        assert_eq!(changed_tokens(&chosen, &rejected, 1).chosen, [3, 5]);
    }
}
