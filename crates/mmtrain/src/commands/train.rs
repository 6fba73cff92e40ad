//! `mmtrain pretrain`: wiring of a training run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::{DType, Device};
use fs_err as fs;
use mmtrain_config::{ObjectiveConfig, Precision, Request, Resolved, RunConfig, differences, load, parse_resolved};
use mmtrain_data::{Mixture, Preparer};
use mmtrain_media::ImageProcessor;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::params::Part;
use mmtrain_text::TextTokenizer;
use mmtrain_train::checkpoint::{
    DataIdentity, Found, FrozenPart, RunLock, TrainState, dir_name, find_newest, load as load_checkpoint,
    write_atomically,
};
use mmtrain_train::driver::Plan;
use mmtrain_train::memory::{self, KeepPlan, MicroShape, keep_plan};
use mmtrain_train::optimizer::AdamW;
use mmtrain_train::trainer::{Ending, Progress, Run, mark_finished, train, trained};
use mmtrain_train::{Stop, TrainError};
use serde_json::json;

use super::{Context, config_dirs, note};
use crate::cli::TrainArgs;
use crate::commands::{dry_run, watch::Watcher};
use crate::fail::Refusal;
use crate::run_dir::{RunInfo, fresh, newest, refuse_overwrite};
use crate::{model_dir, setup};

/// Exit code after a signal, with what was done saved: "try again later" (`sysexits.h`).
pub(crate) const EXIT_STOPPED: u8 = 75;

/// Runs a training stage.
pub(crate) fn run(context: &Context, stage: &str, args: &TrainArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let resume = resume_dir(stage, args)?;
    let resolved = resolve(args, resume.as_deref())?;
    resolved.notes().iter().for_each(|text| note(&format!("note: {text}")));
    if args.dry_run {
        return dry_run::run(&resolved, args, &device);
    }
    let run_dir =
        resume.clone().or_else(|| args.run_dir.clone()).unwrap_or_else(|| fresh(stage, args.config.as_deref()));
    if resume.is_none() {
        refuse_overwrite(&run_dir)?;
    }
    setup::require_inputs(&resolved.config)?;
    fs::create_dir_all(&run_dir)?;
    let _lock = RunLock::acquire(&run_dir)?;
    let stop = stop_on_signals()?;
    let found = find_newest(&run_dir)?;
    announce(&run_dir, found.as_ref(), context);
    let prepared = Prepared::new(resolved.config, &run_dir, args, &device.device, found.as_ref(), &stop)?;
    if RunInfo::read(&run_dir).is_none() {
        RunInfo::new(stage, args.init.as_deref()).write(&run_dir)?;
    }
    finish(context, stage, prepared, &device.name, &stop)
}

/// The run to go on with. `--resume` alone means the newest, or the one that `--run-dir` names.
fn resume_dir(stage: &str, args: &TrainArgs) -> anyhow::Result<Option<PathBuf>> {
    let dir = match (&args.resume, &args.run_dir) {
        (None, _) => return Ok(None),
        (Some(Some(dir)), Some(run_dir)) if dir != run_dir => {
            return Err(
                Refusal::usage("`--resume` and `--run-dir` name different directories", "give one of them").into()
            );
        }
        (Some(Some(dir)), _) | (Some(None), Some(dir)) => dir.clone(),
        (Some(None), None) => newest(stage)?,
    };
    Ok(Some(dir))
}

/// The configuration of the run: what the directory holds, or what was asked for.
///
/// Both may be given on a resume if they agree in everything that would change the run.
fn resolve(args: &TrainArgs, resume: Option<&Path>) -> anyhow::Result<Resolved> {
    let dirs = config_dirs();
    let own = resume.map(|dir| dir.join("config.toml")).filter(|path| path.is_file());
    let Some(own) = own else {
        let resolved =
            load(&Request { config: args.config.as_deref(), sets: &args.sets, sources: &args.data, search: &dirs })?;
        return Ok(resolved);
    };
    let own_name = own.display().to_string();
    let stored = parse_resolved(&fs::read_to_string(&own)?, &own_name)?;
    let base = args.config.as_deref().unwrap_or(&own_name);
    let asked = load(&Request { config: Some(base), sets: &args.sets, sources: &args.data, search: &dirs })?;
    let changed = differences(&stored.config, &asked.config);
    let forbidden =
        changed.iter().filter(|difference| difference.changes_run).map(ToString::to_string).collect::<Vec<_>>();
    if forbidden.is_empty() {
        return Ok(with_ranks(asked, stored.config.train.ranks));
    }
    let message = format!(
        "the run in `{}` has another configuration:\n  {}",
        resume.unwrap_or(&own).display(),
        forbidden.join("\n  ")
    );
    Err(Refusal::usage(message, "leave out what differs, or start a new run with `--init` from this one").into())
}

/// The number of ranks is part of the run: it fixes the order of sums, on whatever machine it goes on.
fn with_ranks(mut resolved: Resolved, ranks: usize) -> Resolved {
    resolved.config.train.ranks = ranks;
    resolved
}

fn announce(run_dir: &Path, found: Option<&Found>, context: &Context) {
    let Some(found) = found else { return };
    for reason in &found.rejected {
        note(&format!("warning: passed over {reason}"));
    }
    if !context.quiet {
        note(&format!("going on with `{}` from step {}", run_dir.display(), found.step));
    }
}

/// The first signal asks to stop after the step; the second one ends at once.
pub(crate) fn stop_on_signals() -> anyhow::Result<Stop> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(EXIT_STOPPED), flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(Stop::from_flag(flag))
}

/// A run that is ready to go.
struct Prepared {
    run: Run,
    progress: Progress,
    model_config: VlmConfig,
}

impl Prepared {
    fn new(
        mut config: RunConfig,
        run_dir: &Path,
        args: &TrainArgs,
        device: &Device,
        found: Option<&Found>,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let is_cpu = *device == Device::flex();
        resolve_ranks(&mut config, is_cpu);
        let data = setup::open_data(&config, stop)?;
        let tokenizer = Arc::new(run_tokenizer(&config, &data.mixture, run_dir, args.init.as_deref())?);
        let base = base_model(&config, args, &tokenizer, device)?;
        let sizes = base.config.clone();
        setup::check_vocab(&tokenizer, &sizes)?;
        let processor = setup::processor(&config.model.encoder, &sizes.vision)?;
        let template = setup::template(config.data.template);
        let preparer = Arc::new(setup::preparer(tokenizer.clone(), processor.clone(), &sizes, template, &config.data));
        let frozen = frozen_parts(&config, &base);
        let keep = keep(&config, &sizes);
        let progress = start(&config, base, found, &data.mixture, &frozen, keep)?;
        let total_steps = total_steps(&config, data.mixture.epoch_len());
        let plan = plan(&config, progress.state.keep, is_cpu);
        let texts = texts(&config, &sizes, &tokenizer, &processor)?;
        for (name, text) in &texts {
            write_atomically(&run_dir.join(name), text.as_bytes())?;
        }
        let workers = setup::workers(config.data.workers);
        let (mixture, held_out) = (data.mixture, data.held_out);
        let run_dir = run_dir.to_owned();
        let run = Run { config, total_steps, run_dir, mixture, held_out, preparer, plan, workers, frozen, texts };
        Ok(Self { run, progress, model_config: sizes })
    }
}

/// Ranks are resolved once: their number fixes the order of sums, so it is recorded in the run.
fn resolve_ranks(config: &mut RunConfig, is_cpu: bool) {
    let micro_batches = config.train.global_batch_size.get() / config.train.micro_batch_size.get();
    let most = if is_cpu { setup::cores().min(micro_batches) } else { 1 };
    config.train.ranks = if config.train.ranks == 0 { most } else { config.train.ranks.min(micro_batches) };
}

/// The tokenizer the run already has, that of the model it starts from, or a new one.
fn run_tokenizer(
    config: &RunConfig,
    mixture: &Mixture,
    run_dir: &Path,
    init: Option<&Path>,
) -> anyhow::Result<TextTokenizer> {
    let from = match init {
        Some(init) => Some(model_dir::locate(init)?),
        None => None,
    };
    let have = [Some(run_dir.to_owned()), from].into_iter().flatten().find(|dir| dir.join("tokenizer.json").is_file());
    match have {
        Some(dir) => {
            let mut tokenizer = TextTokenizer::load(dir)?;
            tokenizer.ensure_image_token()?;
            Ok(tokenizer)
        }
        None => setup::tokenizer(config, mixture),
    }
}

/// The weights at step 0.
fn base_model(config: &RunConfig, args: &TrainArgs, tokenizer: &TextTokenizer, device: &Device) -> anyhow::Result<Vlm> {
    if let Some(init) = &args.init {
        return model_dir::load_weights(&model_dir::locate(init)?, device);
    }
    let sizes = setup::model_config(config, tokenizer.vocab_size(), tokenizer.image_id()? as usize)?;
    setup::build_model(config, &sizes, device)
}

fn frozen_parts(config: &RunConfig, model: &Vlm) -> Vec<FrozenPart> {
    let trained = trained(config);
    let frozen = Part::ALL.into_iter().filter(|&part| !trained.part(part));
    let describe = |part| {
        let weights = setup::part_weights(config, part).map(|path| fs::canonicalize(&path).unwrap_or(path));
        FrozenPart { part, weights, hash: model_dir::part_hash(model, part) }
    };
    frozen.map(describe).collect()
}

/// The state from which the loop goes on.
fn start(
    config: &RunConfig,
    base: Vlm,
    found: Option<&Found>,
    mixture: &Mixture,
    frozen: &[FrozenPart],
    keep: KeepPlan,
) -> anyhow::Result<Progress> {
    let data = identities(mixture);
    let Some(found) = found else {
        let state = TrainState {
            step: 0,
            cursor: mmtrain_data::Cursor::default(),
            samples: 0,
            supervised_tokens: 0,
            data,
            keep,
            frozen: frozen.to_vec(),
        };
        return Ok(Progress { model: base, optimizer: AdamW::default(), state });
    };
    let trained = trained(config);
    let parts = Part::ALL.into_iter().filter(|&part| trained.part(part)).collect::<Vec<_>>();
    let loaded = load_checkpoint(&found.dir, base, &parts)?;
    check_same_data(&loaded.state.data, &data)?;
    for part in &loaded.state.frozen {
        model_dir::check_hash(&loaded.model, part.part, &part.hash)?;
    }
    Ok(Progress { model: loaded.model, optimizer: loaded.optimizer, state: loaded.state })
}

fn identities(mixture: &Mixture) -> Vec<DataIdentity> {
    let identity = |source: &Arc<dyn mmtrain_data::Source>| DataIdentity {
        name: source.name().to_owned(),
        samples: source.len(),
        fingerprint: source.fingerprint().to_owned(),
    };
    mixture.sources().map(identity).collect()
}

fn check_same_data(then: &[DataIdentity], now: &[DataIdentity]) -> Result<(), TrainError> {
    let mut changes = Vec::new();
    for old in then {
        match now.iter().find(|new| new.name == old.name) {
            None => changes.push(format!("source `{}` is gone", old.name)),
            Some(new) if new.samples != old.samples => {
                changes.push(format!("source `{}` had {} samples, now {}", old.name, old.samples, new.samples));
            }
            Some(new) if new.fingerprint != old.fingerprint => {
                changes.push(format!("source `{}` has other files or other content than before", old.name));
            }
            Some(_) => {}
        }
    }
    changes.extend(
        now.iter()
            .filter(|new| !then.iter().any(|old| old.name == new.name))
            .map(|new| format!("source `{}` is new", new.name)),
    );
    if changes.is_empty() { Ok(()) } else { Err(TrainError::DataChanged(changes.join("; "))) }
}

/// `train.steps`, or as many as `train.epochs` take.
pub(crate) fn total_steps(config: &RunConfig, epoch_len: u64) -> u64 {
    let per_epoch = epoch_len as f64 / config.train.global_batch_size.get() as f64;
    let from_epochs = || (config.train.epochs.unwrap_or(1.0) * per_epoch).ceil().max(1.0) as u64;
    config.train.steps.unwrap_or_else(from_epochs)
}

/// How a step is computed on this machine.
fn plan(config: &RunConfig, keep: KeepPlan, is_cpu: bool) -> Plan {
    let trained = trained(config);
    let ObjectiveConfig::NextToken { chunk_rows } = config.objective;
    let dtype = match config.train.precision {
        Precision::Bf16 => DType::BF16,
        Precision::F32 => DType::F32,
        Precision::Auto => {
            if is_cpu {
                DType::F32
            } else {
                DType::BF16
            }
        }
    };
    Plan { trained, keep_encoder: keep.encoder, keep_decoder: keep.decoder, chunk_rows, dtype }
}

/// Which blocks keep their graph: as many as half of the free memory holds, unless told otherwise.
pub(crate) fn keep(config: &RunConfig, sizes: &VlmConfig) -> KeepPlan {
    let budget = memory::available_bytes() / 2;
    keep_plan(sizes, micro_shape(config), trained(config), config.train.recompute, budget)
}

/// The largest micro-batch a configuration allows.
pub(crate) fn micro_shape(config: &RunConfig) -> MicroShape {
    let batch = config.train.micro_batch_size.get();
    MicroShape { batch, seq: config.data.max_seq, images: batch, ranks: config.train.ranks.max(1) }
}

/// The files every checkpoint carries along.
fn texts(
    config: &RunConfig,
    sizes: &VlmConfig,
    tokenizer: &TextTokenizer,
    processor: &ImageProcessor,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = vec![
        ("config.toml".to_owned(), config.to_toml()),
        ("config.json".to_owned(), format!("{:#}\n", sizes.to_hf())),
        ("preprocessor_config.json".to_owned(), format!("{:#}\n", processor.to_hf())),
    ];
    texts.extend(tokenizer.files()?.into_iter().map(|(name, text)| (name.to_owned(), text)));
    Ok(texts)
}

/// The loop, and what remains to be done after it.
fn finish(
    context: &Context,
    stage: &str,
    mut prepared: Prepared,
    device: &str,
    stop: &Stop,
) -> anyhow::Result<ExitCode> {
    let Prepared { run, progress, model_config } = &mut prepared;
    if progress.state.step >= run.total_steps {
        note(&format!("`{}` is finished: {} steps were made", run.run_dir.display(), progress.state.step));
        return Ok(ExitCode::SUCCESS);
    }
    let mut watcher = Watcher::new(run, context, progress.state.step)?;
    watcher.header(run, &progress.model, model_config, device);
    let ending = train(run, progress, &mut watcher, stop)?;
    watcher.write_report(run, &progress.model, stage, device)?;
    match ending {
        Ending::Finished => {
            mark_finished(&run.run_dir, progress.state.step)?;
            watcher.finish(&format!(
                "finished: `{}`, report in `{}`",
                run.run_dir.join(dir_name(progress.state.step)).display(),
                run.run_dir.join("report.html").display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Ending::Stopped => {
            watcher.finish(&format!(
                "stopped at step {}; go on with `mmtrain {stage} --resume {}`",
                progress.state.step,
                run.run_dir.display()
            ));
            Ok(ExitCode::from(EXIT_STOPPED))
        }
    }
}

/// For the ledger: parameters of each part, and how it is trained.
pub(crate) fn ledger(config: &RunConfig, model: &Vlm) -> Vec<crate::report::LedgerRow> {
    let row = |part: Part| {
        let parameters = model.infos(part).iter().map(|info| info.elements() as u64).sum();
        let lr = mmtrain_train::trainer::part_config(config, part).tuning.lr();
        crate::report::LedgerRow {
            part: part.name().to_owned(),
            tuning: lr.map_or("frozen".to_owned(), |lr| format!("full, lr {lr:e}")),
            parameters,
            trained: if lr.is_some() { parameters } else { 0 },
        }
    };
    Part::ALL.into_iter().map(row).collect()
}

/// Rows of the dry run and the header: what goes where.
pub(crate) fn memory_rows(estimate: &memory::MemoryEstimate) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("weights", estimate.weights),
        ("gradients", estimate.gradients),
        ("optimizer", estimate.optimizer),
        ("activations", estimate.activations),
        ("head", estimate.head),
        ("total", estimate.total()),
    ])
}

/// One held-out sample, prepared.
pub(crate) fn shown(preparer: &Preparer, held_out: &Mixture, count: usize) -> Vec<(mmtrain_data::Prepared, Vec<u8>)> {
    let mut samples = Vec::new();
    for position in 0..held_out.epoch_len() {
        if samples.len() == count {
            break;
        }
        let (source, index) = held_out.locate(None, 0, position);
        let Ok(raw) = source.get(index) else { continue };
        let Ok(prepared) = preparer.prepare(&raw) else { continue };
        samples.push((prepared, raw.media.into_iter().next().unwrap_or_default()));
    }
    samples
}

/// As JSON, for `--dry-run --json`.
pub(crate) fn plan_json(keep: KeepPlan, sizes: &VlmConfig) -> serde_json::Value {
    json!({
        "encoder_blocks_kept": keep.encoder,
        "encoder_blocks": sizes.vision_layers(),
        "decoder_blocks_kept": keep.decoder,
        "decoder_blocks": sizes.text.num_hidden_layers,
    })
}
