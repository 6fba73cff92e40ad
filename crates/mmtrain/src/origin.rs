//! Where a start takes tokenizer, weights and image processing from.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mmtrain_config::{self as user, RunConfig};
use mmtrain_data::Mixture;
use mmtrain_media::Preprocessor;
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    AudioConfig, ConnectorConfig, EncoderConfig, TextConfig, VisionConfig, VitConfig, VlmConfig, read_vlm,
};
use mmtrain_model::params::Part;
use mmtrain_text::TextTokenizer;
use mmtrain_train::Stop;
use mmtrain_train::checkpoint::{Found, FrozenPart};
use mmtrain_train::trainer::part_config;
use serde::Serialize;
use serde_json::Value;

use crate::fail::Refusal;
use crate::holdings::{Holding, all_holdings, configured};
use crate::vocabulary::TokenizerKind;
use crate::weights::PartWeights;
use crate::{adapters, model_dir, preprocess, room, setup, vocabulary};

/// What a start goes on from.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// A verified checkpoint of the run itself: all it holds comes from there, never from copies beside it.
    Checkpoint(&'a Found),
    /// The directory with weights that `--init` led to.
    Init(PathBuf),
    /// What the configuration says.
    Config,
}

impl<'a> Origin<'a> {
    /// The checkpoint where there is one, else what `--init` names, else the configuration.
    pub(crate) fn new(found: Option<&'a Found>, init: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match (found, init) {
            (Some(found), _) => Self::Checkpoint(found),
            (None, Some(init)) => Self::Init(model_dir::locate(init)?),
            (None, None) => Self::Config,
        })
    }

    /// Refuses weights for `--init` that are not of the model which the configuration describes and the run records.
    pub(crate) fn check(&self, config: &RunConfig) -> anyhow::Result<()> {
        match self {
            Self::Init(dir) => {
                model_dir::require_whole(dir)?;
                let model = read_vlm(dir)?;
                check_sizes(config, &model, dir)?;
                check_feature_layer(config, &model, dir)?;
                check_connector(config, &model, dir)?;
                vocabulary::check_brought(config, dir)
            }
            Self::Checkpoint(_) | Self::Config => Ok(()),
        }
    }

    /// The directory that holds a whole model, if there is one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        match self {
            Self::Checkpoint(found) => Some(&found.dir),
            Self::Init(dir) => Some(dir),
            Self::Config => None,
        }
    }

    /// The tokenizer, with a placeholder for pictures.
    pub(crate) fn tokenizer(
        &self,
        config: &RunConfig,
        mixture: &Mixture,
        stop: &Stop,
    ) -> anyhow::Result<TextTokenizer> {
        match self.own_tokenizer() {
            None => vocabulary::tokenizer(config, mixture, vocabulary::open_more(config, stop)?),
            Some(dir) => {
                let mut tokenizer = TextTokenizer::load(dir)?;
                tokenizer.use_image_token(read_vlm(dir)?.image_token_id as u32)?;
                Ok(tokenizer)
            }
        }
    }

    /// Refuses a tokenizer whose placeholder is not the one that the model replaces by features. What the captions will
    /// teach is not there yet.
    pub(crate) fn check_tokenizer(&self, config: &RunConfig, sizes: &VlmConfig) -> anyhow::Result<()> {
        let place = match self.own_tokenizer() {
            Some(dir) => dir,
            None => match vocabulary::tokenizer_kind(config)? {
                TokenizerKind::There(path) => path,
                TokenizerKind::Learned(_) => return Ok(()),
            },
        };
        let mut tokenizer = TextTokenizer::load(place)?;
        tokenizer.use_image_token(sizes.image_token_id as u32)?;
        setup::check_placeholder(&tokenizer, sizes)?;
        setup::check_vocab(&tokenizer, sizes)
    }

    /// The directory whose tokenizer is taken, where it is the model's own.
    fn own_tokenizer(&self) -> Option<&Path> {
        self.dir().filter(|dir| self.is_checkpoint() || dir.join("tokenizer.json").is_file())
    }

    /// The weights from which the loop goes on. What is trained of a checkpoint is still zeros: it comes with its moments.
    pub(crate) fn model(&self, config: &RunConfig, tokenizer: &TextTokenizer, device: &Device) -> anyhow::Result<Vlm> {
        let sizes = match self.dir() {
            Some(dir) => sizes(config, dir)?,
            None => setup::model_config(config, tokenizer.vocab_size(), tokenizer.image_id()? as usize)?,
        };
        let kinds = adapters::of_config(config);
        let zeros = adapters::attached(Vlm::zeros(&sizes, device), &kinds)?;
        room::for_training(config, &zeros, &self.held(config, &zeros)?, device)?;
        match self {
            Self::Checkpoint(found) => {
                adapters::attached(model_dir::load_frozen(&found.dir, config, &sizes, device)?, &kinds)
            }
            Self::Init(dir) => {
                let base = model_dir::load_weights(dir, config, &sizes, device)?;
                adapters::begun(adapters::attached(base, &kinds)?, config, Some(dir))
            }
            Self::Config => {
                let base = setup::build_model(config, &sizes, device)?;
                adapters::begun(adapters::attached(base, &kinds)?, config, None)
            }
        }
    }

    /// Where the weights lie, with what of the model lies there.
    pub(crate) fn held(&self, config: &RunConfig, model: &Vlm) -> anyhow::Result<Vec<Holding>> {
        self.dir().map_or_else(|| Ok(configured(config, model)), |dir| all_holdings(model, dir))
    }

    /// How media become the encoder's input.
    pub(crate) fn preprocessor(&self, config: &RunConfig, sizes: &VlmConfig) -> anyhow::Result<Preprocessor> {
        match self {
            Self::Checkpoint(found) => preprocess::fitting(&found.dir, &sizes.encoder),
            Self::Init(dir) if preprocess::is_in(dir) => {
                preprocess::begun_with(dir, &config.model.encoder, &sizes.encoder)
            }
            Self::Init(_) | Self::Config => preprocess::preprocessor(&config.model.encoder, sizes),
        }
    }

    /// How a part that is not trained, or beside which adapters are, is found again: its weights stay where they are.
    pub(crate) fn frozen_part(&self, config: &RunConfig, part: Part, model: &Vlm) -> anyhow::Result<FrozenPart> {
        let places = match self.dir() {
            Some(dir) => PartWeights { own: Some(dir.to_owned()), second: None },
            None => PartWeights::of_config(config, part),
        };
        let PartWeights { own, second } = places.absolute();
        let quantization = part_config(config, part).tuning.quantization();
        Ok(FrozenPart {
            part,
            weights: own,
            second,
            hash: model_dir::part_hash(model, part, quantization),
            quantization,
            lora: adapters::of_config(config).remove(&part),
            continued: adapters::continued(config, part, self.dir())?.is_some(),
        })
    }

    fn is_checkpoint(&self) -> bool {
        matches!(self, Self::Checkpoint(_))
    }
}

/// The sizes of the model in a directory, which makes of clips what the configuration says.
pub(crate) fn sizes(config: &RunConfig, dir: &Path) -> anyhow::Result<VlmConfig> {
    let sizes = read_vlm(dir)?;
    let encoder = setup::with_video(sizes.encoder, &config.model.encoder)?;
    let sizes = VlmConfig { encoder, ..sizes };
    sizes.check().map_err(|message| Refusal::usage(message, "change `model.encoder`"))?;
    Ok(sizes)
}

/// What a configuration says of sizes is what the run has from which it starts. A model of the hub has its own.
fn check_sizes(config: &RunConfig, model: &VlmConfig, dir: &Path) -> anyhow::Result<()> {
    if !dir.join("config.toml").is_file() {
        return Ok(());
    }
    let (user::EncoderConfig { arch, audio_arch, .. }, text) = (&config.model.encoder, &model.text);
    let mut found = Vec::new();
    if let (Some(arch), Some(vit)) = (arch, model.encoder.vit()) {
        found.extend(differences("model.encoder.arch", &VisionConfig::from_arch(arch), &vit.vision)?);
    }
    if let (Some(arch), EncoderConfig::Audio(audio)) = (audio_arch, &model.encoder) {
        found.extend(differences("model.encoder.audio_arch", &AudioConfig::from_arch(arch), audio)?);
    }
    if let Some(arch) = &config.model.decoder.arch {
        found.extend(differences("model.decoder.arch", &TextConfig::from_arch(arch, text.vocab_size), text)?);
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Refusal::usage(
        format!(
            "the model of `{}` is another one than the configuration describes:\n  {}",
            dir.display(),
            found.join("\n  ")
        ),
        "leave `[model]` out: a run takes the model that it starts from",
    )
    .into())
}

/// A value that is not the same in both.
struct Differing {
    name: String,
    ours: Value,
    theirs: Value,
}

impl Differing {
    fn line(&self, key: &str) -> String {
        let Self { name, ours, theirs } = self;
        format!("`{key}.{name}`: {ours}, the model has {theirs}")
    }
}

/// The values of two sizes that are not the same.
fn differing<T: Serialize>(ours: &T, theirs: &T) -> anyhow::Result<Vec<Differing>> {
    let (ours, theirs) = (serde_json::to_value(ours)?, serde_json::to_value(theirs)?);
    let ours = ours.as_object().into_iter().flatten();
    let differing = ours.filter_map(|(name, value)| {
        let other = theirs.get(name).unwrap_or(&Value::Null);
        (value != other).then(|| Differing { name: name.clone(), ours: value.clone(), theirs: other.clone() })
    });
    Ok(differing.collect())
}

/// As [`differing`], a line each.
fn differences<T: Serialize>(key: &str, ours: &T, theirs: &T) -> anyhow::Result<Vec<String>> {
    Ok(differing(ours, theirs)?.iter().map(|value| value.line(key)).collect())
}

/// The features that a model was made with are those that it goes on with.
fn check_feature_layer(config: &RunConfig, model: &VlmConfig, dir: &Path) -> anyhow::Result<()> {
    let asked = config.model.encoder.feature_layer;
    let Some(vit) = model.encoder.vit() else { return Ok(()) };
    let is_theirs = VitConfig { feature_layer: asked, ..vit.clone() }.num_layers() == vit.num_layers();
    // The default says nothing: the model has a layer of its own.
    if is_theirs || asked == user::EncoderConfig::default().feature_layer {
        return Ok(());
    }
    Err(Refusal::usage(
        format!("`model.encoder.feature_layer` is {asked}, the model of `{}` has {}", dir.display(), vit.feature_layer),
        "leave `model.encoder.feature_layer` out, or set it to that",
    )
    .into())
}

fn check_connector(config: &RunConfig, model: &VlmConfig, dir: &Path) -> anyhow::Result<()> {
    let theirs = &model.connector;
    let ours = ConnectorConfig::from_arch(&config.model.connector, model.encoder.feature_size(), &model.text);
    // What no configuration describes comes with its model.
    let is_its_models =
        matches!((theirs, &model.encoder), (ConnectorConfig::Merger, _) | (_, EncoderConfig::Mllama(_)));
    if is_its_models || ours.has_layers_of(theirs) {
        return Ok(());
    }
    let dir = dir.display();
    let message = format!(
        "`model.connector` is not the connector of `{dir}`, which is {theirs}: the configuration asks for {ours}"
    );
    let lines = theirs.to_arch().map(|theirs| connector_differences(&config.model.connector, &theirs)).transpose()?;
    Err(Refusal::usage(
        lines.into_iter().flatten().fold(message, |message, line| format!("{message}\n  {line}")),
        "set `model.connector` to it, or name the parts to start from in `model.encoder.weights` and `model.decoder.weights`",
    )
    .into())
}

/// What a configuration says of its connector and the model's has otherwise: of another kind the kind alone.
fn connector_differences(ours: &user::ConnectorConfig, theirs: &user::ConnectorConfig) -> anyhow::Result<Vec<String>> {
    // Where weights are is no property of a connector, and what is left out is not said.
    let is_said = |value: &Differing| value.name != "weights" && !value.ours.is_null();
    let mut found = differing(ours, theirs)?.into_iter().filter(is_said).collect::<Vec<_>>();
    if found.iter().any(|value| value.name == "kind") {
        found.retain(|value| value.name == "kind");
    }
    Ok(found.iter().map(|value| value.line("model.connector")).collect())
}
