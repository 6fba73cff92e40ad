//! What state a run is in, read from its directory alone and without changing it, and what to do next.

mod diagnosis;
mod ledgers;

pub use diagnosis::{Advice, ConfigState, Diagnosis, Facts, Finding, Severity, diagnose};
pub use ledgers::{BadBatch, BadBatchState, MetricsState, QuarantineState};

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::checkpoint::{Inspected, Leftover, LockState, Pointer, bytes_below, inspect, leftovers};
use crate::trainer::FINISHED_FILE;

/// Everything in a run's directory that says how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// The run.
    pub path: PathBuf,
    /// Every checkpoint, the oldest first, each verified.
    pub checkpoints: Vec<Inspected>,
    /// What lies beside them.
    pub leftovers: Vec<Leftover>,
    /// `latest`
    pub latest: Pointer,
    /// `best`
    pub best: Pointer,
    /// Who works on it.
    pub lock: LockState,
    /// `metrics.jsonl`, where there is one.
    pub metrics: Option<MetricsState>,
    /// `quarantine.jsonl`
    pub quarantine: QuarantineState,
    /// `bad_batch.json`, where there is one.
    pub bad_batch: Option<BadBatchState>,
    /// The last step, once all were made.
    pub finished: Option<u64>,
    /// Whether files may be written there.
    pub writable: bool,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Survey {
    /// Reads a run's directory; checkpoints are read whole.
    pub fn of(run_dir: &Path) -> std::io::Result<Self> {
        Ok(Self {
            path: run_dir.to_owned(),
            lock: LockState::of(run_dir),
            checkpoints: inspect(run_dir)?,
            leftovers: leftovers(run_dir)?,
            latest: Pointer::read(run_dir, "latest"),
            best: Pointer::read(run_dir, "best"),
            metrics: MetricsState::read(run_dir)?,
            quarantine: QuarantineState::read(run_dir)?,
            bad_batch: BadBatchState::read(run_dir),
            finished: fs::read_to_string(run_dir.join(FINISHED_FILE)).ok().and_then(|text| text.trim().parse().ok()),
            writable: rustix::fs::access(run_dir, rustix::fs::Access::WRITE_OK).is_ok(),
            bytes: bytes_below(run_dir),
        })
    }

    /// The newest checkpoint that verified.
    pub fn newest_good(&self) -> Option<&Inspected> {
        self.checkpoints.iter().rev().find(|checkpoint| checkpoint.is_good())
    }
}
