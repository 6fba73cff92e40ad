//! What a run takes over from what it starts from: the configuration of a run, or a description of a directory from the hub.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_config::{ConnectorConfig, DataConfig, PlaceholderKind, TemplateKind, parse_resolved};
use mmtrain_model::config::read_vlm;
use mmtrain_text::TextTokenizer;
use mmtrain_train::checkpoint::Found;
use serde::Serialize;

use crate::conversations;
use crate::model_dir::{locate, require_whole};

/// The configuration that stands below the one of a run.
pub(crate) struct Parent {
    text: String,
    name: String,
    /// How conversations are written to a model of the hub that knows it, or by a run that goes on, as `key=value`: presets say that
    /// for models that do not.
    pub(crate) conversations: Vec<String>,
}

impl Parent {
    /// Its text and its name.
    pub(crate) fn layer(&self) -> (&str, &str) {
        (&self.text, &self.name)
    }

    /// That of `--init`.
    pub(crate) fn of(init: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(init) = init else { return Ok(None) };
        let dir = locate(init)?;
        let file = dir.join("config.toml");
        if file.is_file() {
            let text = fs::read_to_string(&file)?;
            return Ok(Some(Self { text, name: file.display().to_string(), conversations: Vec::new() }));
        }
        Self::of_hub(dir).map(Some)
    }

    /// What a run that goes on had taken over: it is in its own checkpoint, and what it began from may be gone.
    pub(crate) fn of_checkpoint(found: &Found) -> anyhow::Result<Self> {
        let (text, name) = (found.text("config.toml")?, found.dir.join("config.toml").display().to_string());
        let DataConfig { template, system, placeholder, .. } = parse_resolved(&text, &name)?.config.data;
        let conversations = Conversation { template, system, placeholder }.sets()?;
        Ok(Self { text, name, conversations })
    }

    /// A directory of weights that no run made.
    fn of_hub(dir: PathBuf) -> anyhow::Result<Self> {
        require_whole(&dir)?;
        let name = dir.display().to_string();
        let connector = read_vlm(&dir)?.connector.to_arch();
        let conversation = conversation(&dir)?;
        let weights = Weights { weights: dir };
        let model = Model { encoder: &weights, decoder: &weights, connector };
        let text =
            toml::to_string(&Layer { model, data: conversation.as_ref() }).with_context(|| format!("`{name}`"))?;
        let conversations = conversation.as_ref().map_or_else(|| Ok(Vec::new()), Conversation::sets)?;
        Ok(Self { text, name, conversations })
    }
}

/// How a directory of the hub says that conversations are written: in the file that an export has beside it, or by a chat template.
fn conversation(dir: &Path) -> anyhow::Result<Option<Conversation>> {
    if !dir.join("tokenizer.json").is_file() {
        return Ok(None);
    }
    let DataConfig { template, system, placeholder, .. } = conversations::settings(dir, &TextTokenizer::load(dir)?, 0)?;
    let is_known = template != TemplateKind::Plain;
    Ok(is_known.then_some(Conversation { template, system, placeholder }))
}

#[derive(Serialize)]
struct Layer<'a> {
    model: Model<'a>,
    data: Option<&'a Conversation>,
}

#[derive(Serialize)]
struct Conversation {
    template: TemplateKind,
    system: Option<String>,
    placeholder: PlaceholderKind,
}

impl Conversation {
    /// As they are given to `--set`.
    fn sets(&self) -> anyhow::Result<Vec<String>> {
        let table = toml::Table::try_from(self)?;
        Ok(table.into_iter().map(|(key, value)| format!("data.{key}={value}")).collect())
    }
}

#[derive(Serialize)]
struct Model<'a> {
    encoder: &'a Weights,
    decoder: &'a Weights,
    connector: Option<ConnectorConfig>,
}

#[derive(Serialize)]
struct Weights {
    weights: PathBuf,
}
