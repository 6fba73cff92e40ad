//! What to do next, as a line to copy.

use std::path::{Path, PathBuf};

use mmtrain_config::{RunConfig, SourceConfig};
use mmtrain_train::checkpoint::{LockState, dir_name};
use mmtrain_train::survey::{Advice, Survey};
use serde::Serialize;

use super::run::read_config;
use crate::run_dir::RunInfo;
use crate::terminal::shell_word;

/// The next step.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Next {
    /// Why.
    pub(super) why: String,
    /// For a shell.
    pub(super) command: String,
}

impl Next {
    /// Spells out the library's advice.
    pub(super) fn of(
        advice: &Advice,
        survey: &Survey,
        (stage, info): (&str, Option<&RunInfo>),
        config: Option<&RunConfig>,
    ) -> Self {
        let run = survey.path.as_path();
        let resume = |run: &Path| line(["mmtrain", stage, "--resume", &path(run)]);
        let (why, command) = match advice {
            Advice::Watch => (watched(&survey.lock), line(["tail", "-f", &path(&run.join("metrics.jsonl"))])),
            Advice::Use => ("all steps are made".to_owned(), using(run, config)),
            Advice::Resume(Some(step)) => (format!("it goes on from step {step}"), resume(run)),
            Advice::Resume(None) => ("it begins at step 0".to_owned(), resume(run)),
            Advice::RestoreConfig(step) => {
                let saved = run.join(dir_name(*step)).join("config.toml");
                let copy = line(["cp", &path(&saved), &path(&run.join("config.toml"))]);
                (format!("put the configuration of step {step} back"), format!("{copy} && {}", resume(run)))
            }
            Advice::RestoreWeights(places) => {
                let places = places.iter().map(|place| format!("`{}`", place.display())).collect::<Vec<_>>();
                (format!("put {} back first", places.join(" and ")), resume(run))
            }
            Advice::Copy => {
                let copy = beside(run);
                let made = line(["cp", "-r", "--no-preserve=mode", &path(run), &path(&copy)]);
                ("copy it to where you may write".to_owned(), format!("{made} && {}", resume(&copy)))
            }
            Advice::Reorder(None) => {
                let anew = format!("{} {}", anew(survey, stage, info), line(["--set", &other_seed(config)]));
                ("start once more, with the data in another order".to_owned(), anew)
            }
            Advice::Reorder(Some(step)) => {
                let saved = run.join(dir_name(*step)).join("config.toml");
                let seed = other_seed(config);
                let words =
                    ["--config", &path(&saved), "--init", &path(run), "--run-dir", &path(&beside(run)), "--set", &seed];
                let anew = format!("{} {}", line(["mmtrain", stage]), line(words));
                (format!("start from the weights of step {step}, with the data in another order"), anew)
            }
            Advice::RemoveRunInfo => {
                let remove = line(["rm", &path(&run.join("run.json"))]);
                let why =
                    "its checkpoints name another run than `run.json`: where they are of this one, take that away"
                        .to_owned();
                (why, format!("{remove} && {}", resume(run)))
            }
            Advice::MakeReadable => {
                let readable = line(["chmod", "-R", "u+rX", &path(run)]);
                ("see that its checkpoints may be read".to_owned(), format!("{readable} && {}", resume(run)))
            }
            Advice::StartAnew => {
                ("nothing here can be gone on with; nothing was deleted".to_owned(), anew(survey, stage, info))
            }
        };
        Self { why, command }
    }
}

fn other_seed(config: Option<&RunConfig>) -> String {
    format!("train.seed={}", config.map_or(0, |config| config.train.seed) + 1)
}

fn watched(lock: &LockState) -> String {
    let holder = if let LockState::Held { holder } = lock { holder.as_str() } else { "" };
    format!("a process works on it ({holder}): watch, or wait")
}

/// What was held out is what a model is tried on.
fn using(run: &Path, config: Option<&RunConfig>) -> String {
    let Some(held_out) = config.and_then(|config| config.data.eval.as_ref()) else {
        return line(["mmtrain", "inspect", &path(run)]);
    };
    let data = line(["mmtrain", "eval", "--model", &path(run), "--data", &path(Path::new(&location(held_out)))]);
    match held_out.format {
        Some(format) => format!("{data} {}", line(["--format", format.name()])),
        None => data,
    }
}

fn location(source: &SourceConfig) -> String {
    source.location().to_string_lossy().into_owned()
}

/// With whatever configuration can still be read.
fn anew(survey: &Survey, stage: &str, info: Option<&RunInfo>) -> String {
    let run = survey.path.as_path();
    let dirs = std::iter::once(run).chain(survey.checkpoints.iter().rev().map(|checkpoint| checkpoint.dir.as_path()));
    let readable = dirs.filter(|dir| matches!(read_config(dir), Ok(Some(_)))).map(|dir| path(&dir.join("config.toml")));
    let named = || info.and_then(|info| info.config.clone());
    let config = readable.into_iter().next().or_else(named);
    let mut command = line(["mmtrain", stage]);
    if let Some(config) = config {
        command = format!("{command} {}", line(["--config", &config]));
    }
    if let Some(init) = info.and_then(|info| info.init.as_deref()) {
        command = format!("{command} {}", line(["--init", &path(init)]));
    }
    format!("{command} {}", line(["--run-dir", &path(&beside(run))]))
}

/// `RUN-2`, or the first number that is not taken.
fn beside(run: &Path) -> PathBuf {
    let name = run.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut numbers = 2..;
    let free = numbers.find_map(|number| {
        let place = run.with_file_name(format!("{name}-{number}"));
        (!place.exists()).then_some(place)
    });
    free.expect("there are more numbers than directories")
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn line<const N: usize>(words: [&str; N]) -> String {
    words.map(|word| shell_word(word).into_owned()).join(" ")
}
