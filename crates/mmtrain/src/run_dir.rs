//! Run directories: names, what is in them, which one is meant, and being the one who works in it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use mmtrain_data::file_fingerprint;
use mmtrain_train::TrainError;
use mmtrain_train::checkpoint::{LOCK_FILE, RunLock, step_of, steps, write_atomically};
use mmtrain_train::machine::FileSystem;
use mmtrain_train::trainer::FINISHED_FILE;
use serde::{Deserialize, Serialize};

use crate::commands::note;
use crate::fail::Refusal;
use crate::model_dir::locate;

/// Where runs are made unless told otherwise.
pub(crate) const RUNS: &str = "checkpoints";

/// `run.json`: written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunInfo {
    /// Version of this file.
    pub(crate) format_version: u32,
    /// Tells the run from all others; its checkpoints have it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// `pretrain`, `sft` or `dpo`.
    pub(crate) stage: String,
    /// The configuration it was made from, as `--config` named it.
    #[serde(default)]
    pub(crate) config: Option<String>,
    /// Seconds since 1970 when the run began.
    pub(crate) started: u64,
    /// What it started from, if not from its configuration alone.
    pub(crate) init: Option<PathBuf>,
    /// The runs that led to it, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lineage: Vec<Ancestor>,
}

/// A run that another one started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ancestor {
    /// The checkpoint.
    pub(crate) path: PathBuf,
    /// Its stage, if it is a run's.
    pub(crate) stage: Option<String>,
    /// Its step, if it is a run's.
    pub(crate) step: Option<u64>,
    /// blake3 of its manifest, or of what a directory without one holds: its `config.json` and its weights.
    pub(crate) hash: String,
}

impl Ancestor {
    /// The checkpoint in `dir`, with what led to it before it.
    fn line_to(dir: &Path) -> Vec<Self> {
        let Some(run) = dir.parent() else { return Vec::new() };
        let step = dir.file_name().and_then(|name| step_of(name.to_str()?));
        let info = step.and_then(|_| RunInfo::read(run));
        let mut line = info.as_ref().map(|info| info.lineage.clone()).unwrap_or_default();
        let hash = identity(dir).unwrap_or_default();
        line.push(Self { path: dir.to_owned(), stage: info.map(|info| info.stage), step, hash });
        line
    }

    /// Refuses what is no longer what a run started from.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        match identity(&self.path) {
            Ok(hash) if hash == self.hash => Ok(()),
            Ok(_) => Err(Refusal::missing(
                format!("`{shown}` is not what the run started from"),
                "put it back, or start a new run from it with `--init`",
            )
            .into()),
            Err(error) => Err(Refusal::missing(
                format!("what the run started from is not there: {error}"),
                format!("put `{shown}` back"),
            )
            .into()),
        }
    }
}

/// Of a checkpoint its manifest says it; of another directory its configuration and its weights, of large files some
/// places.
fn identity(dir: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if let Ok(manifest) = fs::read(dir.join("manifest.json")) {
        hasher.update(&manifest);
        return Ok(hasher.finalize().to_hex().to_string());
    }
    hasher.update(&fs::read(dir.join("config.json"))?);
    let names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<BTreeSet<_>, _>>()?;
    for path in names.iter().filter(|path| path.extension().is_some_and(|ext| ext == "safetensors")) {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(file_fingerprint(path)?.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

impl RunInfo {
    /// For a run that begins now.
    pub(crate) fn new(stage: &str, config: Option<&str>, init: Option<&Path>) -> Self {
        let init = init.map(|init| fs::canonicalize(init).unwrap_or_else(|_| init.to_owned()));
        let lineage = init.as_deref().and_then(|init| locate(init).ok()).map(|dir| Ancestor::line_to(&dir));
        Self {
            format_version: 1,
            id: Some(new_id()),
            stage: stage.to_owned(),
            config: config.map(str::to_owned),
            started: now(),
            init,
            lineage: lineage.unwrap_or_default(),
        }
    }

    /// Reads a run's file.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let path = dir.join("run.json");
        // A pipe would be waited for.
        let text = path.is_file().then(|| fs::read_to_string(&path))?.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes it.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        Ok(write_atomically(&dir.join("run.json"), serde_json::to_string_pretty(self)?.as_bytes())?)
    }

    /// The name of the run's configuration: as recorded, or as the name of its directory has it.
    fn config_name(&self, dir: &Path) -> Option<String> {
        self.config.as_deref().map(config_name).or_else(|| {
            let name = dir.file_name()?.to_str()?.strip_prefix(&self.stage)?.strip_prefix('-')?.to_owned();
            let numbered = name.rsplit_once('-').filter(|(_, number)| number.parse::<u64>().is_ok());
            Some(numbered.map_or(name.clone(), |(name, _)| name.to_owned()))
        })
    }
}

/// What no other run has: it is of this moment, process and directory.
fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    let what = format!("{} {} {}", since.as_nanos(), std::process::id(), here.display());
    blake3::hash(what.as_bytes()).to_hex()[..16].to_owned()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// `configs/cc3m.toml`, `cc3m.toml` and `cc3m` are all `cc3m`.
fn config_name(config: &str) -> String {
    Path::new(config).file_stem().map_or_else(|| config.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A directory for a new run: `checkpoints/STAGE-NAME`, numbered if that is taken.
pub(crate) fn fresh(stage: &str, config: Option<&str>) -> PathBuf {
    let name = format!("{stage}-{}", config.map_or_else(|| "run".to_owned(), config_name));
    let mut path = Path::new(RUNS).join(&name);
    let mut number = 1;
    while path.exists() && !is_vacant(&path) {
        number += 1;
        path = Path::new(RUNS).join(format!("{name}-{number}"));
    }
    path
}

/// Whether a directory holds at most the lock of a start that was killed before it wrote anything.
fn is_vacant(dir: &Path) -> bool {
    only_lock(dir) && (!dir.join(LOCK_FILE).exists() || RunLock::acquire(dir).is_ok())
}

fn only_lock(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.into_iter().all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK_FILE))
}

/// The newest run of a stage, of one configuration if one is named.
pub(crate) fn newest(stage: &str, config: Option<&str>) -> anyhow::Result<PathBuf> {
    let wanted = config.map(config_name);
    let mut runs = Vec::new();
    if Path::new(RUNS).is_dir() {
        for entry in fs::read_dir(RUNS)? {
            let path = entry?.path();
            let info = RunInfo::read(&path).filter(|info| info.stage == stage);
            runs.extend(info.map(|info| (info.started, info.config_name(&path), path)));
        }
    }
    runs.sort();
    let fits = |name: &Option<String>| wanted.is_none() || *name == wanted;
    match runs.iter().rfind(|(_, name, _)| fits(name)) {
        Some((_, _, path)) => Ok(path.clone()),
        None => Err(no_run(stage, config, &runs).into()),
    }
}

/// The newest run of a stage that made all its steps.
pub(crate) fn newest_finished(stage: &str) -> anyhow::Result<Option<PathBuf>> {
    let mut runs = Vec::new();
    if Path::new(RUNS).is_dir() {
        for entry in fs::read_dir(RUNS)? {
            let path = entry?.path();
            let info = RunInfo::read(&path).filter(|info| info.stage == stage && path.join(FINISHED_FILE).is_file());
            runs.extend(info.map(|info| (info.started, path)));
        }
    }
    Ok(runs.into_iter().max().map(|(_, path)| path))
}

fn no_run(stage: &str, config: Option<&str>, runs: &[(u64, Option<String>, PathBuf)]) -> Refusal {
    let of = config.map_or_else(String::new, |config| format!(" of `{}`", config_name(config)));
    let list = runs.iter().map(|(_, name, path)| {
        format!("`{}` (of {})", path.display(), name.as_deref().unwrap_or("an unknown configuration"))
    });
    let list = list.collect::<Vec<_>>().join(", ");
    let others = if runs.is_empty() { String::new() } else { format!("; there are: {list}") };
    Refusal::usage(
        format!("no {stage} run{of} in `{RUNS}/` to go on with{others}"),
        format!("start one with `mmtrain {stage} --config …`, or name its directory: `--resume DIR`"),
    )
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

/// What a run writes in its directory from its beginning on.
const WRITTEN: [&str; 11] = [
    "config.json",
    "finished",
    "latest",
    "metrics.jsonl",
    "plots",
    "preprocessor_config.json",
    "quarantine.jsonl",
    "report.html",
    "samples",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Refuses a directory that is no run's and holds what a run would write over.
pub(crate) fn refuse_others(dir: &Path) -> anyhow::Result<()> {
    let is_run = ["run.json", "config.toml"].iter().any(|name| dir.join(name).exists()) || !steps(dir)?.is_empty();
    let there = WRITTEN.into_iter().find(|name| !is_run && dir.join(name).symlink_metadata().is_ok());
    let Some(name) = there else { return Ok(()) };
    let shown = dir.display();
    let message = format!("`{shown}` holds no run, and a `{name}` that a run would write over");
    Err(Refusal::storage(message, "choose another `--run-dir`: one that is empty, or not there yet").into())
}

/// A run directory that this process works in. One that was made and stays empty is removed again, so that a start that
/// fails leaves nothing behind.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Directories that were made for it, outermost first.
    made: Vec<PathBuf>,
    _lock: RunLock,
}

impl RunDir {
    /// Makes the directory if it is not there, takes its lock, and tries out what its file system can do.
    pub(crate) fn enter(path: &Path) -> anyhow::Result<Self> {
        let made = absent(path);
        let there = fs::create_dir_all(path).and_then(|()| make_durable(&made));
        let lock = there.map_err(TrainError::from).and_then(|()| RunLock::acquire(path));
        match lock {
            Ok(lock) => {
                let entered = Self { path: path.to_owned(), made, _lock: lock };
                refuse_unreliable(path)?;
                Ok(entered)
            }
            Err(error) => {
                remove_empty(&made);
                Err(match error {
                    TrainError::Io(error) => unusable(path, &error).into(),
                    other => other.into(),
                })
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if only_lock(&self.path) {
            // The lock is still held: nobody else can have come in between.
            let _ = fs::remove_file(self.path.join(LOCK_FILE));
            remove_empty(&self.made);
        }
    }
}

/// Refuses file systems on which no checkpoint can be trusted, and warns of one that does not keep others out.
fn refuse_unreliable(path: &Path) -> anyhow::Result<()> {
    let file_system = FileSystem::try_out(path)?;
    let kind = file_system.kind.as_deref().unwrap_or("unknown");
    for (what, reason) in file_system.lacking() {
        let message = format!("the file system of `{}` ({kind}) has no {what} that holds: {reason}", path.display());
        if what == FileSystem::LOCK {
            note(&format!("warning: {message}; nothing keeps a second process out of this run"));
        } else {
            let hint = "checkpoints need it: free some space if it is full, or choose a `--run-dir` elsewhere, such as on a local disk";
            return Err(Refusal::storage(message, hint).into());
        }
    }
    Ok(())
}

/// The directories on the way to `path` that are not there yet, outermost first.
fn absent(path: &Path) -> Vec<PathBuf> {
    let there = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let absent = path.ancestors().take_while(there).map(Path::to_owned).collect::<BTreeSet<_>>();
    absent.into_iter().collect()
}

/// Flushes the directories in which new ones were made: without it a loss of power takes a run away with all of its checkpoints.
fn make_durable(made: &[PathBuf]) -> std::io::Result<()> {
    for dir in made {
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn remove_empty(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        let _ = fs::remove_dir(dir);
    }
}

/// A directory in which no run can be kept.
fn unusable(path: &Path, error: &std::io::Error) -> Refusal {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "you may not write there: choose another `--run-dir`, or change the permissions of the directory"
        }
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only: choose another `--run-dir`",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "a file is in the way: choose another `--run-dir`",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, or choose another `--run-dir`",
        _ => "choose another `--run-dir`",
    };
    Refusal::storage(format!("`{}` cannot be used as a run directory: {error}", path.display()), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(config: Option<&str>) -> RunInfo {
        RunInfo::new("pretrain", config, None)
    }

    #[test]
    fn a_run_knows_its_configuration_by_record_or_by_the_name_of_its_directory() {
        let name = |config, dir: &str| info(config).config_name(Path::new(dir));
        assert_eq!(name(Some("configs/cc3m.toml"), "checkpoints/mine").as_deref(), Some("cc3m"));
        assert_eq!(name(None, "checkpoints/pretrain-cc3m").as_deref(), Some("cc3m"));
        assert_eq!(name(None, "checkpoints/pretrain-cc3m-siglip-qwen2-3").as_deref(), Some("cc3m-siglip-qwen2"));
        assert_eq!(name(None, "checkpoints/mine"), None);
    }

    #[test]
    fn a_directory_in_which_nothing_was_written_goes_again_with_those_made_for_it() {
        let place = tempfile::tempdir().expect("temp dir");
        let run = place.path().join("a/b/run");
        let entered = RunDir::enter(&run).expect("made");
        assert!(RunDir::enter(&run).is_err(), "one owner");
        assert!(run.is_dir() && !is_vacant(&run), "a start that is under way is not vacant");
        drop(entered);
        assert!(!place.path().join("a").exists());
    }

    #[test]
    fn a_directory_with_something_in_it_or_made_by_others_stays() {
        let place = tempfile::tempdir().expect("temp dir");
        let run = place.path().join("run");
        let entered = RunDir::enter(&run).expect("made");
        fs::write(run.join("config.toml"), "x").expect("written");
        drop(entered);
        assert!(run.join("config.toml").is_file());
        let theirs = place.path().join("theirs");
        fs::create_dir(&theirs).expect("made");
        drop(RunDir::enter(&theirs).expect("entered"));
        assert!(theirs.is_dir() && only_lock(&theirs) && !theirs.join(LOCK_FILE).exists());
    }

    #[test]
    fn what_a_killed_start_left_is_vacant() {
        let place = tempfile::tempdir().expect("temp dir");
        fs::write(place.path().join(LOCK_FILE), "pid 1\n").expect("written");
        assert!(is_vacant(place.path()));
        fs::write(place.path().join("metrics.jsonl"), "").expect("written");
        assert!(!is_vacant(place.path()));
    }
}
