//! What a run takes over from what it starts from: the configuration of a run, or a description of a directory from the hub.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_config::ConnectorConfig;
use mmtrain_model::config::read_vlm;
use mmtrain_text::TextTokenizer;
use serde::Serialize;

use crate::model_dir::{locate, require_whole};

/// The configuration that stands below the one of a run.
pub(crate) struct Parent {
    text: String,
    name: String,
    /// Whether it is a model with a chat template of its own.
    pub(crate) chats: bool,
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
            return Ok(Some(Self { text, name: file.display().to_string(), chats: false }));
        }
        Self::of_hub(dir).map(Some)
    }

    /// A directory of weights that no run made.
    fn of_hub(dir: PathBuf) -> anyhow::Result<Self> {
        require_whole(&dir)?;
        let name = dir.display().to_string();
        let connector = read_vlm(&dir)?.connector.to_arch();
        let has_tokenizer = dir.join("tokenizer.json").is_file();
        let chats = has_tokenizer && TextTokenizer::load(&dir)?.chat_template().is_some();
        let weights = Weights { weights: dir };
        let model = Model { encoder: &weights, decoder: &weights, connector };
        let text = toml::to_string(&Layer { model }).with_context(|| format!("`{name}`"))?;
        Ok(Self { text, name, chats })
    }
}

#[derive(Serialize)]
struct Layer<'a> {
    model: Model<'a>,
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
