//! Bad samples against the ceiling that the configuration sets.

use std::collections::{BTreeMap, HashSet};

use crate::DataError;
use crate::sample::{SampleId, Skip};

/// How many samples an error about bad ones names.
const NAMED_SKIPS: usize = 5;

/// Counts bad samples against the ceiling.
pub(crate) struct Ledger {
    total: usize,
    epoch_len: u64,
    allowed: usize,
    seen: HashSet<SampleId>,
    reasons: BTreeMap<String, usize>,
    first: Vec<SampleId>,
    /// Bad positions since the last good one.
    in_a_row: u64,
}

impl Ledger {
    pub(crate) fn new(total: usize, epoch_len: u64, max_skip_ratio: f64) -> Self {
        let allowed = if max_skip_ratio > 0.0 { ((max_skip_ratio * total as f64) as usize).max(1) } else { 0 };
        Self {
            total,
            epoch_len,
            allowed,
            seen: HashSet::new(),
            reasons: BTreeMap::new(),
            first: Vec::new(),
            in_a_row: 0,
        }
    }

    pub(crate) fn note_good(&mut self) {
        self.in_a_row = 0;
    }

    pub(crate) fn note_bad(&mut self, skip: &Skip) -> Result<(), DataError> {
        self.in_a_row += 1;
        if self.seen.insert(skip.id.clone()) {
            *self.reasons.entry(skip.reason.clone()).or_default() += 1;
            if self.first.len() < NAMED_SKIPS {
                self.first.push(skip.id.clone());
            }
        }
        let (total, reasons, first) = (self.total, self.reasons.clone(), self.first.clone());
        if self.seen.len() > self.allowed {
            let (skipped, allowed) = (self.seen.len(), self.allowed);
            return Err(DataError::TooManySkips { skipped, total, allowed, reasons, first });
        }
        // A good sample may come first in one epoch and last in the next.
        if self.in_a_row >= 2 * self.epoch_len {
            return Err(DataError::NothingUsable { total, reasons, first });
        }
        Ok(())
    }
}
