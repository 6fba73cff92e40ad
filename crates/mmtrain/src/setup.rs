//! From a configuration to everything a run needs: data, tokenizer, sizes, weights.

use std::path::Path;
use std::sync::Arc;

use mmtrain_config::{
    ConnectorConfig as OwnConnector, DataConfig, EncoderConfig, LimitsConfig, PlaceholderKind, RunConfig, SecondTower,
    SourceConfig, TemplateKind, TooLongKind,
};
use mmtrain_data::{Mixture, Preparer, Shown, Source, TooLong, Wanted};
use mmtrain_media::{Alpha, MediaLimits, Preprocessor, Processor};
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    AudioConfig, ConnectorConfig, EncoderConfig as EncoderSizes, QFormerConfig, TextConfig, VideoFeatures,
    VisionConfig, VitConfig, VlmConfig, read_encoder, read_text,
};
use mmtrain_model::params::{Layout, ParamInfo, Part};
use mmtrain_model::weights::Checkpoint;
use mmtrain_synth::{Like, SynthOptions, write_dataset_until};
use mmtrain_text::{Format, InstructionTokenizer, Placement, Template, TextTokenizer, instruction};
use mmtrain_train::Stop;
use mmtrain_train::trainer::HeldOut;

use crate::commands::note;
use crate::fail::Refusal;
use crate::holdings::{check_headers, configured, in_all_parts};
use crate::preprocess::{family_processor, intake, preprocessor_in, sight};
pub(crate) use crate::source::{open_source, open_training};
use crate::stage::refuse_other_stage;
use crate::unused::warn_unused_of_parts;
use crate::weights::PartWeights;
use crate::{number_type, preprocess};

/// The evaluation on `data.eval`; others go by the names of their sources.
const HELD_OUT: &str = "held_out";

/// The sources of a run, opened.
pub(crate) struct RunData {
    /// Training data.
    pub(crate) mixture: Arc<Mixture>,
    /// Held-out data, each evaluated by itself.
    pub(crate) held_out: Vec<HeldOut>,
}

/// Makes what a `synth` table asks for, unless a stop is asked for, and opens all sources.
pub(crate) fn open_data(config: &RunConfig, stop: &Stop) -> anyhow::Result<RunData> {
    let mixture = Arc::new(open_mixture(config, stop)?);
    let named = config.data.eval.iter().map(|source| (HELD_OUT, source));
    let named = named.chain(config.data.held_out.iter().map(|source| (source.name.as_str(), source)));
    let open = |(name, source): (&str, &SourceConfig)| -> anyhow::Result<HeldOut> {
        make_synth(source, stop)?;
        let opened = open_held_out(source, config)?;
        Ok(HeldOut { name: name.to_owned(), data: Arc::new(Mixture::new(vec![(opened, 1.0)])?) })
    };
    let held_out = named.map(open).collect::<Result<Vec<_>, _>>()?;
    warn_of_shards(&mixture);
    for HeldOut { data, .. } in &held_out {
        warn_of_shards(data);
    }
    Ok(RunData { mixture, held_out })
}

/// Says of which shards not everything can be used.
pub(crate) fn warn_of_shards(mixture: &Mixture) {
    for problem in mixture.problems() {
        note(&format!("warning: {problem}"));
    }
}

/// As [`open_data`], the training data alone.
pub(crate) fn open_mixture(config: &RunConfig, stop: &Stop) -> anyhow::Result<Mixture> {
    let mut sources: Vec<(Arc<dyn Source>, f64)> = Vec::new();
    for source in &config.data.sources {
        make_synth(source, stop)?;
        sources.push((open_learned(source, config)?, source.weight));
    }
    Ok(Mixture::new(sources)?)
}

/// Opens a source that the run learns from, and refuses what another stage learns from.
pub(crate) fn open_learned(source: &SourceConfig, config: &RunConfig) -> anyhow::Result<Arc<dyn Source>> {
    let opened = open_training(source, config.data.placeholder)?;
    refuse_other_stage(&source.name, opened.as_ref(), config)?;
    Ok(opened)
}

/// Opens a source that the run is evaluated on, and refuses what it could not be.
pub(crate) fn open_held_out(source: &SourceConfig, config: &RunConfig) -> anyhow::Result<Arc<dyn Source>> {
    let opened = open_source(&evaluated(source, config.eval.samples), config.data.placeholder)?;
    refuse_other_stage(&source.name, opened.as_ref(), config)?;
    Ok(opened)
}

/// Of pairs that are split, those whose answers are evaluated: all better answers stand before the worse ones, so that the first
/// `samples` (0: all) of more pairs would be better ones alone.
fn evaluated(source: &SourceConfig, samples: usize) -> SourceConfig {
    let pairs = (source.split_pairs && samples > 0).then(|| samples.div_ceil(2));
    SourceConfig { limit: source.limit.into_iter().chain(pairs).min(), ..source.clone() }
}

/// Makes what the `synth` table of a source describes, if it has one and nothing is there yet.
pub(crate) fn make_synth(source: &SourceConfig, stop: &Stop) -> anyhow::Result<()> {
    let Some(synth) = &source.synth else { return Ok(()) };
    let out = source.location();
    let like: Like = synth.like.parse()?;
    let options = SynthOptions {
        size: synth.size,
        objects: (synth.min_objects, synth.max_objects),
        hallucination_percent: synth.hallucination_percent,
        ..SynthOptions::new(synth.samples, synth.seed)
    };
    let report = write_dataset_until(&|| stop.requested(), like, &out, &options)?;
    if report.created {
        note(&format!("made {} + {} samples in `{}`", report.train_samples, report.validation_samples, out.display()));
    }
    Ok(())
}

/// Sizes of the three parts.
pub(crate) fn model_config(config: &RunConfig, vocab_size: usize, image_token_id: usize) -> anyhow::Result<VlmConfig> {
    let model = &config.model;
    let encoder = encoder_config(&model.encoder)?;
    let text = match (&model.decoder.weights, &model.decoder.arch) {
        (Some(weights), _) => read_text(weights)?,
        (None, Some(arch)) => TextConfig::from_arch(arch, vocab_size),
        (None, None) => anyhow::bail!("`model.decoder` has neither `weights` nor `arch`"),
    };
    let connector = connector_config(&model.connector, encoder.feature_size(), &text);
    let image_grid_pinpoints = match &connector {
        ConnectorConfig::Mlp(_) => pinpoints(&model.encoder, &encoder)?,
        _ => None,
    };
    let mut sizes = VlmConfig {
        encoder,
        connector,
        text,
        image_token_id,
        video_token_id: None,
        image_grid_pinpoints,
        vision_bounds: None,
    };
    if !sizes.is_multimodal_rope() {
        // Of a Qwen2-VL's language model behind another tower: its tokens stand one behind the other.
        sizes.text.mrope_section = None;
    }
    sizes.check().map_err(|message| Refusal::usage(message, "change `model.connector` or `model.encoder`"))?;
    Ok(sizes)
}

/// The connector of a configuration. Whether an MLP has biases is seen from its weights, where nothing is said.
fn connector_config(own: &OwnConnector, features: usize, text: &TextConfig) -> ConnectorConfig {
    let mut connector = ConnectorConfig::from_arch(own, features, text);
    if let (ConnectorConfig::Mlp(mlp), OwnConnector::Mlp { bias: None, weights: Some(dir), .. }) = (&mut connector, own)
    {
        let named = |end: &str| ParamInfo {
            name: format!("{}linear_1.{end}", Part::Connector.prefix()),
            part: Part::Connector,
            shape: Vec::new(),
            layout: Layout::Same,
        };
        // Where there are no weights, or no such layer, the checks of all places and names say so.
        let Ok(checkpoint) = Checkpoint::open(dir) else { return connector };
        mlp.bias = checkpoint.key_of(&named("bias")).is_some() || checkpoint.key_of(&named("weight")).is_none();
    }
    connector
}

/// Canvases, where the encoder's own processor cuts pictures as LLaVA-NeXT does: then rows of features end with a newline.
fn pinpoints(own: &EncoderConfig, encoder: &EncoderSizes) -> anyhow::Result<Option<Vec<[usize; 2]>>> {
    let Some(dir) = own.weights.as_ref().filter(|dir| preprocess::is_in(dir)) else {
        return Ok(None);
    };
    Ok(match preprocessor_in(dir, encoder)? {
        Preprocessor::Sight(Processor::AnyRes(processor)) => {
            let canvases = processor.pinpoints.iter().map(|canvas| [canvas.height as usize, canvas.width as usize]);
            Some(canvases.collect())
        }
        _ => None,
    })
}

/// Sizes of the encoder: one tower, or two.
fn encoder_config(own: &EncoderConfig) -> anyhow::Result<EncoderSizes> {
    let first = match (&own.weights, &own.arch, &own.audio_arch) {
        (Some(weights), _, _) => read_encoder(weights, own.feature_layer)?,
        (None, Some(arch), _) => EncoderSizes::Vit(VitConfig::new(VisionConfig::from_arch(arch), own.feature_layer)),
        (None, None, Some(arch)) => EncoderSizes::Audio(AudioConfig::from_arch(arch)),
        (None, None, None) => anyhow::bail!("`model.encoder` has neither `weights` nor `arch` nor `audio_arch`"),
    };
    check_feature_layer(own, &first)?;
    let encoder = match &own.second {
        Some(second) => fused(first, own, second)?,
        None => first,
    };
    with_video(encoder, own)
}

/// The same encoder, which makes of clips what the configuration says.
pub(crate) fn with_video(encoder: EncoderSizes, own: &EncoderConfig) -> anyhow::Result<EncoderSizes> {
    let refuse = |message| Refusal::usage(message, "`model.encoder.video = \"frames\"` is for every encoder");
    Ok(encoder.with_video(VideoFeatures::from_arch(own)).map_err(refuse)?)
}

/// The feature layer is a block that the tower has; where a family's features are always the last ones, none is chosen.
fn check_feature_layer(own: &EncoderConfig, encoder: &EncoderSizes) -> anyhow::Result<()> {
    const KEY: &str = "model.encoder.feature_layer";
    let layer = own.feature_layer;
    let EncoderSizes::Vit(vit) = encoder else {
        if layer == EncoderConfig::default().feature_layer {
            return Ok(());
        }
        let tower = encoder.description();
        let message = format!("`{KEY}` is {layer}, the features of {tower} are those behind its last norm");
        return Err(Refusal::usage(message, format!("leave `{KEY}` out")).into());
    };
    let blocks = vit.vision.num_hidden_layers;
    if layer < 0 && layer.unsigned_abs() as usize <= blocks {
        return Ok(());
    }
    let message = format!("`{KEY}` ({layer}) leaves no block of the tower's {blocks}");
    Err(Refusal::usage(message, format!("from -{blocks} (the first block) to -1 (the last one)")).into())
}

/// Two towers, each with the normalisation that its own files ask for.
fn fused(first: EncoderSizes, own: &EncoderConfig, second: &SecondTower) -> anyhow::Result<EncoderSizes> {
    let theirs = read_encoder(&second.weights, own.feature_layer)?;
    check_feature_layer(own, &theirs)?;
    let to = sight(&second.weights, &theirs)?.normalise();
    let from = match &own.weights {
        Some(dir) => sight(dir, &first)?,
        None => family_processor(&first)?,
    };
    let rescale = from.normalise().rescale(&to);
    let hint = "set `model.encoder.second` to an image tower of the same size and patch, or to one for pictures of any \
                size (DINOv2)";
    Ok(EncoderSizes::fused(first, theirs, rescale).map_err(|message| Refusal::usage(message, hint))?)
}

/// The tokenizer's placeholder must be the one that the model replaces by features.
pub(crate) fn check_placeholder(tokenizer: &TextTokenizer, config: &VlmConfig) -> anyhow::Result<()> {
    let (theirs, ours) = (tokenizer.image_id()? as usize, config.image_token_id);
    if theirs == ours {
        return Ok(());
    }
    Err(Refusal::missing(
        format!("the tokenizer has its image placeholder at id {theirs}, the model expects {ours}"),
        "the tokenizer lacks the model's placeholder token, or belongs to another checkpoint",
    )
    .into())
}

/// A decoder must know every token of the tokenizer, but for the placeholder, which is never embedded.
pub(crate) fn check_vocab(tokenizer: &TextTokenizer, config: &VlmConfig) -> anyhow::Result<()> {
    let needed = tokenizer.vocab_size();
    let spare = usize::from(tokenizer.image_id()? as usize + 1 == needed);
    if needed - spare > config.text.num_embeddings() {
        return Err(Refusal::usage(
            format!("the tokenizer has {needed} tokens, the decoder's embedding {} rows", config.text.num_embeddings()),
            "the tokenizer (beside the weights, or `model.tokenizer.path`) belongs to another model",
        )
        .into());
    }
    Ok(())
}

/// Text to ids: for the decoder, and for a Q-Former that reads what is asked.
#[derive(Debug, Clone)]
pub(crate) struct Tokenizers {
    pub(crate) text: Arc<TextTokenizer>,
    pub(crate) instruction: Option<Arc<InstructionTokenizer>>,
}

/// The tokenizer of instructions in a model's directory, where its Q-Former reads them.
pub(crate) fn instruction_tokenizer(
    dir: Option<&Path>,
    model: &VlmConfig,
) -> anyhow::Result<Option<Arc<InstructionTokenizer>>> {
    let (ConnectorConfig::QFormer(QFormerConfig { instruction: Some(sizes), .. }), Some(dir)) = (&model.connector, dir)
    else {
        return Ok(None);
    };
    let folder = dir.join(instruction::FOLDER);
    if !folder.join("tokenizer.json").is_file() {
        return Err(Refusal::missing(
            format!("no `tokenizer.json` in `{}`: the model's Q-Former reads what is asked in its tokens", folder.display()),
            "it comes with the checkpoint (`mmtrain fetch hf:ORG/NAME` takes it along); put the folder beside the weights",
        )
        .into());
    }
    let tokenizer = InstructionTokenizer::load(dir, sizes.max_position_embeddings)?;
    let (needed, words) = (tokenizer.vocab_size(), sizes.vocab_size);
    if needed > words {
        let message =
            format!("the tokenizer in `{}` has {needed} tokens, the Q-Former {words} words", folder.display());
        return Err(Refusal::usage(message, "it belongs to another model").into());
    }
    Ok(Some(Arc::new(tokenizer)))
}

/// How samples are made ready.
pub(crate) fn preparer(
    tokenizers: Tokenizers,
    preprocessor: Preprocessor,
    model: &VlmConfig,
    template: Template,
    data: &DataConfig,
) -> anyhow::Result<Preparer> {
    let Tokenizers { text: tokenizer, instruction } = tokenizers;
    let LimitsConfig { max_bytes, max_pixels, max_side, .. } = data.limits;
    Ok(Preparer {
        tokenizer,
        instruction,
        template,
        intake: intake(preprocessor, data)?,
        media_tokens: model.media_tokens(),
        max_seq: data.max_seq,
        too_long: match data.too_long {
            TooLongKind::Drop => TooLong::Drop,
            TooLongKind::Shrink => TooLong::Shrink,
            TooLongKind::TruncateText => TooLong::TruncateText,
        },
        limits: MediaLimits { max_bytes, max_pixels, max_side },
        alpha: Alpha::White,
        wanted: Wanted::Any,
        shown: Shown::Whole,
    })
}

/// The template of a configuration. Chat templates, also one from a file, are handed on with the tokenizer.
pub(crate) fn template(data: &DataConfig, tokenizer: &TextTokenizer) -> anyhow::Result<Template> {
    let template = unchecked_template(data, tokenizer)?;
    template.check(tokenizer)?;
    Ok(template)
}

/// As [`template`], of a model that is only asked: what would be learned need not be told.
pub(crate) fn asking_template(data: &DataConfig, tokenizer: &TextTokenizer) -> anyhow::Result<Template> {
    let template = unchecked_template(data, tokenizer)?;
    template.check_prompts(tokenizer)?;
    Ok(template)
}

fn unchecked_template(data: &DataConfig, tokenizer: &TextTokenizer) -> anyhow::Result<Template> {
    let template = match format(&data.template) {
        Some(format) => Template::from(format),
        None => Template::of_tokenizer(tokenizer)?,
    };
    let template = template.with_placement(match data.placeholder {
        PlaceholderKind::Keep => Placement::Keep,
        PlaceholderKind::Front => Placement::Front,
    });
    let template = match &data.system {
        Some(system) => template.with_system(system)?,
        None => template,
    };
    Ok(template)
}

/// The built-in template of that name; none where it is a chat template.
pub(crate) fn format(kind: &TemplateKind) -> Option<Format> {
    kind.name().and_then(|name| name.parse().ok())
}

/// Builds the model: each part from its weights, or from the seed.
pub(crate) fn build_model(config: &RunConfig, sizes: &VlmConfig, device: &burn::tensor::Device) -> anyhow::Result<Vlm> {
    let model = Vlm::zeros(sizes, device);
    let held = configured(config, &model);
    check_headers(&held)?;
    warn_unused_of_parts(config, &model)?;
    let parts = Part::ALL.into_iter().try_fold(model, |model, part| {
        let (places, dtype) = (PartWeights::of_config(config, part), number_type::in_training(config, part, device));
        let filled = places.fill(
            model,
            part,
            || Ok(config.train.seed),
            |model, _, dir| Ok(model.loaded_as(part, &Checkpoint::open(dir)?, dtype)?),
        )?;
        Ok(number_type::held(filled, part, dtype))
    });
    parts.map_err(|error| in_all_parts(error, &held))
}

/// Decoding threads: as asked, or one per core.
pub(crate) fn workers(asked: usize) -> usize {
    if asked > 0 { asked } else { cores() }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
