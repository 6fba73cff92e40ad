//! `mmtrain data`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use mmtrain_config::{Request, RunConfig, SourceConfig, dataset_preset, load};
use mmtrain_data::{CheckReport, Mixture, Preparer, Source, check, stats};
use mmtrain_synth::{Like, SynthOptions, write_dataset_until};
use mmtrain_text::TextTokenizer;
use serde_json::{Value, json};

use super::train::stop_on_signals;
use super::{config_dirs, print, print_json};
use crate::cli::{DataArgs, DataCommand, SynthArgs};
use crate::fail::Refusal;
use crate::fetch::localize::localize;
use crate::setup;

/// How many bad samples and shards a check names without `--json`.
const SHOWN_FAULTS: usize = 20;

/// Row length for looking at a dataset without a configuration.
const USUAL_MAX_SEQ: usize = 2048;

/// Runs the command.
pub(crate) fn run(command: &DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::Synth(args) => synth(args),
        DataCommand::Show(args) => show(args),
        DataCommand::Check(args) => run_check(args),
        DataCommand::Stats(args) => run_stats(args),
    }
}

/// A source by name or directory.
pub(crate) fn source_of(data: &str, split: Option<&str>) -> SourceConfig {
    let path = Path::new(data);
    let is_place = dataset_preset(data).is_none() && (path.exists() || data.contains(['/', '{', '*']));
    let name = if is_place {
        path.file_name().map_or(data.into(), |name| name.to_string_lossy().into_owned())
    } else {
        data.to_owned()
    };
    SourceConfig {
        path: is_place.then(|| path.to_owned()),
        split: split.map(str::to_owned),
        ..SourceConfig::named(name)
    }
}

fn synth(args: &SynthArgs) -> anyhow::Result<ExitCode> {
    let like: Like = args.like.parse()?;
    let defaults = SynthOptions::new(args.samples, args.seed);
    let validation_samples = args.validation_samples.unwrap_or(defaults.validation_samples);
    let options = SynthOptions {
        size: args.size,
        objects: args.objects,
        validation_samples,
        frames: args.frames.unwrap_or(defaults.frames),
        fps: args.fps.unwrap_or(defaults.fps),
        seconds: args.seconds.unwrap_or(defaults.seconds),
        ..defaults
    };
    let stop = stop_on_signals()?;
    let report = write_dataset_until(&|| stop.requested(), like, &args.out, &options)?;
    if args.json {
        print_json(&report)?;
    } else {
        let verb = if report.created { "made" } else { "already there:" };
        print(&format!(
            "{verb} {} samples and {} held out, {} files, {:.1} MiB in `{}`",
            report.train_samples,
            report.validation_samples,
            report.files,
            report.bytes as f64 / f64::from(1 << 20),
            report.out.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A dataset as a configuration's model would see it.
struct View {
    sources: Vec<Arc<dyn Source>>,
    preparer: Arc<Preparer>,
}

impl View {
    /// Without a configuration, that of the quickstart: its template and sizes, rows of [`USUAL_MAX_SEQ`].
    fn open(args: &DataArgs) -> anyhow::Result<Self> {
        let config = config(args)?;
        let sources = match &args.data {
            Some(data) => vec![open(&source_of(data, args.split.as_deref()))?],
            None => config.data.sources.iter().map(open).collect::<anyhow::Result<Vec<_>>>()?,
        };
        let mixture = Mixture::new(sources.iter().map(|source| (source.clone(), 1.0)).collect())?;
        let mut tokenizer = view_tokenizer(&config, &mixture)?;
        tokenizer.ensure_image_token()?;
        let sizes = setup::model_config(&config, tokenizer.vocab_size(), tokenizer.image_id()? as usize)?;
        let processor = setup::processor(&config.model.encoder, &sizes)?;
        let template = setup::template(config.data.template);
        let preparer = setup::preparer(Arc::new(tokenizer), processor, &sizes, template, &config.data);
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
    let mut config = load(&Request { config: Some(config), sets: &sets, sources: &[], search: &dirs })?.config;
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

fn run_check(args: &DataArgs) -> anyhow::Result<ExitCode> {
    let view = View::open(args)?;
    let mut total = CheckReport::default();
    for source in &view.sources {
        total.merge(check(source, &view.preparer, args.limit)?);
    }
    if args.json {
        print_json(&total)?;
    } else {
        print(&check_text(&total))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check_text(report: &CheckReport) -> String {
    let mut lines = vec![format!("ok   {}", report.ok), format!("bad  {}", report.bad)];
    lines.extend(report.reasons.iter().map(|(reason, count)| format!("  {count:>6}  {reason}")));
    lines.extend(first_lines(&report.left_out).into_iter().map(|line| format!("  {line}")));
    lines.extend(first_lines(&report.problems));
    lines.join("\n")
}

/// The first [`SHOWN_FAULTS`], and how many there are beyond.
fn first_lines(all: &[impl ToString]) -> Vec<String> {
    let mut lines: Vec<_> = all.iter().take(SHOWN_FAULTS).map(ToString::to_string).collect();
    if all.len() > SHOWN_FAULTS {
        lines.push(format!("and {} more (all of them with `--json`)", all.len() - SHOWN_FAULTS));
    }
    lines
}

fn run_stats(args: &DataArgs) -> anyhow::Result<ExitCode> {
    let view = View::open(args)?;
    let mut all = serde_json::Map::new();
    for source in &view.sources {
        all.insert(source.name().to_owned(), serde_json::to_value(stats(source.as_ref(), &view.preparer, args.limit))?);
    }
    if args.json {
        print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in &all {
        print(name)?;
        for (key, value) in value.as_object().into_iter().flatten() {
            print(&format!("  {key:<18} {}", stat_text(value)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stat_text(value: &Value) -> String {
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    match (number("min"), number("mean"), number("max")) {
        (Some(min), Some(mean), Some(max)) => format!("{min} to {max}, mean {mean:.1}"),
        _ => value.to_string(),
    }
}

fn show(args: &DataArgs) -> anyhow::Result<ExitCode> {
    const SHOWN: usize = 5;
    let view = View::open(args)?;
    for source in &view.sources {
        for index in 0..source.len().min(args.limit.unwrap_or(SHOWN)) {
            let sample = sample_json(source.as_ref(), index, &view.preparer);
            if args.json { print(&sample.to_string())? } else { print(&sample_text(&sample))? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One sample as the model will see it, or why it would be left out.
fn sample_json(source: &dyn Source, index: usize, preparer: &Preparer) -> Value {
    let outcome = source.get(index).map_err(|error| error.0).and_then(|raw| {
        let encoded = preparer.encode(&raw)?;
        Ok((raw, encoded))
    });
    let (raw, encoded) = match outcome {
        Ok(found) => found,
        Err(skip) => {
            return json!({ "source": skip.id.source, "key": format!("{}/{}", skip.id.shard, skip.id.key), "left_out": skip.reason, "detail": skip.detail });
        }
    };
    let turns = raw
        .conversation
        .turns
        .iter()
        .map(|turn| json!({ "role": format!("{:?}", turn.role).to_lowercase(), "text": turn.text() }));
    let media = raw.media.iter().filter_map(|medium| medium.bytes()).map(|bytes| {
        let size = mmtrain_media::probe(bytes, &preparer.limits).ok();
        let layout = preparer.layout(bytes).ok();
        json!({
            "kind": "image",
            "size": size.map(|(_, width, height)| [width, height]),
            "tokens": layout.map(|layout| layout.tokens(preparer.media_tokens)),
        })
    });
    json!({
        "source": raw.id.source,
        "key": format!("{}/{}", raw.id.shard, raw.id.key),
        "turns": turns.collect::<Vec<_>>(),
        "media": media.collect::<Vec<_>>(),
        "input_ids": encoded.input_ids,
        "labels": encoded.labels,
        "learned": preparer.tokenizer.decode(&learned(&encoded.labels)).unwrap_or_default(),
    })
}

fn learned(labels: &[i32]) -> Vec<u32> {
    labels.iter().filter(|&&label| label >= 0).map(|&label| label as u32).collect()
}

fn sample_text(sample: &Value) -> String {
    let text = |key: &str| sample[key].as_str().unwrap_or_default().to_owned();
    let head = format!("{} {}", text("source"), text("key"));
    if sample.get("left_out").is_some() {
        return format!("{head}\n  left out: {} ({})", text("left_out"), text("detail"));
    }
    let tokens = sample["input_ids"].as_array().map_or(0, Vec::len);
    format!("{head}\n  {tokens} tokens, media {}\n  learned: {}", sample["media"], text("learned"))
}
