//! Finding and reading checkpoints: the newest one that verifies.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::TensorData;
use fs_err as fs;
use mmtrain_model::Vlm;
use mmtrain_model::lora::peft;
use mmtrain_model::params::{FlatTensors, ParamInfo, Part, Tuned};
use mmtrain_model::weights::{Checkpoint, TensorFile};

use super::fault::{Fault, Rejected};
use super::irregular::irregular;
use super::manifest::{Manifest, run_id};
use super::{STATE_FILES, TrainState, dir_name, steps};
use crate::driver::Trained;
use crate::error::TrainError;
use crate::optimizer::AdamW;

/// The newest good checkpoint of a run, and what was passed over on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The checkpoint's directory.
    pub dir: PathBuf,
    /// Its step.
    pub step: u64,
    /// What its manifest vouches for.
    pub manifest: Manifest,
    /// Newer ones that did not verify.
    pub rejected: Vec<Rejected>,
}

impl Found {
    /// One of its small files, compared with the manifest as it is read: what a resume may rely on.
    pub fn text(&self, name: &str) -> Result<String, TrainError> {
        let corrupt = |message: String| TrainError::Corrupt { path: self.dir.clone(), message };
        let entry = self.manifest.files.iter().find(|file| file.name == name);
        let entry = entry.ok_or_else(|| corrupt(format!("the manifest lacks `{name}`")))?;
        let contents = fs::read(self.dir.join(name))?;
        if !entry.vouches_for(&contents) {
            return Err(corrupt(format!("`{name}` is not what the manifest says")));
        }
        String::from_utf8(contents).map_err(|_| corrupt(format!("`{name}` is not UTF-8")))
    }

    /// Names and contents of the files it carries along: all but the state of the training itself, and copies of adapters.
    pub fn texts(&self) -> Result<Vec<(String, String)>, TrainError> {
        let names = self.manifest.files.iter().map(|file| &file.name);
        let made_anew = [peft::WEIGHTS_FILE, peft::CONFIG_FILE];
        let carried = names.filter(|name| !STATE_FILES.iter().chain(&made_anew).any(|other| other == name));
        carried.map(|name| Ok((name.clone(), self.text(name)?))).collect()
    }
}

/// Looks for the newest checkpoint that verifies. `None` when there are none at all and never were any.
pub fn find_newest(run_dir: &Path) -> Result<Option<Found>, TrainError> {
    let (mut rejected, run) = (Vec::new(), run_id(run_dir));
    for step in steps(run_dir)?.into_iter().rev() {
        let dir = run_dir.join(dir_name(step));
        match verify_of(&dir, run.as_deref()) {
            Ok(manifest) => return Ok(Some(Found { dir, step, manifest, rejected })),
            Err(fault) => rejected.push(Rejected { step, fault }),
        }
    }
    let latest = fs::read_to_string(run_dir.join("latest")).ok().and_then(|name| super::step_of(name.trim()));
    if let Some(step) = latest.filter(|_| rejected.is_empty()) {
        rejected.push(Rejected { step, fault: Fault::Damaged("`latest` names it, and it is gone".to_owned()) });
    }
    if rejected.is_empty() {
        Ok(None)
    } else {
        Err(TrainError::NoGoodCheckpoint { path: run_dir.to_owned(), rejected })
    }
}

/// As [`verify`]; where both say which run they are of, it has to be the same.
pub fn verify_of(dir: &Path, run: Option<&str>) -> Result<Manifest, Fault> {
    let manifest = verify(dir)?;
    match (manifest.run.as_deref(), run) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(Fault::OtherRun),
        _ => Ok(manifest),
    }
}

/// Checks manifest, sizes and hashes.
pub fn verify(dir: &Path) -> Result<Manifest, Fault> {
    if let Some(fault) = irregular(dir)? {
        return Err(Fault::Damaged(fault));
    }
    let text = fs::read_to_string(dir.join("manifest.json")).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Damaged("no manifest".to_owned()),
        _ => error.into(),
    })?;
    let manifest = Manifest::parse(&text)?;
    if super::step_of(&dir.file_name().unwrap_or_default().to_string_lossy()).is_some_and(|step| step != manifest.step)
    {
        return Err(Fault::Damaged(format!("the manifest is of step {}", manifest.step)));
    }
    for required in STATE_FILES {
        if !manifest.files.iter().any(|file| file.name == required) {
            return Err(Fault::Damaged(format!("the manifest lacks `{required}`")));
        }
    }
    let fault = manifest.files.iter().find_map(|file| file.fault(dir));
    match fault.or(strange(dir, &manifest)?.map(Fault::Damaged)) {
        Some(fault) => Err(fault),
        None => Ok(manifest),
    }
}

/// What a reader of models would take for a part of it, and the manifest does not vouch for.
fn strange(dir: &Path, manifest: &Manifest) -> std::io::Result<Option<String>> {
    const READ: [&str; 6] = ["bin", "jinja", "json", "model", "safetensors", "toml"];
    let is_listed = |name: &str| name == "manifest.json" || manifest.files.iter().any(|file| file.name == name);
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_read = name.rsplit_once('.').is_some_and(|(_, ext)| READ.contains(&ext)) && !name.starts_with('.');
        if is_read && !is_listed(&name) {
            return Ok(Some(format!("`{name}` was put there, and would be read: take it away")));
        }
    }
    Ok(None)
}

/// What a checkpoint restores.
#[derive(Debug)]
pub struct LoadedCheckpoint {
    /// The model with the checkpoint's tensors.
    pub model: Vlm,
    /// Moments, and how many updates they are of.
    pub optimizer: AdamW,
    /// Counters and cursor.
    pub state: TrainState,
}

/// Puts a verified checkpoint's tensors into `model`; what is not in it stays as it is.
///
/// Nothing may be left over of the moments, and they come in pairs.
pub fn load(dir: &Path, model: Vlm, trained: Trained) -> Result<LoadedCheckpoint, TrainError> {
    let corrupt = |message: String| TrainError::Corrupt { path: dir.to_owned(), message };
    let text = fs::read_to_string(dir.join("state.json"))?;
    let state: TrainState = serde_json::from_str(&text).map_err(|error| corrupt(format!("state.json: {error}")))?;
    let named = dir.file_name().and_then(|name| super::step_of(name.to_str()?));
    if named.is_some_and(|step| step != state.step) {
        return Err(corrupt(format!("state.json: it is of step {}", state.step)));
    }
    let weights = Checkpoint::open(dir)?;
    let device = model.device();
    let model = Part::ALL.into_iter().try_fold(model, |model, part| match trained.part(part) {
        Tuned::Frozen => Ok(model),
        Tuned::Full | Tuned::From(_) => model.loaded(part, &weights),
        Tuned::Adapters => model.with_adapters_of(part, &weights),
    })?;
    let is_trained = |info: &ParamInfo| trained.part(info.part).trains(info);
    let infos = Part::ALL.into_iter().flat_map(|part| model.infos(part)).filter(is_trained);
    let expected = infos.map(|info| (info.name.clone(), info.elements())).collect::<BTreeMap<_, _>>();
    let moments = TensorFile::open(&dir.join("optim.safetensors"))?;
    let optimizer = AdamW {
        exp_avg: read_moments(&moments, "exp_avg", &expected, &device).map_err(corrupt)?,
        exp_avg_sq: read_moments(&moments, "exp_avg_sq", &expected, &device).map_err(corrupt)?,
        updates: state.updates(),
    };
    if let Some(name) = unpaired(&optimizer) {
        return Err(corrupt(format!("`{name}` has one moment of two")));
    }
    Ok(LoadedCheckpoint { model, optimizer, state })
}

/// A parameter that only has a first or only a second moment.
fn unpaired(optimizer: &AdamW) -> Option<&String> {
    let AdamW { exp_avg, exp_avg_sq, .. } = optimizer;
    let lacks = |names: &FlatTensors, name: &&String| !names.contains_key(*name);
    let second = exp_avg.keys().find(|name| lacks(exp_avg_sq, name));
    second.or_else(|| exp_avg_sq.keys().find(|name| lacks(exp_avg, name)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::FileEntry;

    /// A checkpoint of step 3 whose files hold their own names.
    fn checkpoint(run: &Path) -> Found {
        let dir = run.join(dir_name(3));
        fs::create_dir(&dir).expect("made");
        let names = STATE_FILES.into_iter().chain(["config.toml", "tokenizer.json"]);
        let entry = |name: &str| {
            fs::write(dir.join(name), name).expect("written");
            let blake3 = blake3::hash(name.as_bytes()).to_hex().to_string();
            FileEntry { name: name.to_owned(), bytes: name.len() as u64, blake3 }
        };
        let manifest = Manifest {
            format_version: 1,
            step: 3,
            mmtrain: "0".into(),
            run: None,
            checksum: String::new(),
            files: names.map(entry).collect(),
        };
        fs::write(dir.join("manifest.json"), serde_json::to_string(&manifest).expect("json")).expect("written");
        find_newest(run).expect("readable").expect("one that verifies")
    }

    #[test]
    fn texts_are_what_the_manifest_vouches_for_and_not_the_state() {
        let run = tempfile::tempdir().expect("temp dir");
        let found = checkpoint(run.path());
        let own = |name: &str| (name.to_owned(), name.to_owned());
        assert_eq!(found.texts().expect("read"), [own("config.toml"), own("tokenizer.json")]);
    }

    #[test]
    fn what_was_put_there_and_would_be_read_is_a_fault_and_a_note_is_not() {
        let run = tempfile::tempdir().expect("temp dir");
        let found = checkpoint(run.path());
        fs::write(found.dir.join("note.txt"), "the good one").expect("written");
        fs::write(found.dir.join(".hidden.json"), "{}").expect("written");
        assert!(verify(&found.dir).is_ok());
        for name in ["model.safetensors.index.json", "special_tokens_map.json", "more.safetensors"] {
            fs::write(found.dir.join(name), "{}").expect("written");
            let fault = verify(&found.dir).expect_err("it would be read").to_string();
            assert!(fault.contains(name), "{fault}");
            fs::remove_file(found.dir.join(name)).expect("removed");
        }
        assert!(verify(&found.dir).is_ok());
    }

    #[test]
    fn moments_come_in_pairs() {
        let moments = || FlatTensors::from([("a".to_owned(), Tensor::ones([1], &Device::flex()))]);
        let both = AdamW { exp_avg: moments(), exp_avg_sq: moments(), updates: 1 };
        assert_eq!(unpaired(&both), None);
        let first = AdamW { exp_avg: moments(), ..AdamW::default() };
        let second = AdamW { exp_avg_sq: moments(), ..AdamW::default() };
        assert_eq!([unpaired(&first), unpaired(&second)], [Some(&"a".to_owned()); 2]);
    }

    #[test]
    fn a_text_that_changed_since_it_was_verified_is_not_used() {
        let run = tempfile::tempdir().expect("temp dir");
        let found = checkpoint(run.path());
        fs::write(found.dir.join("config.toml"), "Config.toml").expect("written");
        let error = found.text("config.toml").expect_err("another text").to_string();
        assert!(error.contains("config.toml") && error.contains("manifest"), "{error}");
        assert!(found.text("other.json").is_err(), "not in the manifest");
    }
}
