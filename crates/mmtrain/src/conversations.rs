//! How a model's conversations are written down: as its run did, as the file beside an export says, or by the checkpoint's own chat template.

use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_config::{DataConfig, TemplateKind};
use mmtrain_data::{Intake, Preparer};
use mmtrain_text::{MediaKind, TextTokenizer};
use serde::{Deserialize, Serialize};

use crate::commands::note;
use crate::holdings::run_config;

/// Beside weights that a run made and Hugging Face's files describe: what those cannot say.
const FILE: &str = "mmtrain.toml";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    data: DataConfig,
}

/// The settings for a model in this directory; of one that no run made, rows are as long as the model takes.
pub(crate) fn settings(dir: &Path, tokenizer: &TextTokenizer, longest: usize) -> anyhow::Result<DataConfig> {
    if let Some(config) = run_config(dir)? {
        return Ok(config.data);
    }
    let file = dir.join(FILE);
    if file.is_file() {
        let beside: Beside =
            toml::from_str(&fs::read_to_string(&file)?).with_context(|| format!("`{}`", file.display()))?;
        return Ok(beside.data);
    }
    let template = if tokenizer.chat_template().is_some() { TemplateKind::Chat } else { TemplateKind::Plain };
    Ok(DataConfig { template, max_seq: longest, ..DataConfig::default() })
}

/// Says so where a checkpoint's chat template writes nothing for the media that the model takes. A run may have been trained
/// so.
pub(crate) fn note_unwritten(dir: &Path, preparer: &Preparer) -> anyhow::Result<()> {
    let (kind, name) = match preparer.intake {
        Intake::Sight { .. } => (MediaKind::Image, "pictures"),
        Intake::Hearing { .. } => (MediaKind::Audio, "sounds"),
    };
    if !preparer.template.writes(kind) && run_config(dir)?.is_none() && !dir.join(FILE).is_file() {
        note(&format!(
            "warning: the chat template of `{}` writes nothing for {name}: they stand among the words, with nothing around them",
            dir.display()
        ));
    }
    Ok(())
}

/// Hands on what the directory `from` has to say to the export `out`.
pub(crate) fn hand_on(from: &Path, out: &Path) -> anyhow::Result<()> {
    if let Some(config) = run_config(from)? {
        let mut data = DataConfig { sources: Vec::new(), eval: None, held_out: Vec::new(), ..config.data };
        // The tokenizer carries the template of the file.
        if matches!(data.template, TemplateKind::Jinja(_)) {
            data.template = TemplateKind::Chat;
        }
        let text = toml::to_string(&Beside { data })?;
        fs::write(
            out.join(FILE),
            format!("# How mmtrain writes conversations for this model; no other program reads this.\n{text}"),
        )?;
    } else if from.join(FILE).is_file() {
        fs::copy(from.join(FILE), out.join(FILE))?;
    }
    Ok(())
}
