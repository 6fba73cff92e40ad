//! `mmtrain config`

use std::process::ExitCode;

use mmtrain_config::{Request, load, presets, schema};
use serde_json::{Map, json};

use super::parent::Parent;
use super::{config_dirs, note, print, print_json};
use crate::cli::{ConfigArgs, ConfigCommand};
use crate::origin::Origin;

/// Runs the command.
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Show(args) => show(args)?,
        ConfigCommand::Check(args) => check(args)?,
        ConfigCommand::Schema => print_json(&schema())?,
        ConfigCommand::Presets => {
            let width = presets().iter().map(|preset| preset.name.len()).max().unwrap_or_default();
            let lines = presets().iter().map(|preset| format!("{:<width$}  {}", preset.name, preset.description));
            print(&lines.collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn resolve(args: &ConfigArgs) -> anyhow::Result<mmtrain_config::Resolved> {
    let dirs = config_dirs();
    let config = args.file.as_deref().or(args.config.as_deref());
    let parent = Parent::of(args.init.as_deref())?;
    let resolved = load(&Request {
        config,
        sets: &args.sets,
        sources: &args.data,
        format: args.format,
        search: &dirs,
        parent: parent.as_ref().map(Parent::layer),
    })?;
    resolved.notes().iter().for_each(|text| note(&format!("note: {text}")));
    Ok(resolved)
}

fn show(args: &ConfigArgs) -> anyhow::Result<()> {
    let resolved = resolve(args)?;
    if !args.json {
        return print(&resolved.show());
    }
    let leaves = resolved.origins().into_iter();
    let leaves = leaves.map(|leaf| (leaf.key, json!({ "value": leaf.value, "origin": leaf.origin.to_string() })));
    print_json(&leaves.collect::<Map<_, _>>())
}

fn check(args: &ConfigArgs) -> anyhow::Result<()> {
    let resolved = resolve(args)?;
    Origin::new(None, args.init.as_deref())?.check(&resolved.config)?;
    if args.json { print_json(&json!({ "ok": true })) } else { print("ok") }
}
