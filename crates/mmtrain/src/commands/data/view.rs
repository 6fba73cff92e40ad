//! A dataset as the model of a configuration would see it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mmtrain_config::{
    AudioArch, AudioFamily, ConnectorConfig, EncoderConfig, PlaceholderKind, Request, RunConfig, SourceConfig,
    TemplateKind, dataset_preset, load,
};
use mmtrain_data::remote::is_remote;
use mmtrain_data::{Mixture, Preparer, Source, Wanted};
use mmtrain_text::{MediaKind, TextTokenizer};
use mmtrain_train::Stop;

use super::source_of;
use crate::cli::DataArgs;
use crate::commands::parent::Parent;
use crate::commands::train::preparer;
use crate::commands::{config_dirs, note};
use crate::fail::Refusal;
use crate::fetch::localize::localize;
use crate::origin::{self, Origin};
use crate::run_dir::RunInfo;
use crate::{setup, vocabulary};

/// Row length for looking at a dataset without a configuration.
const USUAL_MAX_SEQ: usize = 2048;

/// Sources and how their samples are made ready.
pub(super) struct View {
    pub(super) config: RunConfig,
    /// All sources, each sample once.
    pub(super) mixture: Mixture,
    pub(super) sources: Vec<Arc<dyn Source>>,
    /// Of samples of any stage, to be looked at.
    pub(super) preparer: Arc<Preparer>,
    /// As a run of the configuration has it, which learns from its own stage's samples; without a configuration from any.
    pub(super) of_run: Arc<Preparer>,
}

impl View {
    /// Without a configuration, that of the quickstart: its template and sizes, rows of [`USUAL_MAX_SEQ`]; and for clips and
    /// sounds what takes them.
    pub(super) fn open(args: &DataArgs) -> anyhow::Result<Self> {
        let mut config = config(args)?;
        let origin = Origin::new(None, args.init.as_deref())?;
        origin.check(&config)?;
        let sources = match &args.data {
            Some(data) => vec![open(&source_of(data, args.format, args.split.as_deref()), config.data.placeholder)?],
            None => open_all(&config.data.sources, config.data.placeholder)?,
        };
        if args.config.is_none() {
            take_all(&mut config, &sources);
        }
        let mixture = Mixture::new(sources.iter().map(|source| (source.clone(), 1.0)).collect())?;
        let tokenizer = tokenizer((args, &config), &origin, &mixture)?;
        let sizes = match origin.dir() {
            Some(dir) => origin::sizes(&config, dir)?,
            None => setup::model_config(&config, tokenizer.vocab_size(), tokenizer.image_id()? as usize)?,
        };
        let preprocessor = origin.preprocessor(&config, &sizes)?;
        let of_run = preparer(&config, &origin, &sizes, (Arc::new(tokenizer), preprocessor))?;
        let preparer = Arc::new(Preparer { wanted: Wanted::Any, ..of_run.clone() });
        let of_run = if args.config.is_some() { Arc::new(of_run) } else { preparer.clone() };
        Ok(Self { config, mixture, sources, preparer, of_run })
    }

    /// What the configuration holds out, opened.
    pub(super) fn held_out(&self) -> anyhow::Result<Vec<Arc<dyn Source>>> {
        let data = &self.config.data;
        open_all(data.eval.iter().chain(&data.held_out), data.placeholder)
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
        // Its later stages' conversations have nothing to do with these data.
        sets.insert(0, "model.tokenizer.train_bpe.sources=[]".to_owned());
    }
    let parent = Parent::of(args.init.as_deref())?;
    let parent = parent.as_ref().map(Parent::layer);
    let request = Request { config: Some(config), sets: &sets, search: &dirs, parent, ..Request::default() };
    let mut config = load(&request)?.config;
    localize(&mut config)?;
    Ok(config)
}

/// Samples that are looked at for the kinds of their media.
const LOOKED_AT: usize = 16;

/// Lets the configuration take what the data have: conversations get a chat template, sounds Qwen2-Audio's layout.
fn take_all(config: &mut RunConfig, sources: &[Arc<dyn Source>]) {
    let first = sources.iter().flat_map(|source| {
        let looked_at = 0..source.len().min(LOOKED_AT);
        looked_at.filter_map(|index| source.get(index).ok())
    });
    let first = first.collect::<Vec<_>>();
    if first.iter().any(|sample| sample.conversation.turns.first().is_some_and(|turn| !turn.text().trim().is_empty())) {
        config.data.template = TemplateKind::Chatml;
    }
    let kinds = first.iter().flat_map(|sample| &sample.media).map(|medium| medium.kind).collect::<Vec<_>>();
    if kinds.contains(&MediaKind::Video) {
        config.data.video.get_or_insert_default();
    }
    if kinds.contains(&MediaKind::Audio) {
        let sizes = AudioArch {
            family: AudioFamily::Qwen2Audio,
            num_mel_bins: 128,
            chunk_secs: 30,
            hidden_size: 64,
            intermediate_size: 256,
            num_hidden_layers: 1,
            num_attention_heads: 1,
        };
        config.model.encoder = EncoderConfig { audio_arch: Some(sizes), ..EncoderConfig::default() };
        config.model.connector = ConnectorConfig::default();
    }
}

/// Opens sources of the configuration, and makes what a `synth` table describes.
fn open_all<'a>(
    sources: impl IntoIterator<Item = &'a SourceConfig>,
    placeholder: PlaceholderKind,
) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    let open = |source| {
        setup::make_synth(source, &Stop::default())?;
        open(source, placeholder)
    };
    sources.into_iter().map(open).collect()
}

fn open(source: &SourceConfig, placeholder: PlaceholderKind) -> anyhow::Result<Arc<dyn Source>> {
    setup::open_source(source, placeholder).map_err(|error| match dataset_preset(&source.name) {
        Some(preset) if !is_remote(&source.location()) && !source.location().exists() => {
            Refusal::missing(format!("{error:#}"), format!("expected {}; {}", preset.layout, preset.how_to_get)).into()
        }
        _ => error,
    })
}

/// That of the model from which a run would start, that of a run whose configuration this is, or one that is learned.
fn tokenizer(
    (args, config): (&DataArgs, &RunConfig),
    origin: &Origin<'_>,
    mixture: &Mixture,
) -> anyhow::Result<TextTokenizer> {
    if let Origin::Init(_) = origin {
        return origin.tokenizer(config, mixture, &Stop::default());
    }
    let mut tokenizer = match run_of(args.config.as_deref()) {
        Some(run) => TextTokenizer::load(run)?,
        None => learned_tokenizer(config, mixture)?,
    };
    tokenizer.ensure_image_token()?;
    Ok(tokenizer)
}

/// The directory of a run, or of a checkpoint, where the configuration is its own: its tokenizer has been learned.
fn run_of(config: Option<&str>) -> Option<&Path> {
    let dir = Path::new(config?).parent()?;
    let is_own = dir.join("manifest.json").is_file() || RunInfo::read(dir).is_some();
    (is_own && dir.join("tokenizer.json").is_file()).then_some(dir)
}

/// A tokenizer is learned from what is looked at; that costs a moment and needs no download.
fn learned_tokenizer(config: &RunConfig, mixture: &Mixture) -> anyhow::Result<TextTokenizer> {
    let (there, absent): (Vec<_>, Vec<_>) = config.learned_from().partition(|source| source.location().exists());
    for source in absent {
        note(&format!("source `{}` is not there yet: the tokenizer is learned without it", source.name));
    }
    let more = there.into_iter().map(|source| setup::open_training(source, config.data.placeholder));
    let more = more.collect::<Result<_, _>>()?;
    vocabulary::tokenizer(config, mixture, more).context("the tokenizer of the configuration")
}
