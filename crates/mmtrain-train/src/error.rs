//! What stops a training run.

use std::path::PathBuf;

use mmtrain_data::{DataError, SampleId};
use mmtrain_model::ModelError;

use crate::checkpoint::{Fault, Rejected};
use crate::lines::is_full;

/// Failures of this crate.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be built or loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A loss or gradient that is no number.
    #[error("step {step}: {what} is {value}{}; nothing was updated. Samples: {}", far_above(*value), some_of(samples))]
    NonFinite {
        /// The step that was being made.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f32,
        /// The samples of the step.
        samples: Vec<SampleId>,
    },
    /// A tensor that is not all numbers, in what was to be saved.
    #[error("step {step}: `{tensor}` holds a value that is not finite; this checkpoint is not written")]
    Poisoned {
        /// The step that was to be saved.
        step: u64,
        /// Name of the tensor.
        tensor: String,
    },
    /// There is nothing to go back to.
    #[error("step {step}: {what} is {value}, and there is no checkpoint yet to go back to")]
    NoWayBack {
        /// The step that was being made.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// What is frozen changed, or what is trained did not.
    #[error("step {step}: {} tensors {what}: {}", names.len(), some_of(names))]
    Unverified {
        /// The step that was made.
        step: u64,
        /// What they did, and should not have done.
        what: &'static str,
        /// All of them.
        names: Vec<String>,
    },
    /// The run directory belongs to another process.
    #[error("run directory `{path}` is in use by another process ({holder})")]
    InUse {
        /// The run directory.
        path: PathBuf,
        /// What the lock file says.
        holder: String,
    },
    /// Checkpoints are there, but none can be trusted.
    #[error("no usable checkpoint in `{path}`: {}", all_of(rejected))]
    NoGoodCheckpoint {
        /// The run directory.
        path: PathBuf,
        /// Every candidate with the reason against it.
        rejected: Vec<Rejected>,
    },
    /// A file of a run that does not say what it should.
    #[error("`{path}`: {message}")]
    Corrupt {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The answers of a pair cannot be compared.
    #[error("preference: {0}")]
    Preference(#[from] mmtrain_preference::PreferenceError),
    /// The data of the run are not what they were.
    #[error("the data changed since this run began: {0}")]
    DataChanged(String),
    /// `checkpoint.best` goes by what no evaluation of the run measures.
    #[error("`checkpoint.best.metric`: evaluations of this run have no `{metric}`; they have {}", there.join(", "))]
    NoSuchMetric {
        /// What was asked for.
        metric: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Saving failed.
    #[error("saving step {step} failed: {message}")]
    Save {
        /// The step.
        step: u64,
        /// Why.
        message: String,
    },
    /// A stop was asked for in the midst of something that was therefore dropped.
    #[error("interrupted")]
    Interrupted,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl TrainError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::NonFinite { .. } => Some(
                "look at these samples with `mmtrain data show`, or lower the learning rate; \
                 `bad_batch.json` in the run directory names them all"
                    .into(),
            ),
            Self::Poisoned { .. } => Some(
                "earlier checkpoints are untouched: go on from them with a lower learning rate, or look for what happened in \
                 `metrics.jsonl`"
                    .into(),
            ),
            Self::NoWayBack { .. } => Some("save more often (`checkpoint.every`), or `train.guard.non_finite = \"skip\"`".into()),
            Self::InUse { .. } => Some("wait for it to end, or choose another `--run-dir`".into()),
            Self::NoGoodCheckpoint { rejected, .. } => Some(what_to_do(rejected).into()),
            Self::DataChanged(_) => Some("restore the data, or start a new run from this one with `--init`".into()),
            Self::Save { .. } => {
                Some("earlier checkpoints are untouched; free space or permissions, then `--resume`".into())
            }
            Self::NoSuchMetric { .. } => Some(
                "the run is saved: go on with `--resume` and `--set checkpoint.best.metric=…`, which changes nothing else"
                    .into(),
            ),
            Self::Preference(error) => error.hint().map(str::to_owned),
            Self::Io(error) if is_full(error) => Some("free some space, then `--resume`".into()),
            Self::Unverified { .. } => Some(
                "this is a fault of mmtrain, unless `train.*.tuning` has a learning rate too small for f32; nothing was saved"
                    .into(),
            ),
            Self::Corrupt { .. } | Self::Interrupted | Self::Io(_) => None,
        }
    }
}

/// A spike is a number.
fn far_above(value: f32) -> &'static str {
    if value.is_finite() { ", far above the steps before" } else { "" }
}

/// The first few, and how many more there are.
fn some_of<T: ToString>(things: &[T]) -> String {
    const SHOWN: usize = 4;
    let mut names = things.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>();
    if things.len() > SHOWN {
        names.push(format!("… ({} more)", things.len() - SHOWN));
    }
    names.join(", ")
}

/// All of them with their reasons.
fn all_of(rejected: &[Rejected]) -> String {
    rejected.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Where no checkpoint is good, by the reasons.
fn what_to_do(rejected: &[Rejected]) -> &'static str {
    let any = |of_this_kind: fn(&Fault) -> bool| rejected.iter().any(|candidate| of_this_kind(&candidate.fault));
    if any(|fault| matches!(fault, Fault::OtherRun)) {
        "where these are checkpoints of this run, `run.json` is what is damaged: remove it, they name their run themselves; nothing was deleted"
    } else if any(|fault| matches!(fault, Fault::Denied(_))) {
        "see that they may be read; nothing was deleted"
    } else {
        "start anew in another `--run-dir`; nothing was deleted"
    }
}
