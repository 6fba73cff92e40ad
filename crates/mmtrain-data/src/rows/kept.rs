//! Decoded blocks of rows that are kept, those that were asked for last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use crate::reading::UNREADABLE;
use crate::sample::Reject;

/// How many are kept, and the bytes of all of them, one block at least.
const BLOCKS: usize = 64;
const BYTES: u64 = 64 << 20;
/// How long a fault of the disk or the network is believed: it may pass, and the next rows of its block need not wait for tries of their own.
const BELIEVED: Duration = Duration::from_secs(1);

/// Rows of a block, or why there are none.
pub(super) type Decoded = Result<Arc<RecordBatch>, Arc<Reject>>;

/// The blocks that are kept, by what they are known by.
pub(super) struct Kept<K>(Mutex<Vec<Block<K>>>);

struct Block<K> {
    key: K,
    bytes: u64,
    decoded: Decoded,
    since: Instant,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K> Block<K> {
    fn is_believed(&self) -> bool {
        self.decoded.as_ref().err().is_none_or(|fault| fault.reason != UNREADABLE) || self.since.elapsed() < BELIEVED
    }
}

impl<K: PartialEq> Kept<K> {
    /// What is known of a block.
    pub(super) fn get(&self, key: &K) -> Option<Decoded> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = blocks.iter().position(|block| block.key == *key)?;
        let block = blocks.remove(place);
        if !block.is_believed() {
            return None;
        }
        let decoded = block.decoded.clone();
        blocks.push(block);
        Some(decoded)
    }

    /// Keeps a block of so many bytes, and forgets others that nobody asked for since. What another thread could read is not forgotten
    /// for a fault.
    pub(super) fn put(&self, key: K, bytes: u64, decoded: Decoded) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if decoded.is_err() && blocks.iter().any(|block| block.key == key && block.decoded.is_ok()) {
            return;
        }
        blocks.retain(|block| block.key != key);
        blocks.push(Block { key, bytes, decoded, since: Instant::now() });
        while blocks.len() > BLOCKS || blocks.len() > 1 && blocks.iter().map(|block| block.bytes).sum::<u64>() > BYTES {
            blocks.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Schema;

    use super::*;

    fn rows() -> Arc<RecordBatch> {
        Arc::new(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    fn fault(reason: &'static str) -> Decoded {
        Err(Arc::new(Reject::new(reason, "why")))
    }

    #[test]
    fn blocks_that_nobody_asked_for_go_first() {
        let kept = Kept::default();
        for key in 0..BLOCKS {
            kept.put(key, 1, Ok(rows()));
        }
        assert!(kept.get(&0).is_some());
        kept.put(BLOCKS, 0, fault("bad_parquet"));
        assert!(kept.get(&1).is_none() && kept.get(&0).is_some() && kept.get(&BLOCKS).expect("known").is_err());
        kept.put(BLOCKS + 1, 2 * BYTES, Ok(rows()));
        assert!(kept.get(&0).is_none() && kept.get(&(BLOCKS + 1)).is_some(), "one is kept however large it is");
    }

    #[test]
    fn a_fault_that_may_pass_is_believed_for_a_moment() {
        let kept = Kept::default();
        let back = |kept: &Kept<i32>| {
            for block in kept.0.lock().expect("no panic before").iter_mut() {
                block.since = block.since.checked_sub(BELIEVED).expect("a moment ago");
            }
        };
        kept.put(1, 0, fault(UNREADABLE));
        kept.put(2, 0, fault("bad_parquet"));
        assert!(kept.get(&1).is_some() && kept.get(&2).is_some());
        back(&kept);
        assert!(kept.get(&1).is_none() && kept.get(&2).is_some());
        kept.put(1, 1, Ok(rows()));
        kept.put(1, 0, fault("bad_parquet"));
        back(&kept);
        assert!(kept.get(&1).expect("known").is_ok());
    }
}
