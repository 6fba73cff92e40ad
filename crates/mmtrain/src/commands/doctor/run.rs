//! A run: its directory as the library surveys it, and what its configuration says.

use std::path::{Path, PathBuf};

use fs_err as fs;
use mmtrain_config::{RunConfig, differences, parse_resolved};
use mmtrain_train::checkpoint::{Inspected, step_of, steps};
use mmtrain_train::survey::{ConfigState, Diagnosis, Facts, Finding, Survey, diagnose};
use serde::Serialize;

use super::next::Next;
use crate::fail::Refusal;
use crate::holdings::frozen_parts;
use crate::irregular::refuse_irregular_run;
use crate::run_dir::RunInfo;

/// A run, judged.
pub(super) struct Looked {
    pub(super) report: RunReport,
    pub(super) findings: Vec<Finding>,
    pub(super) next: Next,
}

/// What is said of a run.
#[derive(Debug, Serialize)]
pub(super) struct RunReport {
    /// `pretrain`, `sft` or `dpo`.
    pub(super) stage: String,
    /// Steps that it makes in all, where the configuration says it.
    pub(super) steps: Option<u64>,
    /// The newest step that a resume goes on from.
    pub(super) newest_good: Option<u64>,
    /// How `config.toml` stands.
    pub(super) config: ConfigState,
    #[serde(flatten)]
    pub(super) survey: Survey,
}

impl RunReport {
    /// The directory that holds the run.
    pub(super) fn holder(&self) -> &Path {
        let parent = self.survey.path.parent().unwrap_or(Path::new("."));
        if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
    }

    /// Bytes of the newest good checkpoint.
    pub(super) fn checkpoint_bytes(&self) -> Option<u64> {
        self.survey.newest_good().map(|checkpoint| checkpoint.bytes)
    }
}

/// Looks at the run that a path names.
pub(super) fn look(path: &Path) -> anyhow::Result<Looked> {
    let dir = run_of(path)?;
    refuse_irregular_run(&dir)?;
    let survey = Survey::of(&dir)?;
    let info = RunInfo::read(&dir);
    let (config, state) = configuration(&dir, survey.newest_good());
    let facts = Facts {
        config: state,
        missing_weights: missing_weights(survey.newest_good()),
        log_every: saved_config(survey.newest_good()).map_or(0, |config| config.train.log_every),
        has_info: info.is_some(),
    };
    let Diagnosis { findings, advice } = diagnose(&survey, &facts);
    let stage = stage(info.as_ref(), &dir);
    let next = Next::of(&advice, &survey, (&stage, info.as_ref()), config.as_ref());
    let report = RunReport {
        stage,
        steps: config.and_then(|config| config.train.steps),
        newest_good: survey.newest_good().map(|checkpoint| checkpoint.step),
        config: facts.config,
        survey,
    };
    Ok(Looked { report, findings, next })
}

/// The run's directory; a checkpoint of it, or a pointer to one, stands for it.
fn run_of(path: &Path) -> anyhow::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_inside = step_of(name).is_some() || name == "latest" || name == "best";
    let dir = path.parent().filter(|_| is_inside).unwrap_or(path);
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let shown = dir.display();
    if !dir.is_dir() {
        return Err(
            Refusal::missing(format!("no run at `{shown}`"), "name its directory, such as `checkpoints/NAME`").into()
        );
    }
    let is_run = dir.join("run.json").exists() || dir.join("run.lock").exists() || !steps(dir)?.is_empty();
    if !is_run {
        let hint = "a run has a `run.json` and checkpoints (`step-…`); `mmtrain inspect` looks at a model's directory";
        return Err(Refusal::missing(format!("`{shown}` holds no run"), hint).into());
    }
    Ok(dir.to_owned())
}

/// As recorded, or as the name of the directory begins.
fn stage(info: Option<&RunInfo>, dir: &Path) -> String {
    let known = |stage: &&str| ["pretrain", "sft", "dpo"].contains(stage);
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let recorded = info.map(|info| info.stage.as_str()).filter(known);
    recorded.or_else(|| name.split('-').next().filter(known)).unwrap_or("pretrain").to_owned()
}

/// The configuration beside the checkpoints, or else that of the newest good one; and how the former stands.
fn configuration(dir: &Path, good: Option<&Inspected>) -> (Option<RunConfig>, ConfigState) {
    let own = read_config(dir);
    let saved = saved_config(good);
    let state = match (&own, &saved) {
        (Ok(Some(own)), Some(saved)) => compared(saved, own),
        (Ok(Some(_)), None) => ConfigState::Good,
        (Ok(None), _) => ConfigState::Missing,
        (Err(reason), _) => ConfigState::Unreadable { reason: reason.clone() },
    };
    (own.ok().flatten().or(saved), state)
}

fn compared(saved: &RunConfig, own: &RunConfig) -> ConfigState {
    let changes = differences(saved, own).into_iter().filter(|difference| difference.changes_run);
    let changes = changes.map(|difference| difference.to_string()).collect::<Vec<_>>();
    if changes.is_empty() { ConfigState::Good } else { ConfigState::Edited { changes } }
}

fn saved_config(good: Option<&Inspected>) -> Option<RunConfig> {
    read_config(&good?.dir).ok().flatten()
}

/// None where there is no such file; the first line of what is wrong with it.
pub(super) fn read_config(dir: &Path) -> Result<Option<RunConfig>, String> {
    let path = dir.join("config.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let parsed = parse_resolved(&text, &path.display().to_string()).map_err(|errors| errors.to_string());
    let parsed = parsed.map_err(|text| text.lines().next().unwrap_or_default().to_owned())?;
    Ok(Some(parsed.config))
}

/// Directories of frozen weights that the checkpoint names and that are not there.
fn missing_weights(good: Option<&Inspected>) -> Vec<PathBuf> {
    let frozen = good.and_then(|good| frozen_parts(&good.dir).ok()).unwrap_or_default();
    let places = frozen.into_iter().flat_map(|part| part.weights.into_iter().chain(part.second));
    let mut missing = places.filter(|place| !place.exists()).collect::<Vec<_>>();
    missing.sort();
    missing.dedup();
    missing
}
