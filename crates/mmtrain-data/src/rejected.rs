//! The samples that were found unusable, so that no later epoch tries them again.
//!
//! Whether a sample can be used follows from its bytes, so the answer is the same each time; but finding
//! it out again costs a decoding, or the waits of a read that fails thrice. A process that resumes a run
//! knows nothing and finds out anew, with the same result.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::sample::Skip;

/// Source in the mixture, and index in the source.
type Place = (usize, usize);

/// Why samples were left out, by their place; shared by the workers of a loader.
#[derive(Debug, Default)]
pub(crate) struct Rejected(RwLock<HashMap<Place, Skip>>);

impl Rejected {
    /// What `work` makes of the sample at `place`, or why it failed there before.
    pub(crate) fn or_try<T>(&self, place: Place, work: impl FnOnce() -> Result<T, Skip>) -> Result<T, Skip> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        if let Some(skip) = known {
            return Err(skip);
        }
        work().inspect_err(|skip| {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(place, skip.clone());
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::SampleId;

    fn skip(index: usize) -> Skip {
        let id = SampleId { source: "s".into(), shard: "a.tar".into(), key: "0".into(), index };
        Skip { id, reason: "x".into(), detail: "why".into() }
    }

    #[test]
    fn what_failed_is_not_tried_again_and_what_succeeded_is() {
        let rejected = Rejected::default();
        let mut tries = 0;
        for _ in 0..3 {
            let outcome = rejected.or_try::<()>((0, 7), || {
                tries += 1;
                Err(skip(7))
            });
            let again = outcome.expect_err("bad");
            assert_eq!((again.id.index, &*again.reason, &*again.detail), (7, "x", "why"));
        }
        assert_eq!(tries, 1);
        // Another source, the same index.
        assert_eq!(rejected.or_try((1, 7), || Ok(1)), Ok(1));
        assert_eq!(rejected.or_try((1, 7), || Ok(2)), Ok(2));
    }
}
