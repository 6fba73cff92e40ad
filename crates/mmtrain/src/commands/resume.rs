//! `--resume`: which run, and with which configuration it goes on.
//!
//! Where a run has a good checkpoint, the copies in it are what counts: its manifest vouches for them. The
//! `config.toml` in the run directory may say how long the run is and how often things happen; whatever else it says
//! has to be what the run was made with.

use std::path::{Path, PathBuf};

use fs_err as fs;
use mmtrain_config::{Request, Resolved, RunConfig, differences, load, parse_resolved};
use mmtrain_train::checkpoint::Found;

use super::parent::Parent;
use super::{config_dirs, note};
use crate::cli::{RecipeArgs, TrainArgs};
use crate::fail::Refusal;
use crate::fetch::localize::{in_cache, localize};
use crate::run_dir::{RunInfo, newest};
use crate::stage::Stage;

/// The run to go on with. `--resume` alone means the newest, or the one that `--run-dir` names.
pub(crate) fn resume_dir(stage: Stage, args: &TrainArgs) -> anyhow::Result<Option<PathBuf>> {
    let dir = match (&args.resume, &args.run_dir) {
        (None, _) => return Ok(None),
        (Some(Some(dir)), Some(run_dir)) if dir != run_dir => {
            return Err(
                Refusal::usage("`--resume` and `--run-dir` name different directories", "give one of them").into()
            );
        }
        (Some(Some(dir)), _) | (Some(None), Some(dir)) => dir.clone(),
        (Some(None), None) => newest(stage.name(), args.recipe.config.as_deref())?,
    };
    Ok(Some(dir))
}

/// The configuration of the run: what it was made with, or what was asked for.
///
/// Both may be given on a resume if they agree in everything that would change the run.
pub(crate) fn resolve(
    stage: Stage,
    args: &RecipeArgs,
    (resume, parent): (Option<&Path>, Option<&Parent>),
    found: Option<&Found>,
) -> anyhow::Result<Resolved> {
    let anew = || match &args.config {
        // The preset is the same whether it is named or not.
        Some(config) if Some(config.as_str()) != stage.preset() => ask(args, Some(config), parent, &[]),
        _ => ask(args, stage.preset(), parent, parent.map_or(&[], |parent| &parent.conversations)),
    };
    let Some(dir) = resume else { return anew() };
    let own = dir.join("config.toml");
    let stored = stored(&own, found)?;
    let Some(stored) = stored else {
        return if args.config.is_some() || parent.is_some() { anew() } else { Err(no_run(stage.name(), dir).into()) };
    };
    let base = match found {
        Some(found) if !own.is_file() => found.dir.join("config.toml"),
        _ => own,
    };
    let base = base.display().to_string();
    let asked = if args.config.is_some() { anew()? } else { ask(args, Some(&base), parent, &[])? };
    let changed = changes(&stored, &asked.config);
    if changed.is_empty() {
        return Ok(with_ranks(asked, stored.train.ranks));
    }
    let message = format!("the run in `{}` has another configuration:\n  {}", dir.display(), changed.join("\n  "));
    let hint = match found {
        Some(_) => "leave out what differs, or start a new run with `--init` from this one",
        None => {
            "leave out what differs, or start a new run in another directory (`--run-dir`): this one has saved nothing yet"
        }
    };
    Err(Refusal::usage(message, hint).into())
}

fn ask(args: &RecipeArgs, config: Option<&str>, parent: Option<&Parent>, own: &[String]) -> anyhow::Result<Resolved> {
    let dirs = config_dirs();
    let (parent, sets) = (parent.map(Parent::layer), [own, &args.sets].concat());
    let mut resolved =
        load(&Request { config, sets: &sets, sources: &args.data, format: args.format, search: &dirs, parent })?;
    localize(&mut resolved.config)?;
    Ok(resolved)
}

/// What the run was made with: the checkpoint's `config.toml`, or that of the directory before there is a checkpoint.
fn stored(own: &Path, found: Option<&Found>) -> anyhow::Result<Option<RunConfig>> {
    let in_dir = if own.is_file() { Some(in_run(own, found)?) } else { None };
    let Some(found) = found else { return Ok(in_dir) };
    let stored = parse(&found.text("config.toml")?, &found.dir.join("config.toml"))?;
    match &in_dir {
        Some(in_dir) => refuse_edited(own, &stored, in_dir, found)?,
        None => note(&format!("warning: `{}` is gone; that of step {} is used", own.display(), found.step)),
    }
    Ok(Some(stored))
}

fn parse(text: &str, path: &Path) -> anyhow::Result<RunConfig> {
    Ok(parse_resolved(text, &path.display().to_string())?.config)
}

/// The `config.toml` of a run directory. One that cannot be used any more has a copy in the checkpoint.
fn in_run(own: &Path, found: Option<&Found>) -> anyhow::Result<RunConfig> {
    let read = || parse(&fs::read_to_string(own)?, own);
    let Some(found) = found else { return read() };
    let hint = || format!("put it back (`cp {} {}`)", found.dir.join("config.toml").display(), own.display());
    read().map_err(|error| Refusal::usage(format!("{error:#}"), hint()).into())
}

/// Refuses a `config.toml` that is no longer that of the checkpoints beside it.
fn refuse_edited(own: &Path, stored: &RunConfig, in_dir: &RunConfig, found: &Found) -> anyhow::Result<()> {
    let changed = changes(stored, in_dir);
    if changed.is_empty() {
        return Ok(());
    }
    let (own, good) = (own.display(), found.dir.join("config.toml"));
    let message =
        format!("`{own}` was changed since step {} was saved with another:\n  {}", found.step, changed.join("\n  "));
    let hint = format!(
        "put it back (`cp {} {own}`); other values need a new run, started with `--init` from this one",
        good.display()
    );
    Err(Refusal::usage(message, hint).into())
}

/// What may not differ, and does.
fn changes(old: &RunConfig, new: &RunConfig) -> Vec<String> {
    let changed = differences(old, new).into_iter().filter(|difference| difference.changes_run);
    changed.map(|difference| difference.to_string()).collect()
}

fn no_run(stage: &str, dir: &Path) -> Refusal {
    let shown = dir.display();
    let what = if dir.exists() { "holds no run" } else { "does not exist" };
    Refusal::usage(
        format!("nothing to go on with: `{shown}` {what}"),
        format!(
            "name the run's directory; with a configuration (`mmtrain {stage} --config … --resume {shown}`) a run starts \
             there"
        ),
    )
}

/// The number of ranks is part of the run: it fixes the order of sums, on whatever machine it goes on.
fn with_ranks(mut resolved: Resolved, ranks: usize) -> Resolved {
    resolved.config.train.ranks = ranks;
    resolved
}

/// What a run began from, or `--init` for one that begins.
///
/// Another `--init` than the one it began from is refused; the same one may be repeated, so that one command line starts a
/// run and goes on with it.
pub(crate) fn init(
    stage: Stage,
    args: &RecipeArgs,
    resume: Option<&Path>,
    found: Option<&Found>,
) -> anyhow::Result<Option<PathBuf>> {
    // A run records the directory in the cache, which has the commit in its name.
    let asked = args.init.as_deref().map(in_cache).transpose()?;
    let Some(dir) = resume else {
        return match asked {
            Some(init) => Ok(Some(init)),
            None => stage.parent(args.config.as_deref()),
        };
    };
    let info = RunInfo::read(dir);
    let has_begun = info.is_some() || found.is_some();
    let began = info.and_then(|info| info.init);
    match &asked {
        Some(init) if has_begun && !began.as_deref().is_some_and(|began| same_place(began, init)) => {
            Err(other_init(dir, init, began.as_deref()).into())
        }
        Some(init) => Ok(began.or_else(|| Some(init.clone()))),
        // A run that begins here begins as it would without `--resume`.
        None if !has_begun && args.config.is_some() => stage.parent(args.config.as_deref()),
        None => Ok(began),
    }
}

/// Whether two names are of one place, which may be gone.
fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    a == b || matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}

fn other_init(dir: &Path, init: &Path, began: Option<&Path>) -> Refusal {
    let began = began.map_or_else(|| "its configuration alone".to_owned(), |init| format!("`{}`", init.display()));
    Refusal::usage(
        format!("`--init {}`: the run in `{}` began from {began}", init.display(), dir.display()),
        "leave out `--init` to go on with it, or leave out `--resume` to start a new run",
    )
}

/// Says where the run goes on, or that it begins.
pub(crate) fn announce(run_dir: &Path, found: Option<&Found>, quiet: bool) {
    for reason in found.iter().flat_map(|found| &found.rejected) {
        note(&format!("warning: passed over {reason}"));
    }
    if quiet {
        return;
    }
    let shown = run_dir.display();
    note(&match found {
        Some(found) => format!("going on with `{shown}` from step {}", found.step),
        None => format!("no checkpoint in `{shown}` yet: starting at step 0"),
    });
}
