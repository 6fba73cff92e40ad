//! What the lines of `metrics.jsonl` and `quarantine.jsonl` add up to, and what `bad_batch.json` says.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::lines::each_line;
use crate::metrics::{Metric, SKIPPED};

/// How the lines of `metrics.jsonl` stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MetricsState {
    /// Lines that can be read.
    pub lines: u64,
    /// Lines that cannot, the last one aside.
    pub unreadable: u64,
    /// Whether the last line is cut off, as a kill leaves it.
    pub torn: bool,
    /// Lines of a step before that of the line above.
    pub out_of_order: u64,
    /// Steps between which lines are missing: those around a gap that is larger than the one before it and the one behind.
    pub gaps: Vec<(u64, u64)>,
    /// The last step of training, one that was passed over included.
    pub last_step: Option<u64>,
    /// Steps that were no update, since their numbers went wrong.
    pub faults: u64,
}

impl MetricsState {
    pub(super) fn read(run_dir: &Path) -> std::io::Result<Option<Self>> {
        let mut state = Self::default();
        let mut before = 0;
        let mut trained = Rhythm::default();
        let is_there = each_line(&run_dir.join("metrics.jsonl"), |line, is_whole| {
            let metric = serde_json::from_slice::<Metric>(line).ok();
            match &metric {
                // After one the run may go back to a checkpoint.
                Some(Metric::Fault(report)) => {
                    state.lines += 1;
                    state.faults += 1;
                    trained.begin_anew();
                    if report.remedy == SKIPPED {
                        state.last_step = Some(report.step);
                    }
                }
                Some(metric) => {
                    state.lines += 1;
                    state.out_of_order += u64::from(metric.step() < before);
                    before = metric.step();
                }
                None if is_whole => state.unreadable += 1,
                None => state.torn = true,
            }
            if let Some(Metric::Train(report)) = metric {
                state.last_step = Some(report.step);
                trained.reached(report.step, &mut state.gaps);
            }
        })?;
        Ok(is_there.then_some(state))
    }
}

/// The last steps of lines, of those since the order was last broken: what is regular shows without knowing how often
/// lines were to be written, which may change from one start to the next.
#[derive(Debug, Default)]
struct Rhythm {
    last: Vec<u64>,
}

impl Rhythm {
    fn begin_anew(&mut self) {
        self.last.clear();
    }

    fn reached(&mut self, step: u64, gaps: &mut Vec<(u64, u64)>) {
        if self.last.last().is_some_and(|last| *last >= step) {
            self.begin_anew();
        }
        self.last.push(step);
        if let [first, from, to, last] = *self.last {
            if gaps.len() < MOST_GAPS && to - from > (from - first).max(last - to) {
                gaps.push((from, to));
            }
            self.last.remove(0);
        }
    }
}

/// Gaps that are named; a file that is none may have any number.
const MOST_GAPS: usize = 20;

/// Samples that were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QuarantineState {
    /// How many, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Lines that cannot be read.
    pub unreadable: u64,
}

/// What of a line is counted.
#[derive(Debug, Deserialize)]
struct Reason {
    reason: String,
}

impl QuarantineState {
    /// That of a run, which may have left none out.
    pub fn read(run_dir: &Path) -> std::io::Result<Self> {
        let mut state = Self::default();
        each_line(&run_dir.join("quarantine.jsonl"), |line, _| match serde_json::from_slice::<Reason>(line) {
            Ok(Reason { reason }) => *state.reasons.entry(reason).or_default() += 1,
            Err(_) => state.unreadable += 1,
        })?;
        Ok(state)
    }

    /// All samples that were left out.
    pub fn samples(&self) -> u64 {
        self.reasons.values().sum()
    }
}

impl fmt::Display for QuarantineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.samples())?;
        self.reasons.iter().try_for_each(|(reason, count)| write!(f, ", {reason} {count}"))
    }
}

/// What `bad_batch.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum BadBatchState {
    /// A step.
    Read(BadBatch),
    /// Nothing that could be read.
    Unreadable {
        /// Why not.
        unreadable: String,
    },
}

/// A step whose loss or gradient was not finite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadBatch {
    /// The step that was not made.
    pub step: u64,
    /// `loss` or `gradient norm`.
    pub what: String,
    /// Its samples.
    pub samples: usize,
}

/// As the loop writes it.
#[derive(Debug, Deserialize)]
struct StoredBadBatch {
    step: u64,
    what: String,
    samples: Vec<serde_json::Value>,
}

impl BadBatchState {
    /// None where there is no such file.
    pub(super) fn read(run_dir: &Path) -> Option<Self> {
        let bytes = match fs::read(run_dir.join("bad_batch.json")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return Some(Self::Unreadable { unreadable: error.to_string() }),
        };
        Some(match serde_json::from_slice(&bytes) {
            Ok(StoredBadBatch { step, what, samples }) => Self::Read(BadBatch { step, what, samples: samples.len() }),
            Err(error) => Self::Unreadable { unreadable: error.to_string() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{FaultReport, REWOUND};

    fn eval(step: u64) -> String {
        format!("{{\"kind\":\"eval\",\"step\":{step},\"name\":\"x\",\"values\":{{}}}}\n")
    }

    #[test]
    fn lines_are_counted_by_whether_they_can_be_read_and_are_in_order() {
        let run = tempfile::tempdir().expect("temp dir");
        assert_eq!(MetricsState::read(run.path()).expect("readable"), None);
        let fault =
            r#"{"kind":"fault","step":9,"what":"loss","value":"NaN","remedy":"rewind","passed_over":0,"rewinds":1}"#;
        let fault = format!("{fault}\n");
        let text = [eval(2), eval(4), "no JSON\n".into(), fault, eval(3), "{\"kind\":\"ev".into()].concat();
        fs::write(run.path().join("metrics.jsonl"), text).expect("written");
        let state = MetricsState::read(run.path()).expect("readable").expect("there");
        let expected = MetricsState {
            lines: 4,
            unreadable: 1,
            torn: true,
            out_of_order: 1,
            gaps: Vec::new(),
            last_step: None,
            faults: 1,
        };
        assert_eq!(state, expected);
    }

    #[test]
    fn a_gap_larger_than_those_around_it_is_seen_whatever_the_rhythm() {
        let gaps_of = |steps: &[u64]| {
            let (mut rhythm, mut gaps) = (Rhythm::default(), Vec::new());
            for &step in steps {
                rhythm.reached(step, &mut gaps);
            }
            gaps
        };
        assert_eq!(gaps_of(&[1, 2, 4, 5]), [(2, 4)]);
        assert_eq!(gaps_of(&[10, 20, 30, 70, 80, 90, 110, 120]), [(30, 70), (90, 110)]);
        // Written more and less often, the end, steps that were made once more.
        for regular in
            [&[10, 20, 21, 22][..], &[1, 2, 10, 20, 30], &[10, 20, 30, 33], &[1, 2, 3, 2, 3, 4], &[7, 9], &[]]
        {
            assert_eq!(gaps_of(regular), [], "{regular:?}");
        }
        assert_eq!(gaps_of(&(0..200).map(|k| 10 * k + k % 2).collect::<Vec<_>>()).len(), MOST_GAPS);
    }

    #[test]
    fn a_step_that_was_passed_over_was_made_and_one_that_was_gone_back_from_was_not() {
        let run = tempfile::tempdir().expect("temp dir");
        for (remedy, last_step) in [(SKIPPED, Some(8)), (REWOUND, None)] {
            let (what, value) = ("loss".into(), "NaN".into());
            let fault = FaultReport { step: 8, what, value, remedy: remedy.into(), passed_over: 1, rewinds: 0 };
            let line = serde_json::to_string(&Metric::Fault(fault)).expect("JSON");
            fs::write(run.path().join("metrics.jsonl"), format!("{line}\n")).expect("written");
            let state = MetricsState::read(run.path()).expect("readable").expect("there");
            assert_eq!((state.last_step, state.faults), (last_step, 1));
        }
    }

    #[test]
    fn samples_left_out_are_counted_by_reason() {
        let run = tempfile::tempdir().expect("temp dir");
        assert_eq!(QuarantineState::read(run.path()).expect("readable"), QuarantineState::default());
        let lines = "{\"reason\":\"a\",\"key\":\"1\"}\n{\"reason\":\"b\"}\n\u{1b}\n{\"reason\":\"a\"}\n";
        fs::write(run.path().join("quarantine.jsonl"), lines).expect("written");
        let state = QuarantineState::read(run.path()).expect("readable");
        assert_eq!((state.reasons["a"], state.reasons["b"], state.unreadable, state.samples()), (2, 1, 1, 3));
    }

    #[test]
    fn a_bad_batch_is_read_as_the_loop_writes_it() {
        let run = tempfile::tempdir().expect("temp dir");
        assert_eq!(BadBatchState::read(run.path()), None);
        let text = r#"{ "step": 7, "what": "loss", "value": "NaN", "samples": [{ "index": 1 }, { "index": 2 }] }"#;
        fs::write(run.path().join("bad_batch.json"), text).expect("written");
        let read = BadBatch { step: 7, what: "loss".into(), samples: 2 };
        assert_eq!(BadBatchState::read(run.path()), Some(BadBatchState::Read(read)));
        fs::write(run.path().join("bad_batch.json"), &text[..20]).expect("written");
        assert!(matches!(BadBatchState::read(run.path()), Some(BadBatchState::Unreadable { .. })));
    }
}
