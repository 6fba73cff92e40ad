//! Which checkpoints may go.

/// Steps to delete so that the newest `keep` remain; 0 keeps all. `steps` ascend.
pub fn retain(steps: &[u64], keep: usize) -> Vec<u64> {
    if keep == 0 {
        return Vec::new();
    }
    steps[..steps.len().saturating_sub(keep)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        assert_eq!(retain(&[100, 200, 300], 2), [100]);
        assert_eq!(retain(&[100, 200, 300], 5), [0; 0]);
        assert_eq!(retain(&[100, 200, 300], 0), [0; 0]);
        assert_eq!(retain(&[], 1), [0; 0]);
    }
}
