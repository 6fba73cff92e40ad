//! `mmtrain serve`

mod ready;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fs_err as fs;
use mmtrain_serve::{Bound, Key, Limits, Model, ServeError, Settings, serve};

use self::ready::Readying;
use super::{Context, note};
use crate::cli::ServeArgs;
use crate::fail::Refusal;
use crate::model_dir;
use crate::signals::stop_on_signals;

/// Where a key is looked for that no file has.
const KEY_VARIABLE: &str = "MMTRAIN_API_KEY";

/// Runs the command: serves until a signal comes, then gives the answers that are on their way.
pub(crate) fn run(context: &Context, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(args)?;
    // What is wrong with the settings or the address should not show only after minutes of loading.
    drop(Bound::new(settings.clone()).map_err(refused)?);
    let device = context.device.open()?;
    let loaded = model_dir::load(&args.model, args.weights, context.quiet, &device.device)?;
    let readying = Readying::new(&loaded.preparer, args)?;
    let stop_ids = loaded.preparer.template.stop_ids(&loaded.preparer.tokenizer);
    let mut model = Model::new(&loaded.model, &loaded.preparer.tokenizer, stop_ids);
    let stop = stop_on_signals()?;
    let name = settings.model.clone();
    let keyed = settings.key.is_some();
    let bound = Bound::new(settings).map_err(refused)?;
    if !context.quiet {
        let key = if keyed { ", for whoever knows the key" } else { "" };
        note(&format!("serving `{name}` on http://{}/{key}", bound.address()?));
        if let Some(address) = bound.metrics_address() {
            note(&format!("metrics on http://{}/metrics", address?));
        }
    }
    serve(bound, readying, &mut model, move || stop.requested()).map_err(refused)?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    let limits = Limits {
        body_bytes: (args.max_body_mib as usize) << 20,
        all_body_bytes: (args.max_body_mib as usize) << 22,
        prompt_tokens: args.max_prompt_tokens.unwrap_or(usize::MAX),
        new_tokens: args.max_new_tokens,
        batch: args.max_running,
        queue: args.max_waiting,
        connections: args.max_connections,
        request_time: Duration::from_secs(args.timeout.into()),
        ..Limits::default()
    };
    Ok(Settings {
        address: args.address,
        metrics: args.metrics,
        key: key(args)?,
        model: name(args)?,
        hosts: args.host_name.clone(),
        limits,
    })
}

/// From a file or the environment: a command line can be read by every user of a machine.
fn key(args: &ServeArgs) -> anyhow::Result<Option<Key>> {
    let (text, place) = match &args.key_file {
        Some(file) => {
            let missing = |error: std::io::Error| {
                Refusal::missing(error.to_string(), "`--key-file` takes a file with the key in it")
            };
            (fs::read_to_string(file).map_err(missing)?, format!("`{}`", file.display()))
        }
        None => match std::env::var(KEY_VARIABLE) {
            Ok(text) => (text, format!("`{KEY_VARIABLE}`")),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(Refusal::usage(
                    format!("`{KEY_VARIABLE}` is no text"),
                    "make a key: `openssl rand -hex 32`",
                )
                .into());
            }
        },
    };
    let key = Key::new(&text).map_err(|error| Refusal::usage(format!("{place}: {error}"), error.hint()))?;
    args.key_file.as_deref().map(warn_if_open).transpose()?;
    Ok(Some(key))
}

/// Says so where others than the owner may read the key.
fn warn_if_open(file: &Path) -> anyhow::Result<()> {
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 {
        note(&format!("warning: others may read `{0}`: `chmod 600 {0}`", file.display()));
    }
    Ok(())
}

/// `checkpoints/my-run` is `my-run`, `hf:ORG/NAME` is `NAME`.
fn name(args: &ServeArgs) -> Result<String, Refusal> {
    let of_dir = || args.model.canonicalize().unwrap_or_else(|_| args.model.clone());
    let of_dir = || of_dir().file_name().map(|name| name.to_string_lossy().into_owned());
    let name = args.name.clone().or_else(of_dir).unwrap_or_else(|| "model".to_owned());
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Refusal::usage(
            format!("`{}` is no name for a model", name.escape_debug()),
            "give one with `--name`",
        ));
    }
    Ok(name)
}

fn refused(error: ServeError) -> anyhow::Error {
    let Some(hint) = error.hint() else { return error.into() };
    let message = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Refusal::usage(message, hint).into()
}
