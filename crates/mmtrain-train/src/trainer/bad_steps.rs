//! `bad_steps.jsonl`: each step that was passed over or gone back from, with its samples.

use std::path::{Path, PathBuf};

use fs_err as fs;
use mmtrain_data::SampleId;
use serde_json::Value;

use crate::checkpoint::write_atomically_with;
use crate::lines::{Lines, each_line};
use crate::metrics::FaultReport;

/// The list, which is there from its first line on.
pub(super) struct BadSteps {
    path: PathBuf,
    lines: Option<Lines>,
}

impl BadSteps {
    /// Of a run that goes on behind `step`: what it is going to make again is written down again.
    pub(super) fn open(run_dir: &Path, step: u64) -> std::io::Result<Self> {
        let path = run_dir.join("bad_steps.jsonl");
        let (mut kept, mut dropped) = (Vec::new(), false);
        each_line(&path, |line, _| {
            if is_behind(line, step) {
                dropped = true;
            } else {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        })?;
        if dropped {
            write_atomically_with(&path, |file| file.write_all(&kept))?;
        }
        Ok(Self { path, lines: None })
    }

    /// One line more: what was wrong, and the samples of the step.
    pub(super) fn add(&mut self, report: &FaultReport, samples: &[SampleId]) -> std::io::Result<()> {
        let mut line = serde_json::to_value(report)?;
        line["samples"] = serde_json::to_value(samples)?;
        if self.lines.is_none() {
            self.lines = Some(Lines::new(fs::OpenOptions::new().create(true).append(true).open(&self.path)?));
        }
        self.lines.as_mut().map_or(Ok(()), |lines| lines.add(line.to_string().as_bytes()))
    }

    /// Makes all lines durable.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        self.lines.as_mut().map_or(Ok(()), Lines::sync)
    }
}

/// A line that cannot be read is none of those.
fn is_behind(line: &[u8], step: u64) -> bool {
    let value = serde_json::from_slice::<Value>(line).unwrap_or_default();
    value["step"].as_u64().is_some_and(|of_line| of_line > step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: u64) -> FaultReport {
        FaultReport {
            step,
            what: "loss".into(),
            value: "NaN".into(),
            remedy: "skipped".into(),
            passed_over: 1,
            rewinds: 0,
        }
    }

    #[test]
    fn what_is_made_again_is_written_down_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut list = BadSteps::open(dir.path(), 0).expect("nothing is there");
        assert!(!dir.path().join("bad_steps.jsonl").exists());
        for step in [3, 12, 7] {
            list.add(&report(step), &[]).expect("written");
        }
        list.sync().expect("durable");
        let before = fs::read_to_string(dir.path().join("bad_steps.jsonl")).expect("text");
        BadSteps::open(dir.path(), 12).expect("opened");
        assert_eq!(fs::read_to_string(dir.path().join("bad_steps.jsonl")).expect("text"), before);
        let mut list = BadSteps::open(dir.path(), 10).expect("opened");
        list.add(&report(12), &[]).expect("written");
        let text = fs::read_to_string(dir.path().join("bad_steps.jsonl")).expect("text");
        let steps = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["step"].clone());
        assert_eq!(steps.collect::<Vec<_>>(), [3, 7, 12]);
    }
}
