//! Names as the real sets have them.

use crate::{Split, output::Output};

/// Eleven characters as `YouTube` has them, another one for each number; some begin with `-` or `_`.
pub(crate) fn youtube_id(number: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    /// Odd, so that no two numbers have the same product.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let bits = (number as u64 + 1).wrapping_mul(SPREAD);
    (0..11).map(|place| char::from(LETTERS[(bits.rotate_right(place * 6 + 2) & 63) as usize])).collect()
}

/// Samples of all splits in one row: those that are held out come after the others.
pub(crate) fn number_in_all(output: &Output<'_>, split: Split, index: usize) -> usize {
    match split {
        Split::Train => index,
        Split::Validation => output.options.samples + index,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn youtube_ids_differ_and_some_begin_with_a_dash() {
        let ids: BTreeSet<_> = (0..20_000).map(youtube_id).collect();
        assert_eq!(ids.len(), 20_000);
        assert!(ids.iter().any(|id| id.starts_with('-')) && ids.iter().all(|id| id.len() == 11));
    }
}
