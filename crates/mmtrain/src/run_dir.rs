//! Run directories: names, what is in them, which one is meant.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use mmtrain_train::checkpoint::{steps, write_atomically};
use serde::{Deserialize, Serialize};

use crate::fail::Refusal;

/// Where runs are made unless told otherwise.
pub(crate) const RUNS: &str = "checkpoints";

/// `run.json`: written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    /// Version of this file.
    pub(crate) format_version: u32,
    /// `pretrain`, `sft` or `dpo`.
    pub(crate) stage: String,
    /// Seconds since 1970 when the run began.
    pub(crate) started: u64,
    /// What it started from, if not from its configuration alone.
    pub(crate) init: Option<PathBuf>,
}

impl RunInfo {
    /// For a run that begins now.
    pub(crate) fn new(stage: &str, init: Option<&Path>) -> Self {
        Self { format_version: 1, stage: stage.to_owned(), started: now(), init: init.map(Path::to_owned) }
    }

    /// Reads a run's file.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(dir.join("run.json")).ok()?).ok()
    }

    /// Writes it.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        Ok(write_atomically(&dir.join("run.json"), serde_json::to_string_pretty(self)?.as_bytes())?)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A directory for a new run: `checkpoints/STAGE-NAME`, numbered if that is taken.
pub(crate) fn fresh(stage: &str, config: Option<&str>) -> PathBuf {
    let name = config.map(Path::new).and_then(Path::file_stem).map_or("run".into(), |stem| stem.to_string_lossy());
    let base = Path::new(RUNS).join(format!("{stage}-{name}"));
    let mut path = base.clone();
    let mut number = 1;
    while path.exists() {
        number += 1;
        path = base.with_file_name(format!("{stage}-{name}-{number}"));
    }
    path
}

/// The newest run of a stage.
pub(crate) fn newest(stage: &str) -> anyhow::Result<PathBuf> {
    let mut runs = Vec::new();
    if Path::new(RUNS).is_dir() {
        for entry in fs::read_dir(RUNS)? {
            let path = entry?.path();
            runs.extend(RunInfo::read(&path).filter(|info| info.stage == stage).map(|info| (info.started, path)));
        }
    }
    runs.into_iter().max().map(|(_, path)| path).ok_or_else(|| {
        let hint = format!("start one with `mmtrain {stage} --config …`, or name its directory: `--resume DIR`");
        Refusal::usage(format!("no {stage} run in `{RUNS}/` to go on with"), hint).into()
    })
}

/// Refuses to write into a directory that holds checkpoints, unless it is resumed.
pub(crate) fn refuse_overwrite(dir: &Path) -> anyhow::Result<()> {
    if steps(dir)?.is_empty() && !dir.join("config.toml").exists() {
        return Ok(());
    }
    let shown = dir.display();
    let hint = format!("go on with `--resume {shown}`, or choose another `--run-dir`");
    Err(Refusal::storage(format!("`{shown}` already holds a run"), hint).into())
}
