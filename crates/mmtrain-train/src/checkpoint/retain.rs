//! Which checkpoints may go.

/// Steps to delete so that the newest `keep` good ones and the best remain; 0 keeps all. `committed` is the step that was just saved,
/// and good. `steps` ascend.
///
/// Only what is older than `keep` good checkpoints goes: one that is damaged stands in for none, and is asked for with `is_good`
/// before it is counted. What is newer than `committed` did not verify when the run went on from an older one, so it is neither
/// counted nor deleted.
pub fn retain(
    steps: &[u64],
    committed: u64,
    keep: usize,
    best: Option<u64>,
    mut is_good: impl FnMut(u64) -> bool,
) -> Vec<u64> {
    if keep == 0 {
        return Vec::new();
    }
    let mut good = 1;
    let older = steps.iter().rev().copied().filter(|step| *step < committed);
    let old = older.filter(|step| {
        let goes = good >= keep;
        good += usize::from(!goes && is_good(*step));
        goes
    });
    let mut old = old.filter(|step| Some(*step) != best).collect::<Vec<_>>();
    old.reverse();
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_good(steps: &[u64], keep: usize, best: Option<u64>) -> Vec<u64> {
        retain(steps, steps.last().copied().unwrap_or(0), keep, best, |_| true)
    }

    #[test]
    fn keeps_the_newest() {
        assert_eq!(all_good(&[100, 200, 300], 2, None), [100]);
        assert_eq!(all_good(&[100, 200, 300], 5, None), [0; 0]);
        assert_eq!(all_good(&[100, 200, 300], 0, None), [0; 0]);
        assert_eq!(all_good(&[], 1, None), [0; 0]);
    }

    #[test]
    fn the_best_stays_however_old_it_is() {
        assert_eq!(all_good(&[100, 200, 300], 1, Some(100)), [200]);
        assert_eq!(all_good(&[100, 200, 300], 1, Some(300)), [100, 200]);
    }

    #[test]
    fn a_damaged_one_stands_in_for_none() {
        let steps = [100, 200, 300, 400, 500];
        assert_eq!(retain(&steps, 500, 2, None, |step| step != 400), [100, 200], "500 and 300");
        assert_eq!(retain(&steps, 500, 3, None, |step| step > 400), [0; 0], "nothing good is older");
        assert_eq!(retain(&steps, 500, 1, None, |_| false), [100, 200, 300, 400], "the new one is good");
    }

    #[test]
    fn what_is_newer_is_neither_counted_nor_deleted() {
        assert_eq!(retain(&[100, 200, 300, 400], 200, 1, None, |_| true), [100]);
        assert_eq!(retain(&[100, 200, 300, 400], 200, 2, None, |_| true), [0; 0]);
    }
}
