//! `metrics.jsonl`: one JSON object per line, without gaps or repeats however often a run is interrupted.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::checkpoint::write_atomically_with;
use crate::lines::{Lines, each_line};

/// What one optimizer step reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps made, this one included.
    pub step: u64,
    /// Epochs begun, with fraction.
    pub epoch: f64,
    /// Mean negative log-likelihood per supervised token.
    pub loss: f64,
    /// Learning rate per trained part.
    pub lr: BTreeMap<String, f64>,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Supervised tokens of the step.
    pub supervised_tokens: u64,
    /// Samples of the step.
    pub samples: u64,
    /// All tokens that ran through the decoder per second, fill included, since the last line.
    pub tokens_per_sec: f64,
    /// Samples per second since the last line.
    pub samples_per_sec: f64,
    /// Share of the time since the last line that was spent waiting for data, 0 to 1.
    pub data_wait: f64,
    /// Seconds per step since the last line.
    pub step_secs: f64,
    /// Resident memory of the process.
    pub mem_bytes: u64,
    /// Share of all tokens since the last line that were fill, 0 to 1.
    #[serde(default)]
    pub padding: f64,
    /// Samples left out so far in this process.
    pub skipped: u64,
    /// Samples that were made to fit so far in this process, by what was done to them.
    #[serde(default)]
    pub fitted: BTreeMap<String, u64>,
    /// What else the objective measures, by name: `rewards/margins`, …
    #[serde(flatten)]
    pub values: BTreeMap<String, f64>,
}

/// What one evaluation reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalReport {
    /// Steps made before it.
    pub step: u64,
    /// What was evaluated.
    pub name: String,
    /// Results by name, such as `loss`.
    pub values: BTreeMap<String, f64>,
    /// Held-out samples that could not be used.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// [`FaultReport::remedy`] of a step that counts without an update.
pub const SKIPPED: &str = "skip";
/// [`FaultReport::remedy`] of a step from which the run goes back.
pub const REWOUND: &str = "rewind";

/// A step that was no update, since its numbers went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// The step.
    pub step: u64,
    /// `loss` or `gradient norm`.
    pub what: String,
    /// Its value, which may be none that JSON has.
    pub value: String,
    /// [`SKIPPED`] or [`REWOUND`].
    pub remedy: String,
    /// Steps without an update so far.
    pub passed_over: u64,
    /// Times that the run went back so far.
    pub rewinds: u64,
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Metric {
    /// A training step.
    Train(StepReport),
    /// An evaluation.
    Eval(EvalReport),
    /// A step that was no update.
    Fault(FaultReport),
}

impl Metric {
    /// Steps made when it was written.
    pub fn step(&self) -> u64 {
        match self {
            Self::Train(report) => report.step,
            Self::Eval(report) => report.step,
            Self::Fault(report) => report.step,
        }
    }
}

/// Appends lines; on opening, lines after the step from which the run goes on are dropped.
#[derive(Debug)]
pub struct MetricsLog {
    lines: Lines,
    /// Whether there is an evaluation of the very step from which the run goes on.
    pub(crate) is_evaluated: bool,
}

impl MetricsLog {
    /// Opens `metrics.jsonl` of a run that goes on from `step`: later lines and a torn last line are
    /// dropped, since those steps are made again. So are lines that cannot be read, with a warning that counts them.
    pub fn open(run_dir: &Path, step: u64) -> std::io::Result<Self> {
        let path = path(run_dir);
        let kept = Kept::of(&path, step)?;
        if kept.unreadable > 0 {
            tracing::warn!("`metrics.jsonl` has {} line(s) that cannot be read: they are left out", kept.unreadable);
        }
        if !kept.is_first {
            write_atomically_with(&path, |file| write_kept(&path, step, file))?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        if kept.is_first && file.metadata()?.len() > kept.bytes {
            file.set_len(kept.bytes)?;
            file.sync_data()?;
        }
        Ok(Self { lines: Lines::new(file), is_evaluated: kept.is_evaluated })
    }

    /// Appends one line, or keeps it until there is room.
    pub fn write(&mut self, metric: &Metric) -> std::io::Result<()> {
        self.lines.add(&serde_json::to_vec(metric)?)
    }

    /// Makes all lines durable.
    pub fn sync(&mut self) -> std::io::Result<()> {
        self.lines.sync()
    }
}

/// What of a log is up to a step.
struct Kept {
    /// Whether those lines are the first ones, so that the log need only be cut behind them, for which a full disk has room.
    is_first: bool,
    /// Bytes of the first of those lines.
    bytes: u64,
    /// Whether there is an evaluation of that very step.
    is_evaluated: bool,
    /// Whole lines that say nothing.
    unreadable: u64,
}

impl Kept {
    fn of(log: &Path, step: u64) -> std::io::Result<Self> {
        let (mut kept, mut is_behind) = (Self { is_first: true, bytes: 0, is_evaluated: false, unreadable: 0 }, false);
        each_line(log, |line, is_whole| match serde_json::from_slice::<Metric>(line) {
            Ok(metric) if metric.step() <= step => {
                kept.is_first &= is_whole && !is_behind;
                kept.bytes += line.len() as u64 + 1;
                kept.is_evaluated |= matches!(&metric, Metric::Eval(report) if report.step == step);
            }
            read => {
                kept.unreadable += u64::from(read.is_err() && is_whole);
                is_behind = true;
            }
        })?;
        Ok(kept)
    }
}

/// Whether a line says something of a step up to this one.
fn is_up_to(step: u64, line: &[u8]) -> bool {
    serde_json::from_slice::<Metric>(line).is_ok_and(|metric| metric.step() <= step)
}

/// Writes the lines of a log up to a step as they stand: a number that is read and written again may change its last digit.
fn write_kept(log: &Path, step: u64, file: &mut dyn Write) -> std::io::Result<()> {
    let (mut file, mut written) = (BufWriter::new(file), Ok(()));
    each_line(log, |line, _| {
        if written.is_ok() && is_up_to(step, line) {
            written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        }
    })?;
    written.and_then(|()| file.flush())
}

/// All complete lines of a run's metrics; none where there is no file.
pub fn read(run_dir: &Path) -> std::io::Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    each_line(&path(run_dir), |line, _| metrics.extend(serde_json::from_slice::<Metric>(line)))?;
    Ok(metrics)
}

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("metrics.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(step: u64) -> Metric {
        Metric::Eval(EvalReport {
            step,
            name: "held_out".into(),
            values: BTreeMap::from([("loss".into(), 0.5)]),
            skipped: 0,
        })
    }

    #[test]
    fn reopening_drops_later_torn_and_damaged_lines() {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut log = MetricsLog::open(dir.path(), 0).expect("opens");
        for step in [10, 20, 30] {
            log.write(&eval(step)).expect("writes");
        }
        drop(log);
        let append = |bytes: &[u8]| {
            let mut file = fs::OpenOptions::new().append(true).open(path(dir.path())).expect("opens");
            file.write_all(bytes).expect("writes");
        };
        let whole = |step| [serde_json::to_vec(&eval(step)).expect("JSON"), b"\n".to_vec()].concat();
        append(b"\xff\xfe\n{\"kind\":\"ev");
        assert!(!MetricsLog::open(dir.path(), 25).expect("opens").is_evaluated);
        let mut log = MetricsLog::open(dir.path(), 20).expect("opens");
        assert!(log.is_evaluated);
        log.write(&eval(30)).expect("writes");
        let kept = || fs::read(path(dir.path())).expect("reads");
        let three = [10, 20, 30].map(whole).concat();
        assert_eq!(kept(), three);
        // Damage in the middle, and a last line that lacks nothing but its end.
        append(&[b"\xff\n".to_vec(), whole(40)].concat());
        let len = kept().len() as u64;
        fs::OpenOptions::new().write(true).open(path(dir.path())).expect("opens").set_len(len - 1).expect("cut");
        drop(MetricsLog::open(dir.path(), 40).expect("opens"));
        assert_eq!(kept(), [three, whole(40)].concat());
    }

    #[test]
    fn going_back_takes_no_room() {
        use std::os::unix::fs::MetadataExt;

        let dir = tempfile::tempdir().expect("temp dir");
        let file = || fs::metadata(path(dir.path())).expect("it is there").ino();
        let mut log = MetricsLog::open(dir.path(), 0).expect("opens");
        let first = file();
        (1..=9).for_each(|step| log.write(&eval(step)).expect("writes"));
        let mut log = MetricsLog::open(dir.path(), 4).expect("opens");
        log.write(&eval(5)).expect("writes");
        let steps = read(dir.path()).expect("reads").iter().map(Metric::step).collect::<Vec<_>>();
        assert_eq!((steps, file()), (vec![1, 2, 3, 4, 5], first), "the same file");
    }
}
