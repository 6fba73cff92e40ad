//! `mmtrain export`: a trained model as transformers loads it.

mod companions;
mod in_place;
mod special;

use std::path::Path;
use std::process::ExitCode;

use burn::prelude::Device;
use fs_err as fs;
use mmtrain_model::lora::peft::{CONFIG_FILE, PeftAdapter, WEIGHTS_FILE};
use mmtrain_model::weights::{Export, ExportedFile, StoredType};
use mmtrain_text::instruction;
use serde_json::{Value, json};

use super::{note, print_json};
use crate::adapters;
use crate::cli::{ExportArgs, ExportFormat, ExportType};
use crate::conversations;
use crate::fail::Refusal;
use crate::model_dir::{load_base, load_wide, locate, require_whole};
use companions::add_companions;
pub(super) use in_place::in_place;
use special::name_special_tokens;

/// What stands beside the weights and is the same in both layouts.
const COMPANIONS: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// The same of what pictures, clips and sounds go through.
const OF_MEDIA: [&str; 3] = ["preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"];

/// Runs the command.
pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let ExportFormat::Hf = args.format;
    let dir = locate(&args.model)?;
    require_whole(&dir)?;
    if args.out.exists() {
        return Err(Refusal::usage(
            format!("`{}` is there already", args.out.display()),
            "name a directory that does not exist yet",
        )
        .into());
    }
    if args.adapter {
        return adapter(args, &dir);
    }
    let load = if args.base { load_base } else { load_wide };
    let model = load(&dir, &Device::flex())?;
    let export =
        if args.decoder { Export::decoder(&model) } else { Export::new(&model).map_err(|reason| refused(&reason))? };
    let stored = match args.dtype {
        ExportType::F32 => StoredType::F32,
        ExportType::Bf16 => StoredType::Bf16,
    };
    let files = in_place(&args.out, |out| write(&export, stored, &dir, out))?;
    report(args, &export, &files)?;
    Ok(ExitCode::SUCCESS)
}

/// The adapters of a run, for PEFT.
fn adapter(args: &ExportArgs, dir: &Path) -> anyhow::Result<ExitCode> {
    let (model, kinds) = adapters::load(dir)?;
    if kinds.is_empty() {
        let message = format!("`{}` has no adapters", dir.display());
        let hint = "without `--adapter` the whole model is written; runs have adapters with `tuning = { lora = … }`";
        return Err(Refusal::usage(message, hint).into());
    }
    let adapter = PeftAdapter::of(&model, &kinds).map_err(|reason| refused(&reason))?;
    let tensors = in_place(&args.out, |out| Ok(adapter.write(&model, out)?))?;
    if args.json {
        print_json(&json!({ "out": args.out, "tensors": tensors, "files": [CONFIG_FILE, WEIGHTS_FILE] }))?;
    } else {
        note(&format!("{tensors} tensors of adapters in `{}`; `--base` writes the model for them", args.out.display()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn refused(reason: &str) -> Refusal {
    let hint = "mmtrain itself uses the run or checkpoint as it is; a model for transformers needs the tower and connector \
                of one of its classes (docs/guide/export.md)";
    Refusal::usage(format!("transformers cannot hold this model: {reason}"), hint)
}

/// Everything that belongs into the directory.
fn write(export: &Export<'_>, stored: StoredType, from: &Path, out: &Path) -> anyhow::Result<Vec<ExportedFile>> {
    write_beside(export, export.config(stored).map_err(|reason| refused(&reason))?, from, out)?;
    Ok(export.write(out, stored)?)
}

/// Everything but the weights.
pub(super) fn write_beside(export: &Export<'_>, mut config: Value, from: &Path, out: &Path) -> anyhow::Result<()> {
    name_special_tokens(&mut config, from);
    fs::write(out.join("config.json"), format!("{config:#}\n"))?;
    copy_files(&COMPANIONS, from, out)?;
    if export.has_media() {
        copy_files(&OF_MEDIA, from, out)?;
        copy_folder(&from.join(instruction::FOLDER), &out.join(instruction::FOLDER))?;
        conversations::hand_on(from, out)?;
    }
    add_companions(export, from, out)
}

/// Those that are there.
fn copy_files(names: &[&str], from: &Path, out: &Path) -> anyhow::Result<()> {
    for name in names {
        let file = from.join(name);
        if file.is_file() {
            fs::copy(&file, out.join(name))?;
        }
    }
    Ok(())
}

/// The files of a folder, where there is one.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn report(args: &ExportArgs, export: &Export<'_>, files: &[ExportedFile]) -> anyhow::Result<()> {
    let bytes = files.iter().map(|file| file.bytes).sum::<u64>();
    let tensors = files.iter().map(|file| file.tensors).sum::<usize>();
    let class = export.architecture().unwrap_or("mmtrain's own form");
    if args.json {
        return print_json(&json!({
            "out": args.out, "class": class, "tensors": tensors, "bytes": bytes,
            "files": files.iter().map(|file| &file.name).collect::<Vec<_>>(),
        }));
    }
    let mebibytes = bytes / (1 << 20);
    note(&format!(
        "{class}: {tensors} tensors, {mebibytes} MiB in {} file(s) in `{}`",
        files.len(),
        args.out.display()
    ));
    Ok(())
}
