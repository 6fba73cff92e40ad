//! `--dry-run`: everything a run would be, without making it.

use std::process::ExitCode;

use burn::tensor::Device;
use mmtrain_config::{Quantization, Resolved, RunConfig, SourceConfig};
use mmtrain_data::Mixture;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::device::OpenDevice;
use mmtrain_model::params::Part;
use mmtrain_model::quantized::model::PackedSize;
use mmtrain_text::TextTokenizer;
use mmtrain_train::memory::{KeepPlan, MemoryEstimate, available_on};
use serde_json::{Map, Value, json};

use super::train::{keep, ledger, memory_rows, plan_json, resolve_ranks, total_steps};
use super::{note, print, print_json, reference};
use crate::adapters;
use crate::blocks;
use crate::holdings::{Holding, all_holdings, check_headers, check_values, configured};
use crate::origin::{self, Origin};
use crate::report::LedgerRow;
use crate::report::text::grouped;
use crate::room;
use crate::setup;
use crate::sizes::mebibytes;
use crate::vocabulary::{TokenizerKind, tokenizer_kind};

/// What is known about one source.
struct SourceLine {
    name: String,
    place: String,
    state: String,
    is_there: bool,
    samples: Option<usize>,
}

/// Resolves everything, opens data and weights, prints sizes, ledger and memory estimate; trains nothing, writes nothing.
pub(crate) fn run(
    resolved: &Resolved,
    origin: &Origin<'_>,
    as_json: bool,
    device: &OpenDevice,
) -> anyhow::Result<ExitCode> {
    let mut config = resolved.config.clone();
    resolve_ranks(&mut config, device.is_cpu());
    let (plan, _) = DryRun::of(&config, origin, device)?;
    if as_json {
        print_json(&plan.json(&config))?;
    } else {
        print(&plan.lines(&config).join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The packed weights of a part.
struct PackedLine {
    part: &'static str,
    scheme: Quantization,
    size: PackedSize,
}

impl PackedLine {
    fn json(&self) -> Value {
        let Self { part, scheme, size } = self;
        json!({
            "part": part,
            "quantization": scheme.name(),
            "weights": size.elements,
            "bytes": size.bytes,
            "share_of_bf16": size.share_of_bf16(),
        })
    }

    fn text(&self) -> String {
        let Self { part, scheme, size } = self;
        let share = 100.0 * size.share_of_bf16();
        let (numbers, bytes) = (grouped(size.elements), mebibytes(size.bytes));
        format!("packed       {numbers} weights of the {part} as {}: {bytes}, {share:.1} % of bf16", scheme.name())
    }
}

fn packed_lines(config: &RunConfig, model: &Vlm) -> Vec<PackedLine> {
    let line = |part: Part| {
        let (scheme, size) = room::packed_size(config, model, part)?;
        Some(PackedLine { part: part.name(), scheme, size })
    };
    Part::ALL.into_iter().filter_map(line).collect()
}

/// How many tokens the decoder knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vocabulary {
    /// The tokenizer is there.
    Exact,
    /// It is learned when the run begins, and may end up with fewer.
    AtMost(usize),
}

/// A model before it is made.
struct Described {
    model: Vlm,
    vocabulary: Vocabulary,
    /// Tensors that were read.
    weights: usize,
}

/// The model of zeros, with the sizes that it will have. Weights are read and compared, but not kept.
fn describe(config: &RunConfig, origin: &Origin<'_>, device: &Device) -> anyhow::Result<Described> {
    let kinds = adapters::of_config(config);
    if let Some(dir) = origin.dir() {
        let model = Vlm::zeros(&origin::sizes(config, dir)?, device);
        let weights = read_weights(&all_holdings(&model, dir)?)?;
        origin.check_tokenizer(config, &model.config)?;
        for part in kinds.keys() {
            adapters::continued(config, *part, Some(dir))?;
        }
        let model = adapters::attached(model, &kinds)?;
        return Ok(Described { model, vocabulary: Vocabulary::Exact, weights });
    }
    let (sizes, vocabulary) = match tokenizer_kind(config)? {
        // The id of the placeholder changes no size.
        TokenizerKind::Learned(bpe) => {
            (setup::model_config(config, bpe.vocab_size, 0)?, Vocabulary::AtMost(bpe.vocab_size))
        }
        TokenizerKind::There(path) => {
            let mut tokenizer = TextTokenizer::load(path)?;
            tokenizer.ensure_image_token()?;
            let sizes = setup::model_config(config, tokenizer.vocab_size(), tokenizer.image_id()? as usize)?;
            setup::check_vocab(&tokenizer, &sizes)?;
            (sizes, Vocabulary::Exact)
        }
    };
    let model = Vlm::zeros(&sizes, device);
    let weights = read_weights(&configured(config, &model))?;
    Ok(Described { model: adapters::attached(model, &kinds)?, vocabulary, weights })
}

/// All that a run would refuse: tensors that are missing or of another shape, then values that are not finite. Every
/// tensor is read once for this, and none kept. Returns how many there are.
fn read_weights(held: &[Holding]) -> anyhow::Result<usize> {
    check_headers(held)?;
    check_values(held)?;
    Ok(held.iter().filter(|holding| holding.dir.is_some()).map(|holding| holding.infos.len()).sum())
}

fn sources(config: &RunConfig) -> anyhow::Result<Vec<SourceLine>> {
    let mut lines = Vec::new();
    for source in &config.data.sources {
        let place = source.location();
        let line = |state: String, is_there, samples| SourceLine {
            name: source.name.clone(),
            place: mmtrain_data::remote::shown(&place),
            state,
            is_there,
            samples,
        };
        lines.push(match &source.synth {
            Some(synth) if !place.exists() => line("will be made on first use".into(), false, Some(synth.samples)),
            _ => {
                let opened = Mixture::new(vec![(setup::open_learned(source, config)?, source.weight)])?;
                let state = opened.problems().first().map_or("open".into(), |problem| format!("open; {problem}"));
                line(state, true, Some(opened.num_samples()))
            }
        });
    }
    Ok(lines)
}

/// Refuses held-out data that the run would refuse; what will be made on first use is not there yet.
fn check_held_out(config: &RunConfig) -> anyhow::Result<()> {
    let held_out = || config.data.eval.iter().chain(&config.data.held_out);
    let made = config.data.sources.iter().chain(held_out()).filter(|source| source.synth.is_some());
    let made = made.map(SourceConfig::location).collect::<Vec<_>>();
    let will_be_made = |source: &SourceConfig| !source.location().exists() && made.contains(&source.location());
    held_out()
        .filter(|source| !will_be_made(source))
        .try_for_each(|source| setup::open_held_out(source, config).map(drop))
}

/// What a run would be.
pub(crate) struct DryRun {
    sources: Vec<SourceLine>,
    ledger: Vec<LedgerRow>,
    vocabulary: Vocabulary,
    weights: usize,
    sizes: VlmConfig,
    pub(crate) keep: KeepPlan,
    memory: MemoryEstimate,
    packed: Vec<PackedLine>,
    pub(crate) steps: Option<u64>,
    preprocessor: &'static str,
    /// Side of the pictures, where all have the same.
    side: Option<usize>,
    device: String,
}

impl DryRun {
    /// Opens what a run would open. With it comes the model of zeros that it would fill.
    pub(crate) fn of(config: &RunConfig, origin: &Origin<'_>, device: &OpenDevice) -> anyhow::Result<(Self, Vlm)> {
        reference::comparison(config)?;
        let sources = sources(config)?;
        check_held_out(config)?;
        let Described { model, vocabulary, weights } = describe(config, origin, &device.device)?;
        blocks::check(config, &model)?;
        let sizes = model.config.clone();
        let preprocessor = origin.preprocessor(config, &sizes)?;
        setup::instruction_tokenizer(origin.dir(), &sizes)?;
        let keep = keep(config, &sizes, &device.device);
        let memory = room::of_run(config, &model, &origin.held(config, &model)?, &device.device)?;
        if let Some(available) = available_on(&device.device)
            && let Err(refusal) = room::check_run(&memory, available)
        {
            note(&format!("warning: {refusal}; here the run would be refused"));
        }
        let samples = sources.iter().try_fold(0, |sum, source| Some(sum + source.samples?));
        let steps = config.train.steps.or_else(|| samples.map(|samples| total_steps(config, samples as u64)));
        let plan = Self {
            sources,
            ledger: ledger(config, &model),
            vocabulary,
            weights,
            sizes,
            keep,
            memory,
            packed: packed_lines(config, &model),
            steps,
            preprocessor: preprocessor.name(),
            side: preprocessor.fixed_layout().map(|layout| layout.shape()[2]),
            device: device.name.clone(),
        };
        Ok((plan, model))
    }

    /// Whether the data of all sources are there, so that they can be looked at.
    pub(crate) fn has_data(&self) -> bool {
        self.sources.iter().all(|source| source.is_there)
    }

    pub(crate) fn json(&self, config: &RunConfig) -> Value {
        let sources = self.sources.iter().map(|source| {
            json!({ "name": source.name, "path": source.place, "state": source.state, "samples": source.samples })
        });
        let ledger = self.ledger.iter().map(|row| {
            json!({ "part": row.part, "tuning": row.tuning, "parameters": row.parameters, "trained": row.trained })
        });
        let memory = memory_rows(&self.memory).into_iter().map(|(name, bytes)| (name.to_owned(), bytes.into()));
        json!({
            "device": self.device,
            "steps": self.steps,
            "sources": sources.collect::<Vec<_>>(),
            "image_size": self.side,
            "tokens_per_image": self.sizes.tokens_per_image(),
            "ledger": ledger.collect::<Vec<_>>(),
            "tensors_read": self.weights,
            "vocab_size": self.sizes.text.vocab_size,
            "vocab_size_is_upper_bound": matches!(self.vocabulary, Vocabulary::AtMost(_)),
            "memory_bytes": memory.collect::<Map<_, _>>(),
            "packed": self.packed.iter().map(PackedLine::json).collect::<Vec<_>>(),
            "recompute": plan_json(self.keep, &self.sizes),
            "ranks": config.train.ranks,
            "global_batch_size": config.train.global_batch_size,
            "micro_batch_size": config.train.micro_batch_size,
        })
    }

    /// For people.
    pub(crate) fn lines(&self, config: &RunConfig) -> Vec<String> {
        let train = &config.train;
        let steps = self.steps.map_or("unknown".to_owned(), |steps| steps.to_string());
        let mut lines = vec![
            format!("device       {}, {} micro-batches at a time", self.device, config.train.ranks.max(1)),
            format!(
                "steps        {steps}, {} samples each in micro-batches of {}",
                train.global_batch_size, train.micro_batch_size
            ),
        ];
        lines.extend(self.sources.iter().map(|source| {
            let samples = source.samples.map_or("?".to_owned(), |samples| samples.to_string());
            format!("data         {}: {samples} samples at `{}` ({})", source.name, source.place, source.state)
        }));
        lines.push(match self.side {
            Some(side) => format!("image        {side} x {side} pixels, {}", tokens_per_image(&self.sizes)),
            None => format!("media        as {} has them; tokens depend on their size", self.preprocessor),
        });
        lines.extend(ledger_lines(&self.ledger));
        if self.weights > 0 {
            lines.push(format!("weights      {} tensors read, all values are finite", self.weights));
        }
        if let Vocabulary::AtMost(tokens) = self.vocabulary {
            lines.push(format!(
                "vocabulary   {tokens} tokens at most, learned from the captions when the run begins: with fewer the decoder is \
                 smaller"
            ));
        }
        lines.extend(self.packed.iter().map(PackedLine::text));
        let memory = memory_rows(&self.memory);
        let shown = memory.iter().map(|(name, bytes)| format!("{name} {}", mebibytes(*bytes)));
        lines.push(format!(
            "memory       {} (estimate, rows of {} tokens)",
            shown.collect::<Vec<_>>().join(", "),
            config.data.max_seq
        ));
        lines.push(format!(
            "graphs kept  {} of {} encoder blocks, {} of {} decoder blocks; the others run again in the backward pass",
            self.keep.encoder,
            self.sizes.encoder.num_layers(),
            self.keep.decoder,
            self.sizes.text.num_hidden_layers
        ));
        lines
    }
}

/// The ledger as lines of text.
pub(crate) fn ledger_lines(ledger: &[LedgerRow]) -> Vec<String> {
    let line = |row: &LedgerRow| format!("{:<12} {:>13} parameters, {}", row.part, grouped(row.parameters), row.tuning);
    let (all, tuned) = ledger.iter().fold((0, 0), |(all, tuned), row| (all + row.parameters, tuned + row.trained));
    let mut lines = ledger.iter().map(line).collect::<Vec<_>>();
    lines.push(format!("{:<12} {:>13} parameters, {} trained", "total", grouped(all), grouped(tuned)));
    lines
}

/// For people: how many tokens a picture of the usual size takes.
pub(crate) fn tokens_per_image(sizes: &VlmConfig) -> String {
    sizes.tokens_per_image().map_or("as many tokens as their size asks for".into(), |tokens| format!("{tokens} tokens"))
}
