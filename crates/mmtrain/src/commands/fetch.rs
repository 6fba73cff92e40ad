//! `mmtrain fetch`: a model of the Hugging Face hub into the cache, or into a directory.

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{Context, note, print, print_json};
use crate::cli::FetchArgs;
use crate::fail::Refusal;
use crate::fetch::cache::Cache;
use crate::fetch::choose::{Choice, LeftOut, Why, choose};
use crate::fetch::client::Client;
use crate::fetch::hub::{Contents, contents, list};
use crate::fetch::name::HubName;
use crate::fetch::place::Place;
use crate::fetch::settings::Settings;
use crate::fetch::transfer::{Outcome, bring};
use crate::progress::Mode;

/// What the command says.
#[derive(Debug, Serialize)]
struct Fetched {
    repository: String,
    revision: String,
    commit: String,
    dir: PathBuf,
    files: Vec<FetchedFile>,
    left_out: Vec<LeftOut>,
}

/// One file of it.
#[derive(Debug, Serialize)]
struct FetchedFile {
    path: String,
    size: u64,
    sha256: Option<String>,
    outcome: Outcome,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &FetchArgs) -> anyhow::Result<ExitCode> {
    let name = name(args)?;
    let settings = Settings::from_env();
    if settings.offline {
        return offline(&settings, &name, args);
    }
    let client = Client::new(&settings, &name)?;
    let listing = list(&client, &name)?;
    let choice = choose(&name, &listing.files, &args.include)?;
    let cache = Cache { root: settings.cache.clone() };
    let place = match &args.out {
        Some(dir) => Place::Directory(dir.clone()),
        None => Place::in_cache(&cache, &name, &listing.commit),
    };
    if !context.quiet {
        say_left_out(&choice);
    }
    let mode = Mode::detect(context.quiet);
    let mut files = Vec::new();
    for file in &choice.taken {
        let contents = contents(&client, &name, &listing.commit, file)?;
        let outcome = show(mode, &contents, |progress| bring(&client, &contents, &place, progress))?;
        files.push(FetchedFile { path: contents.path, size: contents.size, sha256: contents.sha256, outcome });
    }
    place.name_commit(name.revision())?;
    let (repository, revision) = (name.repository(), name.revision().to_owned());
    let (dir, left_out) = (place.dir(), choice.left_out);
    report(&Fetched { repository, revision, commit: listing.commit, dir, files, left_out }, args.json)
}

fn name(args: &FetchArgs) -> Result<HubName, Refusal> {
    let name = args.name.parse::<HubName>()?;
    match &args.revision {
        Some(_) if name.revision.is_some() => {
            Err(Refusal::usage(format!("`{name}` and `--revision` both name a revision"), "leave one of them out"))
        }
        Some(revision) => name.at(revision),
        None => Ok(name),
    }
}

/// Only says where it is.
fn offline(settings: &Settings, name: &HubName, args: &FetchArgs) -> anyhow::Result<ExitCode> {
    let cache = Cache { root: settings.cache.clone() };
    let dir = cache.snapshot(name).filter(|_| args.out.is_none()).ok_or_else(|| {
        Refusal::missing(
            format!("`{name}` would have to be downloaded, and `HF_HUB_OFFLINE` is set"),
            format!("`HF_HUB_OFFLINE=0 {}`", name.command()),
        )
    })?;
    print(&dir.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn say_left_out(choice: &Choice<'_>) {
    for (why, what) in [
        (Why::Pickle, "left out, since reading a pickle runs code that it holds"),
        (Why::OtherFormat, "left out, since nothing here reads it"),
    ] {
        let paths = choice.left_out.iter().filter(|file| file.why == why).map(|file| printable(&file.path));
        let paths = paths.collect::<Vec<_>>();
        if !paths.is_empty() {
            note(&format!("{what}: {}", paths.join(", ")));
        }
    }
}

/// File names come from the network and could steer the terminal.
fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}

/// Shows a bar while `work` goes on, or a line when it is done.
fn show(
    mode: Mode,
    contents: &Contents,
    work: impl FnOnce(&mut dyn FnMut(u64)) -> Result<Outcome, Refusal>,
) -> Result<Outcome, Refusal> {
    let bar = match mode {
        Mode::Bar => ProgressBar::with_draw_target(Some(contents.size), ProgressDrawTarget::stderr()),
        Mode::Plain | Mode::Quiet => ProgressBar::hidden(),
    };
    let style =
        ProgressStyle::with_template("{msg} {wide_bar:.blue/8} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}");
    bar.set_style(style.expect("the template is well formed"));
    bar.set_message(printable(&contents.path));
    let outcome = work(&mut |here| bar.set_position(here));
    bar.finish_and_clear();
    if mode != Mode::Quiet
        && let Ok(outcome) = &outcome
    {
        let what = if *outcome == Outcome::There { "already here" } else { "downloaded" };
        note(&format!("{}: {} bytes, {what}", printable(&contents.path), contents.size));
    }
    outcome
}

fn report(fetched: &Fetched, json: bool) -> anyhow::Result<ExitCode> {
    let said = if json { print_json(fetched) } else { print(&fetched.dir.display().to_string()) };
    said.map(|()| ExitCode::SUCCESS)
}
