//! From a configuration to everything a run needs: data, tokenizer, sizes, weights.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mmtrain_config::{
    DataConfig, EncoderConfig, ImageFit, LimitsConfig, PlaceholderKind, RunConfig, SamplingKind, SecondTower,
    SourceConfig, SynthConfig, TemplateKind, TooLongKind, VideoConfig,
};
use mmtrain_data::{Clips, Intake, Mixture, Preparer, Source, TooLong};
use mmtrain_media::{
    Alpha, ClipRule, Ffmpeg, Fit, FrameCache, FrameRounding, FrameSampling, ImageProcessor, MediaLimits, Processor,
    SmartFrames, VideoLimits, WantedFrames,
};
use mmtrain_model::Vlm;
use mmtrain_model::config::{
    ConnectorConfig, EncoderConfig as EncoderSizes, TextConfig, VideoFeatures, VisionConfig, VisionFamily, VitConfig,
    VlmConfig, read_encoder, read_text,
};
use mmtrain_model::params::Part;
use mmtrain_model::weights::Checkpoint;
use mmtrain_synth::{Like, SynthOptions, write_dataset_until};
use mmtrain_text::{Format, Placement, Template, TextTokenizer};
use mmtrain_train::Stop;

use crate::commands::note;
use crate::fail::Refusal;
use crate::number_type;
pub(crate) use crate::source::open_source;
use crate::weights::PartWeights;

/// Captions from which a tokenizer is trained, at most.
const TOKENIZER_CAPTIONS: usize = 100_000;

/// The sources of a run, opened.
pub(crate) struct RunData {
    /// Training data.
    pub(crate) mixture: Arc<Mixture>,
    /// Held-out data.
    pub(crate) held_out: Option<Arc<Mixture>>,
}

/// Makes what a `synth` table asks for, unless a stop is asked for, and opens all sources.
pub(crate) fn open_data(config: &RunConfig, stop: &Stop) -> anyhow::Result<RunData> {
    let mut sources: Vec<(Arc<dyn Source>, f64)> = Vec::new();
    for source in &config.data.sources {
        if let Some(synth) = &source.synth {
            make_synth(&source.location(), synth, stop)?;
        }
        let opened = open_source(source)?;
        refuse_preferences(source, opened.as_ref())?;
        sources.push((opened, source.weight));
    }
    let mixture = Arc::new(Mixture::new(sources)?);
    let held_out = match &config.data.eval {
        Some(source) => Some(Arc::new(Mixture::new(vec![(open_source(source)?, 1.0)])?)),
        None => None,
    };
    for problem in mixture.problems().into_iter().chain(held_out.iter().flat_map(|held_out| held_out.problems())) {
        note(&format!("warning: {problem}"));
    }
    Ok(RunData { mixture, held_out })
}

/// No stage here learns from preferences. What a source holds is seen from the first of its samples that can be read.
fn refuse_preferences(config: &SourceConfig, source: &dyn Source) -> anyhow::Result<()> {
    const LOOKED_AT: usize = 16;
    let first = (0..source.len().min(LOOKED_AT)).find_map(|index| source.get(index).ok());
    if config.better_answer || first.is_none_or(|sample| sample.feedback.is_none()) {
        return Ok(());
    }
    let message = format!(
        "source `{}` holds judged answers, which preference alignment (`mmtrain dpo`) learns from",
        config.name
    );
    Err(Refusal::usage(message, "`better_answer = true` of the source learns the better answers only").into())
}

fn make_synth(out: &Path, synth: &SynthConfig, stop: &Stop) -> anyhow::Result<()> {
    let like: Like = synth.like.parse()?;
    let options = SynthOptions {
        size: synth.size,
        objects: (synth.min_objects, synth.max_objects),
        ..SynthOptions::new(synth.samples, synth.seed)
    };
    let report = write_dataset_until(&|| stop.requested(), like, out, &options)?;
    if report.created {
        note(&format!("made {} + {} samples in `{}`", report.train_samples, report.validation_samples, out.display()));
    }
    Ok(())
}

/// The tokenizer: the given one, the decoder's, or one trained on the captions.
///
/// Text-only checkpoints get an `<image>` token.
pub(crate) fn tokenizer(config: &RunConfig, mixture: &Mixture) -> anyhow::Result<TextTokenizer> {
    let mut tokenizer = match tokenizer_kind(config)? {
        TokenizerKind::There(path) => TextTokenizer::load(path)?,
        TokenizerKind::Learned { vocab_size } => train_tokenizer(mixture, vocab_size, &config.data.template)?,
    };
    tokenizer.ensure_image_token()?;
    if let TemplateKind::Jinja(file) = &config.data.template {
        tokenizer.set_chat_template(fs_err::read_to_string(file).with_context(|| "`data.template`")?);
    }
    Ok(tokenizer)
}

/// How a configuration comes by its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenizerKind<'a> {
    /// It lies there: the given one, or the decoder's.
    There(&'a Path),
    /// It is learned from the captions when the run begins.
    Learned {
        /// Tokens at most; captions may not have as many.
        vocab_size: usize,
    },
}

/// The tokenizer that a configuration asks for.
pub(crate) fn tokenizer_kind(config: &RunConfig) -> anyhow::Result<TokenizerKind<'_>> {
    let settings = &config.model.tokenizer;
    match (&settings.path, &settings.train_bpe, &config.model.decoder.weights) {
        (Some(path), _, _) | (None, None, Some(path)) => Ok(TokenizerKind::There(path)),
        (None, Some(bpe), _) => Ok(TokenizerKind::Learned { vocab_size: bpe.vocab_size }),
        (None, None, None) => Err(Refusal::usage(
            "a decoder from random numbers has no tokenizer",
            "set `model.tokenizer.train_bpe = { vocab_size = 512 }` or `model.tokenizer.path`",
        )
        .into()),
    }
}

fn train_tokenizer(mixture: &Mixture, vocab_size: usize, template: &TemplateKind) -> anyhow::Result<TextTokenizer> {
    let sources = mixture.sources().cloned().collect::<Vec<_>>();
    let conversations = sources.into_iter().flat_map(|source| {
        let len = source.len();
        (0..len).filter_map(move |index| Some(source.get(index).ok()?.conversation))
    });
    let said = conversations.flat_map(|conversation| conversation.turns).map(|turn| turn.text());
    let said = said.filter(|text| !text.is_empty()).take(TOKENIZER_CAPTIONS);
    let special = format(template).map(Format::special_tokens).unwrap_or_default();
    Ok(TextTokenizer::train_bpe_with(said, vocab_size, special)?)
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
    let connector = ConnectorConfig::from_arch(&model.connector, encoder.feature_size(), &text);
    let image_grid_pinpoints = match &connector {
        ConnectorConfig::Mlp(_) => pinpoints(&model.encoder, &encoder)?,
        _ => None,
    };
    let sizes = VlmConfig {
        encoder,
        connector,
        text,
        image_token_id,
        video_token_id: None,
        image_grid_pinpoints,
        vision_bounds: None,
    };
    sizes.check().map_err(|message| Refusal::usage(message, "change `model.connector` or `model.encoder`"))?;
    Ok(sizes)
}

/// Canvases, where the encoder's own processor cuts pictures as LLaVA-NeXT does: then rows of features end with a newline.
fn pinpoints(own: &EncoderConfig, encoder: &EncoderSizes) -> anyhow::Result<Option<Vec<[usize; 2]>>> {
    let Some(dir) = own.weights.as_ref().filter(|dir| dir.join("preprocessor_config.json").is_file()) else {
        return Ok(None);
    };
    Ok(match processor_in(dir, encoder)? {
        Processor::AnyRes(processor) => {
            let canvases = processor.pinpoints.iter().map(|canvas| [canvas.height as usize, canvas.width as usize]);
            Some(canvases.collect())
        }
        _ => None,
    })
}

/// Sizes of the encoder: one tower, or two.
fn encoder_config(own: &EncoderConfig) -> anyhow::Result<EncoderSizes> {
    let first = match (&own.weights, &own.arch) {
        (Some(weights), _) => read_encoder(weights, own.feature_layer)?,
        (None, Some(arch)) => EncoderSizes::Vit(VitConfig::new(VisionConfig::from_arch(arch), own.feature_layer)),
        (None, None) => anyhow::bail!("`model.encoder` has neither `weights` nor `arch`"),
    };
    let encoder = match &own.second {
        Some(second) => fused(first, own, second)?,
        None => first,
    };
    let refuse = |message| Refusal::usage(message, "`model.encoder.video = \"frames\"` is for every encoder");
    Ok(encoder.with_video(VideoFeatures::from_arch(own)).map_err(refuse)?)
}

/// Two towers, each with the normalisation that its own files ask for.
fn fused(first: EncoderSizes, own: &EncoderConfig, second: &SecondTower) -> anyhow::Result<EncoderSizes> {
    let theirs = read_encoder(&second.weights, own.feature_layer)?;
    let to = processor_in(&second.weights, &theirs)?.normalise();
    let from = match &own.weights {
        Some(dir) => processor_in(dir, &first)?,
        None => family_processor(&first)?,
    };
    let rescale = from.normalise().rescale(&to);
    let hint = "set `model.encoder.second` to an image tower of the same size and patch, or to one for pictures of any \
                size (DINOv2)";
    Ok(EncoderSizes::fused(first, theirs, rescale).map_err(|message| Refusal::usage(message, hint))?)
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

/// What the encoder wants to see: its own `preprocessor_config.json`, or its family's habits.
pub(crate) fn processor(encoder: &EncoderConfig, sizes: &VlmConfig) -> anyhow::Result<Processor> {
    let mut processor = match &encoder.weights {
        Some(dir) => processor_in(dir, &sizes.encoder)?,
        None => family_processor(&sizes.encoder)?,
    };
    if let (Some(fit), Processor::Square(square)) = (encoder.image_fit, &mut processor) {
        square.fit = match fit {
            ImageFit::Exact => Fit::Exact,
            ImageFit::ShortestEdgeCrop => Fit::ShortestEdgeCrop,
            ImageFit::PadSquare => Fit::PadSquare,
        };
    }
    check_side(&processor, &sizes.encoder)?;
    Ok(processor)
}

/// A directory's `preprocessor_config.json`, or the habits of the encoder's family.
pub(crate) fn processor_in(dir: &Path, encoder: &EncoderSizes) -> anyhow::Result<Processor> {
    let file = dir.join("preprocessor_config.json");
    if !file.is_file() {
        return family_processor(encoder);
    }
    Processor::from_hf(&fs_err::read_to_string(&file)?).with_context(|| format!("`{}`", file.display()))
}

/// Squares must be of the tower's size.
fn check_side(processor: &Processor, encoder: &EncoderSizes) -> anyhow::Result<()> {
    match (processor, encoder.vit()) {
        (Processor::Square(square), Some(vit)) if square.size as usize != vit.vision.image_size => {
            let (gives, takes) = (square.size, vit.vision.image_size);
            Err(Refusal::usage(
                format!("preprocessing gives {gives} pixels a side, the encoder takes {takes}"),
                "the preprocessor_config.json belongs to another encoder",
            )
            .into())
        }
        _ => Ok(()),
    }
}

/// The family's habits, for an encoder without a `preprocessor_config.json`.
fn family_processor(encoder: &EncoderSizes) -> anyhow::Result<Processor> {
    let Some(vit) = encoder.vit() else {
        return Err(Refusal::missing(
            "the encoder's directory has no `preprocessor_config.json`",
            "it comes with the checkpoint and says how media are prepared",
        )
        .into());
    };
    let side = vit.vision.image_size as u32;
    let (clip, siglip) = (ImageProcessor::clip(side), ImageProcessor::siglip(side));
    Ok(Processor::Square(match vit.vision.family {
        VisionFamily::Clip => clip,
        VisionFamily::Siglip | VisionFamily::Idefics3 | VisionFamily::SmolVlm => siglip,
        VisionFamily::Dinov2 { .. } => ImageProcessor { mean: IMAGENET_MEAN, std: IMAGENET_STD, ..clip },
        VisionFamily::Blip2 => ImageProcessor { fit: Fit::Exact, ..clip },
    }))
}

/// `IMAGENET_DEFAULT_MEAN` and `_STD` of `transformers`' `image_utils.py`, with which DINOv2 was trained.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How samples are made ready.
pub(crate) fn preparer(
    tokenizer: Arc<TextTokenizer>,
    processor: Processor,
    model: &VlmConfig,
    template: Template,
    data: &DataConfig,
) -> anyhow::Result<Preparer> {
    let LimitsConfig { max_bytes, max_pixels, max_side } = data.limits;
    Ok(Preparer {
        tokenizer,
        template,
        intake: intake(processor, data)?,
        media_tokens: model.media_tokens(),
        max_seq: data.max_seq,
        too_long: match data.too_long {
            TooLongKind::Drop => TooLong::Drop,
            TooLongKind::Shrink => TooLong::Shrink,
            TooLongKind::TruncateText => TooLong::TruncateText,
        },
        limits: MediaLimits { max_bytes, max_pixels, max_side },
        alpha: Alpha::White,
    })
}

/// Pictures, and clips where the configuration says how they are read.
fn intake(processor: Processor, data: &DataConfig) -> anyhow::Result<Intake> {
    let Some(video) = &data.video else { return Ok(processor.into()) };
    let ffmpeg = Ffmpeg::find(VideoLimits::default())
        .map_err(|error| Refusal::usage(error.to_string(), "install ffmpeg, or leave `[data.video]` out"))?;
    let cache = video.cache.as_ref().map(|dir| FrameCache::open(dir, video.cache_bytes)).transpose()?;
    let rule = ClipRule { sampling: sampling(video), total_pixels: video.total_pixels };
    Ok(Intake::Sight { processor, clips: Some(Box::new(Clips { rule, every: 1, ffmpeg, cache })) })
}

fn sampling(video: &VideoConfig) -> FrameSampling {
    let &VideoConfig { sampling, frames, fps, min_frames, max_frames, .. } = video;
    match sampling {
        SamplingKind::Qwen2Vl => {
            let wanted = WantedFrames::PerSecond { fps, min_frames, max_frames };
            FrameSampling::Qwen2Vl(SmartFrames { wanted, factor: 2, rounding: FrameRounding::Down })
        }
        SamplingKind::VideoChatgpt => FrameSampling::VideoChatGpt { frames },
        SamplingKind::Uniform => FrameSampling::Linspace { frames },
        SamplingKind::Middles => FrameSampling::SegmentMiddles { frames },
        SamplingKind::Step => FrameSampling::Step { fps, max_frames },
        SamplingKind::LlamaFactory => FrameSampling::LlamaFactory { fps, max_frames },
    }
}

/// The template of a configuration. Chat templates, also one from a file, are handed on with the tokenizer.
pub(crate) fn template(data: &DataConfig, tokenizer: &TextTokenizer) -> anyhow::Result<Template> {
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
    template.check(tokenizer)?;
    Ok(template)
}

/// The built-in template of that name; none where it is a chat template.
fn format(kind: &TemplateKind) -> Option<Format> {
    kind.name().and_then(|name| name.parse().ok())
}

/// Builds the model: each part from its weights, or from the seed.
pub(crate) fn build_model(config: &RunConfig, sizes: &VlmConfig, device: &burn::tensor::Device) -> anyhow::Result<Vlm> {
    Part::ALL.into_iter().try_fold(Vlm::zeros(sizes, device), |model, part| {
        let places = PartWeights::of_config(config, part);
        places.fill(
            model,
            part,
            || Ok(config.train.seed),
            |model, _, dir| {
                Ok(model.loaded_as(part, &Checkpoint::open(dir)?, number_type::in_training(config, part))?)
            },
        )
    })
}

/// Decoding threads: as asked, or one per core.
pub(crate) fn workers(asked: usize) -> usize {
    if asked > 0 { asked } else { cores() }
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
