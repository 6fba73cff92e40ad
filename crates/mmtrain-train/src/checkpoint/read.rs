//! Finding and reading checkpoints: the newest one that verifies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::TensorData;
use fs_err as fs;
use mmtrain_model::Vlm;
use mmtrain_model::params::{FlatTensors, Part};
use mmtrain_model::weights::{Checkpoint, TensorFile};

use super::manifest::{FORMAT_VERSION, Manifest};
use super::{TrainState, dir_name, steps};
use crate::error::TrainError;
use crate::optimizer::AdamW;

/// The newest good checkpoint of a run, and what was passed over on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The checkpoint's directory.
    pub dir: PathBuf,
    /// Its step.
    pub step: u64,
    /// Newer directories that did not verify, each with the reason.
    pub rejected: Vec<String>,
}

/// Looks for the newest checkpoint that verifies. `None` when there are none at all.
pub fn find_newest(run_dir: &Path) -> Result<Option<Found>, TrainError> {
    let mut rejected = Vec::new();
    for step in steps(run_dir)?.into_iter().rev() {
        let dir = run_dir.join(dir_name(step));
        match verify(&dir) {
            Ok(_) => return Ok(Some(Found { dir, step, rejected })),
            Err(reason) => rejected.push(format!("`{}`: {reason}", dir_name(step))),
        }
    }
    if rejected.is_empty() {
        Ok(None)
    } else {
        Err(TrainError::NoGoodCheckpoint { path: run_dir.to_owned(), rejected })
    }
}

/// Checks manifest, sizes and hashes; the error says what is wrong.
pub fn verify(dir: &Path) -> Result<Manifest, String> {
    let text = fs::read_to_string(dir.join("manifest.json")).map_err(|_| "no manifest".to_owned())?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| format!("manifest: {error}"))?;
    if manifest.format_version > FORMAT_VERSION {
        return Err(format!("format {} is newer than this mmtrain's {FORMAT_VERSION}", manifest.format_version));
    }
    if super::step_of(&dir.file_name().unwrap_or_default().to_string_lossy()).is_some_and(|step| step != manifest.step)
    {
        return Err(format!("the manifest is of step {}", manifest.step));
    }
    for required in ["model.safetensors", "optim.safetensors", "state.json"] {
        if !manifest.files.iter().any(|file| file.name == required) {
            return Err(format!("the manifest lacks `{required}`"));
        }
    }
    match manifest.files.iter().find_map(|file| file.fault(dir)) {
        Some(fault) => Err(fault),
        None => Ok(manifest),
    }
}

/// What a checkpoint restores.
#[derive(Debug)]
pub struct LoadedCheckpoint {
    /// The model with the checkpoint's tensors.
    pub model: Vlm,
    /// Moments; the number of updates is the step.
    pub optimizer: AdamW,
    /// Counters and cursor.
    pub state: TrainState,
}

/// Puts a verified checkpoint's tensors into `model`; parts that are not in it stay as they are.
///
/// Every tensor of the trained parts must have its moments, and nothing may be left over.
pub fn load(dir: &Path, model: Vlm, trained: &[Part]) -> Result<LoadedCheckpoint, TrainError> {
    let corrupt = |message: String| TrainError::Corrupt { path: dir.to_owned(), message };
    let text = fs::read_to_string(dir.join("state.json"))?;
    let state: TrainState = serde_json::from_str(&text).map_err(|error| corrupt(format!("state.json: {error}")))?;
    let weights = Checkpoint::open(dir)?;
    let device = model.device();
    let model = trained.iter().try_fold(model, |model, &part| model.loaded(part, &weights))?;
    let expected = trained
        .iter()
        .flat_map(|&part| model.params(part))
        .map(|param| (param.info.name.clone(), param.info.elements()));
    let expected = expected.collect::<BTreeMap<_, _>>();
    let moments = TensorFile::open(&dir.join("optim.safetensors"))?;
    let optimizer = AdamW {
        exp_avg: read_moments(&moments, "exp_avg", &expected, &device).map_err(corrupt)?,
        exp_avg_sq: read_moments(&moments, "exp_avg_sq", &expected, &device).map_err(corrupt)?,
        updates: state.step,
    };
    Ok(LoadedCheckpoint { model, optimizer, state })
}

fn read_moments(
    file: &TensorFile,
    suffix: &str,
    expected: &BTreeMap<String, usize>,
    device: &Device,
) -> Result<FlatTensors, String> {
    let mut found = FlatTensors::new();
    let wanted = format!(".{suffix}");
    for key in file.names() {
        let Some(name) = key.strip_suffix(&wanted) else { continue };
        let values = file.read(key).map_err(|error| error.to_string())?.values;
        match expected.get(name) {
            Some(&elements) if elements == values.len() => {}
            Some(elements) => return Err(format!("`{key}` has {} values, the model {elements}", values.len())),
            None => return Err(format!("`{key}` belongs to no trained parameter")),
        }
        let elements = values.len();
        found.insert(name.to_owned(), Tensor::from_data(TensorData::new(values, [elements]), device));
    }
    Ok(found)
}
