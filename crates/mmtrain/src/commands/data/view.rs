//! A dataset as the model of a configuration would see it.

use std::sync::Arc;

use anyhow::Context as _;
use mmtrain_config::{Request, RunConfig, SourceConfig, dataset_preset, load};
use mmtrain_data::{Mixture, Preparer, Source};
use mmtrain_text::TextTokenizer;

use super::source_of;
use crate::cli::DataArgs;
use crate::commands::config_dirs;
use crate::fail::Refusal;
use crate::fetch::localize::localize;
use crate::setup;

/// Row length for looking at a dataset without a configuration.
const USUAL_MAX_SEQ: usize = 2048;

/// Sources and how their samples are made ready.
pub(super) struct View {
    pub(super) sources: Vec<Arc<dyn Source>>,
    pub(super) preparer: Arc<Preparer>,
}

impl View {
    /// Without a configuration, that of the quickstart: its template and sizes, rows of [`USUAL_MAX_SEQ`].
    pub(super) fn open(args: &DataArgs) -> anyhow::Result<Self> {
        let config = config(args)?;
        let sources = match &args.data {
            Some(data) => vec![open(&source_of(data, args.format, args.split.as_deref()))?],
            None => config.data.sources.iter().map(open).collect::<anyhow::Result<Vec<_>>>()?,
        };
        let mixture = Mixture::new(sources.iter().map(|source| (source.clone(), 1.0)).collect())?;
        let mut tokenizer = view_tokenizer(&config, &mixture)?;
        tokenizer.ensure_image_token()?;
        let sizes = setup::model_config(&config, tokenizer.vocab_size(), tokenizer.image_id()? as usize)?;
        let processor = setup::processor(&config.model.encoder, &sizes)?;
        let template = setup::template(&config.data, &tokenizer)?;
        let preparer = setup::preparer(Arc::new(tokenizer), processor, &sizes, template, &config.data)?;
        Ok(Self { sources, preparer: Arc::new(preparer) })
    }
}

fn config(args: &DataArgs) -> anyhow::Result<RunConfig> {
    if args.config.is_none() && args.data.is_none() {
        return Err(Refusal::usage(
            "no dataset",
            "name one, as in `mmtrain data check datasets/cc3m`, or give `--config`",
        )
        .into());
    }
    let dirs = config_dirs();
    let config = args.config.as_deref().unwrap_or("quickstart");
    let mut sets = args.sets.clone();
    if args.config.is_none() {
        // The quickstart's rows are short; a dataset is looked at with the usual length.
        sets.insert(0, format!("data.max_seq={USUAL_MAX_SEQ}"));
    }
    let mut config = load(&Request { config: Some(config), sets: &sets, search: &dirs, ..Request::default() })?.config;
    localize(&mut config)?;
    Ok(config)
}

fn open(source: &SourceConfig) -> anyhow::Result<Arc<dyn Source>> {
    setup::open_source(source).map_err(|error| match dataset_preset(&source.name) {
        Some(preset) if !source.location().exists() => {
            Refusal::missing(format!("{error:#}"), format!("expected {}; {}", preset.layout, preset.how_to_get)).into()
        }
        _ => error,
    })
}

/// A tokenizer is trained on what is looked at; that costs a moment and needs no download.
fn view_tokenizer(config: &RunConfig, mixture: &Mixture) -> anyhow::Result<TextTokenizer> {
    setup::tokenizer(config, mixture).context("the tokenizer of the configuration")
}
