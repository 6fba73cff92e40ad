//! Which checkpoints may go.

/// Steps to delete so that the newest `keep` and the best remain; 0 keeps all. `steps` ascend.
pub fn retain(steps: &[u64], keep: usize, best: Option<u64>) -> Vec<u64> {
    if keep == 0 {
        return Vec::new();
    }
    let old = &steps[..steps.len().saturating_sub(keep)];
    old.iter().copied().filter(|step| Some(*step) != best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        assert_eq!(retain(&[100, 200, 300], 2, None), [100]);
        assert_eq!(retain(&[100, 200, 300], 5, None), [0; 0]);
        assert_eq!(retain(&[100, 200, 300], 0, None), [0; 0]);
        assert_eq!(retain(&[], 1, None), [0; 0]);
    }

    #[test]
    fn the_best_stays_however_old_it_is() {
        assert_eq!(retain(&[100, 200, 300], 1, Some(100)), [200]);
        assert_eq!(retain(&[100, 200, 300], 1, Some(300)), [100, 200]);
    }
}
