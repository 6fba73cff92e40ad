//! Checkpoints: directories that are complete or do not exist.
//!
//! ```text
//! step-00000500/   model.safetensors   trained tensors, in the layout of Hugging Face checkpoints
//!                  optim.safetensors   moments, `NAME.exp_avg` and `NAME.exp_avg_sq`, flat
//!                  state.json          counters, cursor, identity of the data and of frozen parts
//!                  adapter_*           adapters as PEFT reads them, where there are some
//!                  …                   config.toml, config.json, tokenizer.json, preprocessor_config.json
//!                  manifest.json       size and blake3 of every file, written last
//! ```
//!
//! A checkpoint is written beside its place, flushed, and renamed. Readers take the newest one that
//! verifies and name those they reject. See `docs/decisions/0005-checkpoint-format.md`.

mod fault;
mod inspect;
mod irregular;
mod lock;
mod manifest;
mod read;
mod retain;
mod write;

pub use fault::{Fault, Rejected};
pub use inspect::{Inspected, Leftover, LeftoverKind, LockState, Pointer, bytes_below, inspect, leftovers};
pub use irregular::{irregular, linked};
pub use lock::{LOCK_FILE, RunLock};
pub use manifest::{FORMAT_VERSION, FileEntry, Manifest, run_id};
pub use read::{Found, LoadedCheckpoint, find_newest, load, verify, verify_of};
pub use retain::retain;
pub(crate) use write::write_atomically_with;
pub use write::{MARGIN, Snapshot, Writer, sweep, write_atomically};

use std::path::{Path, PathBuf};

use mmtrain_config::Quantization;
use mmtrain_data::Cursor;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::params::Part;
use mmtrain_preference::RunningDelta;
use serde::{Deserialize, Serialize};

use crate::best::Best;
use crate::guard::Guarded;
use crate::memory::KeepPlan;

/// The files of a checkpoint without which nothing goes on.
const STATE_FILES: [&str; 3] = ["model.safetensors", "optim.safetensors", "state.json"];

/// Everything the loop would otherwise keep in variables; no random state, only integers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Optimizer steps made.
    pub step: u64,
    /// Where the next step's data begin.
    pub cursor: Cursor,
    /// Samples trained on.
    pub samples: u64,
    /// Supervised tokens trained on.
    pub supervised_tokens: u64,
    /// Fingerprint of each source, by name.
    pub data: Vec<DataIdentity>,
    /// Which blocks keep their graph. Recomputing rounds differently, so a resume does as the run did.
    pub keep: KeepPlan,
    /// Parts of which not all is in `model.safetensors`, and where they are.
    pub frozen: Vec<FrozenPart>,
    /// The mean reward so far, which some losses compare with.
    #[serde(default)]
    pub delta: RunningDelta,
    /// The best evaluation so far, where the run asks for it.
    #[serde(default)]
    pub best: Option<Best>,
    /// What went wrong so far.
    #[serde(default, skip_serializing_if = "Guarded::is_unused")]
    pub guard: Guarded,
}

impl TrainState {
    /// Of a run that begins at `cursor`.
    pub fn new(cursor: Cursor, data: Vec<DataIdentity>, keep: KeepPlan, frozen: Vec<FrozenPart>) -> Self {
        Self {
            step: 0,
            cursor,
            samples: 0,
            supervised_tokens: 0,
            data,
            keep,
            frozen,
            delta: RunningDelta::default(),
            best: None,
            guard: Guarded::default(),
        }
    }

    /// Updates of the optimizer: the steps but for those that were passed over.
    pub fn updates(&self) -> u64 {
        self.step - self.guard.passed_over
    }
}

/// Identity of a source's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataIdentity {
    /// Name of the source.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
    /// Changes with any shard, member or offset.
    pub fingerprint: String,
}

/// A part that is not trained, or of which adapters only are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenPart {
    /// Which part.
    pub part: Part,
    /// Directory of its weights, or of its first tower's; none when it was made from the seed.
    pub weights: Option<PathBuf>,
    /// Directory of its second tower's, where it has two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<PathBuf>,
    /// blake3 over its tensors, without adapters.
    pub hash: String,
    /// Its adapters, whose tensors are in `model.safetensors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// How the part was held when it was trained beside, where not as it is in `weights`. `hash` is of what that gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Whether the adapters are those of the run at `weights`, trained on, so that they are not in the part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
}

/// `step-00000500`
pub fn dir_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step of a checkpoint directory's name.
pub fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Steps of all checkpoint directories in a run, ascending; verified or not.
pub fn steps(run_dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut steps = Vec::new();
    if !run_dir.is_dir() {
        return Ok(steps);
    }
    for entry in fs_err::read_dir(run_dir)? {
        steps.extend(entry?.file_name().to_str().and_then(step_of));
    }
    steps.sort_unstable();
    Ok(steps)
}
