//! `mmtrain pretrain`: wiring of a training run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use burn::tensor::{DType, Device};
use fs_err as fs;
use mmtrain_config::{FullTuning, ObjectiveConfig, RunConfig, TemplateKind, Tuning};
use mmtrain_data::{Mixture, Preparer, Shown, Wanted};
use mmtrain_media::Preprocessor;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::params::{ParamInfo, Part};
use mmtrain_model::weights::LoadDtype;
use mmtrain_text::TextTokenizer;
use mmtrain_train::best::Best;
use mmtrain_train::checkpoint::{
    DataIdentity, Found, FrozenPart, TrainState, dir_name, find_newest, load as load_checkpoint, sweep,
    write_atomically,
};
use mmtrain_train::driver::Plan;
use mmtrain_train::features::FeatureCache;
use mmtrain_train::memory::{self, Copies, KeepPlan, MicroShape, keep_plan};
use mmtrain_train::optimizer::AdamW;
use mmtrain_train::trainer::{
    Ending, FINISHED_FILE, Objective, Progress, Run, mark_finished, part_config, train, trained,
};
use mmtrain_train::{Stop, TrainError};
use serde_json::json;

use super::parent::Parent;
use super::resume::{announce, init, resolve, resume_dir};
use super::{Context, dry_run, note, reference, watch::Watcher};
use crate::cli::TrainArgs;
use crate::fail::Refusal;
use crate::inputs::require_inputs;
use crate::irregular::refuse_irregular_run;
use crate::number_type::{check_precision, computed_in, in_training};
use crate::origin::Origin;
use crate::report::medium::small_file;
use crate::report::text::grouped;
use crate::run_dir::{RunDir, RunInfo, fresh, refuse_others, refuse_overwrite};
use crate::signals::stop_on_signals;
use crate::stage::Stage;
use crate::{adapters, blocks, room, setup, watchdog};

/// Exit code after a signal, with what was done saved: "try again later" (`sysexits.h`).
pub(crate) const EXIT_STOPPED: u8 = 75;

/// The resolved configuration, in a run and in each of its checkpoints.
const CONFIG_FILE: &str = "config.toml";

/// Runs a training stage.
pub(crate) fn run(context: &Context, stage: Stage, args: &TrainArgs) -> anyhow::Result<ExitCode> {
    let device = context.device.open()?;
    let resume = resume_dir(stage, args)?;
    let path = resume.clone().or_else(|| args.run_dir.clone());
    let path = path.unwrap_or_else(|| fresh(stage.name(), args.recipe.config.as_deref()));
    let held = hold(&path, resume.is_some(), args.dry_run)?;
    let known = resume.as_deref().and_then(RunInfo::read);
    known.as_ref().map_or(Ok(()), |known| refuse_other_stage(stage, known, &path))?;
    let found = if resume.is_some() { find_newest(&path)? } else { None };
    let init = init(stage, &args.recipe, resume.as_deref(), found.as_ref())?;
    if let Some(init) = init.as_ref().filter(|_| args.recipe.init.is_none() && found.is_none() && !context.quiet) {
        note(&format!("starting from `{}`", init.display()));
    }
    let parent = match (&found, &init) {
        (Some(found), Some(_)) => Some(Parent::of_checkpoint(found)?),
        (_, init) => Parent::of(init.as_deref())?,
    };
    let resolved = resolve(stage, &args.recipe, (resume.as_deref(), parent.as_ref()), found.as_ref())?;
    resolved.notes().iter().for_each(|text| note(&format!("note: {text}")));
    stage.check(&resolved.config)?;
    check_precision(&resolved.config, &device)?;
    note_unasked(&resolved.config);
    require_inputs(&resolved.config, init.is_none() && found.is_none())?;
    let origin = Origin::new(found.as_ref(), init.as_deref())?;
    origin.check(&resolved.config)?;
    if args.dry_run {
        return dry_run::run(&resolved, &origin, args.json, &device);
    }
    if resume.is_some() {
        announce(&path, found.as_ref(), context.quiet);
    }
    let run_dir = held.map_or_else(|| RunDir::enter(&path), Ok)?;
    let stop = stop_on_signals()?;
    let info = known.clone().unwrap_or_else(|| {
        let info = RunInfo::new(stage.name(), args.recipe.config.as_deref(), init.as_deref());
        // A run whose `run.json` is gone is still the run that its checkpoints are of.
        found.as_ref().map_or(info.clone(), |found| RunInfo { id: found.manifest.run.clone(), ..info })
    });
    let mut prepared = Prepared::new(resolved.config, run_dir.path(), (&origin, &info), &device.device, &stop)?;
    if known.is_none() {
        info.write(&path)?;
    }
    let _watchdog = watchdog::watch(&prepared.run.config, &stop)?;
    write_texts(&prepared.run, found.as_ref())?;
    let Prepared { run, objective, progress, .. } = &mut prepared;
    let began = reference::Beginning { init: init.as_deref(), info: &info, device: &device.device };
    reference::ask(context, (run, objective, progress), &began)?;
    finish(context, stage.name(), prepared, &device.name)
}

/// A run goes on in its own stage.
fn refuse_other_stage(stage: Stage, known: &RunInfo, run: &Path) -> Result<(), Refusal> {
    if known.stage == stage.name() {
        return Ok(());
    }
    let (run, own) = (run.display(), &known.stage);
    let message = format!("`{run}` is a run of `{own}`, and this is `{}`", stage.name());
    Err(Refusal::usage(
        message,
        format!("go on with `mmtrain {own} --resume {run}`, or begin from it with `--init {run}`"),
    ))
}

/// Says so where answers are compared without what they answer.
fn note_unasked(config: &RunConfig) {
    if config.objective.is_preference() && config.data.template == TemplateKind::Plain {
        note(
            "warning: `data.template = \"plain\"` writes no question: answers are compared as captions are; set `data.template`, or \
             begin from an `sft` run",
        );
    }
}

/// Keeps others out of a directory that is there already, before anything in it is looked at.
fn hold(path: &Path, resumed: bool, dry_run: bool) -> anyhow::Result<Option<RunDir>> {
    if path.to_str().is_none() {
        let message = format!("the name of the run directory `{}` is not UTF-8", path.display());
        return Err(Refusal::usage(message, "choose another `--run-dir`").into());
    }
    if path.is_dir() {
        refuse_irregular_run(path)?;
        refuse_others(path)?;
    }
    if dry_run || !path.is_dir() {
        return Ok(None);
    }
    if !resumed {
        refuse_overwrite(path)?;
    }
    RunDir::enter(path).map(Some)
}

/// Writes the files that every checkpoint carries along beside the checkpoints too. Readers like to find them there; but for
/// `config.toml` nothing is ever read from them.
fn write_texts(run: &Run, found: Option<&Found>) -> anyhow::Result<()> {
    for (name, text) in &run.texts {
        let path = run.run_dir.join(name);
        let same = fs::read(&path).is_ok_and(|there| there == text.as_bytes());
        if let Some(found) = found.filter(|_| !same && name != CONFIG_FILE) {
            note(&format!(
                "warning: `{}` was changed or removed; that of step {} is put back",
                path.display(),
                found.step
            ));
        }
        if !same {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            write_atomically(&path, text.as_bytes())?;
        }
    }
    Ok(())
}

/// A run that is ready to go.
struct Prepared {
    run: Run,
    objective: Objective,
    progress: Progress,
    model_config: VlmConfig,
}

impl Prepared {
    fn new(
        mut config: RunConfig,
        run_dir: &Path,
        (origin, info): (&Origin<'_>, &RunInfo),
        device: &Device,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        resolve_ranks(&mut config, *device == Device::flex());
        let goes_on = || if stop.requested() { Err(TrainError::Interrupted) } else { Ok(()) };
        let data = setup::open_data(&config, stop)?;
        goes_on()?;
        let tokenizer = Arc::new(origin.tokenizer(&config, &data.mixture, stop)?);
        goes_on()?;
        let base = origin.model(&config, &tokenizer, device)?;
        goes_on()?;
        blocks::check(&config, &base)?;
        let sizes = base.config.clone();
        setup::check_placeholder(&tokenizer, &sizes)?;
        setup::check_vocab(&tokenizer, &sizes)?;
        let preprocessor = origin.preprocessor(&config, &sizes)?;
        let preparer = Arc::new(preparer(&config, origin, &sizes, (tokenizer.clone(), preprocessor.clone()))?);
        let keep = keep(&config, &sizes, device);
        let progress = start(&config, base, origin, &data.mixture, keep)?;
        let frozen = progress.state.frozen.clone();
        let total_steps = total_steps(&config, data.mixture.epoch_len());
        let features = feature_cache(&config, &frozen)?;
        let plan = Plan { features, ..plan(&config, progress.state.keep, device) };
        let texts = match origin {
            Origin::Checkpoint(found) => resumed_texts(&config, found)?,
            Origin::Init(_) | Origin::Config => texts(&config, &sizes, &preparer, &preprocessor)?,
        };
        let adapter = adapters::as_peft(&progress.model, &adapters::of_config(&config));
        let workers = setup::workers(config.data.workers);
        let (mixture, held_out) = (data.mixture, data.held_out);
        let objective = reference::objective(&config, run_dir, info, plan.dtype)?;
        let (run_dir, stop) = (run_dir.to_owned(), stop.clone());
        let run = Run {
            config,
            total_steps,
            run_dir,
            mixture,
            held_out,
            preparer,
            plan,
            workers,
            frozen,
            texts,
            adapter,
            stop,
        };
        Ok(Self { run, objective, progress, model_config: sizes })
    }
}

/// How samples are made ready for what a run learns.
pub(crate) fn preparer(
    config: &RunConfig,
    origin: &Origin<'_>,
    sizes: &VlmConfig,
    (tokenizer, preprocessor): (Arc<TextTokenizer>, Preprocessor),
) -> anyhow::Result<Preparer> {
    let template = setup::template(&config.data, &tokenizer)?;
    let instruction = setup::instruction_tokenizer(origin.dir(), sizes)?;
    let tokenizers = setup::Tokenizers { text: tokenizer, instruction };
    let preparer = setup::preparer(tokenizers, preprocessor, sizes, template, &config.data)?;
    Ok(Preparer { wanted: wanted(&config.objective), shown: shown_media(config), ..preparer })
}

/// What the objective learns from.
fn wanted(objective: &ObjectiveConfig) -> Wanted {
    match (objective.is_preference(), objective.is_unpaired()) {
        (false, _) => Wanted::Answers,
        (true, false) => Wanted::Pairs,
        (true, true) => Wanted::Judged,
    }
}

/// Whether better answers are compared with themselves behind cut-outs.
fn shown_media(config: &RunConfig) -> Shown {
    if config.objective.ablates() { Shown::WholeAndCutOut { seed: config.train.seed } } else { Shown::Whole }
}

/// Ranks are resolved once: their number fixes the order of sums, so it is recorded in the run.
pub(crate) fn resolve_ranks(config: &mut RunConfig, is_cpu: bool) {
    if config.train.ranks == 0 {
        config.train.ranks = if is_cpu { setup::cores().min(config.train.grad_accum_steps()) } else { 1 };
    }
}

/// The state from which the loop goes on.
pub(crate) fn start(
    config: &RunConfig,
    base: Vlm,
    origin: &Origin<'_>,
    mixture: &Mixture,
    keep: KeepPlan,
) -> anyhow::Result<Progress> {
    let data = identities(mixture);
    let trained = trained(config);
    let Origin::Checkpoint(found) = origin else {
        let kept = Part::ALL.into_iter().filter(|&part| !trained.part(part).saves_all());
        let frozen = kept.map(|part| origin.frozen_part(config, part, &base)).collect::<anyhow::Result<_>>()?;
        let cursor = mmtrain_data::Cursor::default();
        let state = TrainState::new(cursor, data, keep, frozen);
        return Ok(Progress { model: base, optimizer: AdamW::default(), state });
    };
    let loaded = load_checkpoint(&found.dir, base, trained)?;
    check_same_data(&loaded.state.data, &data)?;
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
pub(crate) fn plan(config: &RunConfig, keep: KeepPlan, device: &Device) -> Plan {
    let trained = trained(config);
    let chunk_rows = config.objective.chunk_rows();
    Plan {
        trained,
        keep_encoder: keep.encoder,
        keep_decoder: keep.decoder,
        chunk_rows,
        dtype: computed_in(config, device),
        features: None,
        dropout: None,
    }
}

/// Features of the encoder, where they are kept on disk.
fn feature_cache(config: &RunConfig, frozen: &[FrozenPart]) -> anyhow::Result<Option<Arc<FeatureCache>>> {
    let encoder = frozen.iter().find(|frozen| frozen.part == Part::Encoder);
    let (Some(cache), Some(encoder)) = (&config.train.feature_cache, encoder) else { return Ok(None) };
    let name = format!("{} {:?}", encoder.hash, config.model.encoder);
    Ok(Some(Arc::new(FeatureCache::open(&cache.dir, cache.max_bytes(), name)?)))
}

/// Which blocks keep their graph: as many as half of the free memory holds, unless told otherwise.
pub(crate) fn keep(config: &RunConfig, sizes: &VlmConfig, device: &Device) -> KeepPlan {
    // How weights are stored is not known here: as narrow as they may be held.
    keep_for(config, sizes, micro_shape(config, device, true), device)
}

/// As [`keep`], for the largest micro-batch.
pub(crate) fn keep_for(config: &RunConfig, sizes: &VlmConfig, shape: MicroShape, device: &Device) -> KeepPlan {
    // A GPU of which nothing is known is taken to have what the host has.
    let budget = memory::available_on(device).unwrap_or_else(memory::available_bytes) / 2;
    let KeepPlan { encoder, decoder } = keep_plan(sizes, shape, trained(config), config.train.recompute, budget);
    // The graph of a block holds its dense weights.
    let kept = |part, blocks| if part_config(config, part).tuning.quantization().is_some() { 0 } else { blocks };
    KeepPlan { encoder: kept(Part::Encoder, encoder), decoder: kept(Part::Decoder, decoder) }
}

/// The largest micro-batch a configuration allows; `is_narrow`: some weights are stored in less than f32.
pub(crate) fn micro_shape(config: &RunConfig, device: &Device, is_narrow: bool) -> MicroShape {
    let batch = config.train.micro_batch_size.get();
    // A pair is a row of two answers, each as long as a row may be; behind a cut-out one of them stands once more.
    let answers = if config.objective.is_preference() { 2 } else { 1 };
    let batch = if config.objective.ablates() { 2 * batch } else { batch };
    let ranks = config.train.ranks.max(1);
    MicroShape {
        batch,
        seq: answers * config.data.max_seq,
        images: batch,
        ranks,
        passes: config.train.grad_accum_steps().div_ceil(ranks),
        scores: *device != Device::flex(),
        width: if computed_in(config, device) == DType::F32 { 4 } else { 2 },
        copies: Copies {
            encoder: copied(config, Part::Encoder, device, is_narrow),
            decoder: copied(config, Part::Decoder, device, is_narrow),
        },
    }
}

/// Bytes that graphs of a part's blocks hold for each weight beside the weight itself. `DoRA` makes two of each weight in f32, with the adapter
/// and in its direction; what is held in f32 and computed in 16 bits is cast.
fn copied(config: &RunConfig, part: Part, device: &Device, is_narrow: bool) -> u64 {
    let is_dora = part_config(config, part).tuning.lora().is_some_and(|lora| lora.use_dora);
    let is_held_in_f32 = match in_training(config, part, device) {
        LoadDtype::F32 => true,
        LoadDtype::AsStored => !is_narrow,
        LoadDtype::Packed(_) | LoadDtype::KeptPacked => false,
    };
    let is_cast = is_held_in_f32 && computed_in(config, device) != DType::F32;
    Copies::of_part(is_dora, is_cast)
}

/// The files every checkpoint carries along.
fn texts(
    config: &RunConfig,
    sizes: &VlmConfig,
    preparer: &Preparer,
    preprocessor: &Preprocessor,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = vec![
        (CONFIG_FILE.to_owned(), config.to_toml()),
        ("config.json".to_owned(), format!("{:#}\n", sizes.to_checkpoint())),
        ("preprocessor_config.json".to_owned(), format!("{:#}\n", preprocessor.to_hf())),
    ];
    texts.extend(preparer.tokenizer.files()?.into_iter().map(|(name, text)| (name.to_owned(), text)));
    texts.extend(preparer.instruction.iter().flat_map(|instruction| instruction.files().iter().cloned()));
    Ok(texts)
}

/// The same files as the checkpoint's, but for the configuration, which may say that the run is longer now.
fn resumed_texts(config: &RunConfig, found: &Found) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = found.texts()?;
    for (_, text) in texts.iter_mut().filter(|(name, _)| name == CONFIG_FILE) {
        *text = config.to_toml();
    }
    Ok(texts)
}

/// The loop, and what remains to be done after it.
fn finish(context: &Context, stage: &str, mut prepared: Prepared, device: &str) -> anyhow::Result<ExitCode> {
    let Prepared { run, objective, progress, model_config } = &mut prepared;
    if progress.state.step >= run.total_steps && run.run_dir.join(FINISHED_FILE).is_file() {
        sweep(&run.run_dir)?;
        note(&format!("`{}` is finished: {} steps were made", run.run_dir.display(), progress.state.step));
        return Ok(ExitCode::SUCCESS);
    }
    room::for_checkpoint(&run.run_dir, ledger(&run.config, &progress.model).iter().map(|row| row.trained).sum());
    let mut watcher = Watcher::new(run, context, progress.state.step)?;
    watcher.header(run, &progress.model, model_config, device);
    let ending = train((run, objective), progress, &mut watcher)?;
    watcher.write_report(run, &progress.model, stage, device)?;
    match ending {
        Ending::Finished => {
            mark_finished(&run.run_dir, progress.state.step)?;
            watcher.finish(&format!(
                "finished{}: `{}`, report in `{}`",
                given_up(run, &progress.state).unwrap_or_default(),
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

/// Why a run ended before its last step: its evaluations got no better.
fn given_up(run: &Run, state: &TrainState) -> Option<String> {
    let (config, best) = (run.config.checkpoint.best.as_ref()?, state.best?);
    (state.step < run.total_steps).then(|| {
        let Best { step, value, stale } = best;
        let metric = &config.metric;
        format!(
            " at step {} of {}, since `{metric}` was not better in {stale} evaluations than {value:.4} at step {step}",
            state.step, run.total_steps
        )
    })
}

/// For the ledger: parameters of each part, and how it is trained.
pub(crate) fn ledger(config: &RunConfig, model: &Vlm) -> Vec<crate::report::LedgerRow> {
    let row = |part: Part| {
        let (infos, tuned) = (model.infos(part), trained(config).part(part));
        let sum = |wanted: &dyn Fn(&ParamInfo) -> bool| {
            infos.iter().filter(|info| wanted(info)).map(|info| info.elements() as u64).sum::<u64>()
        };
        let (parameters, trained) = (sum(&|_| true), sum(&|info| tuned.trains(info)));
        let of = format!("{} of {}", grouped(trained), grouped(parameters));
        let settings = part_config(config, part);
        let words = tuning_words(&settings.tuning, &of);
        let tuning = match &settings.tuning {
            Tuning::Frozen => words,
            _ => format!("{words}, weight decay {}", config.train.weight_decay_of(settings)),
        };
        crate::report::LedgerRow { part: part.name().to_owned(), tuning, parameters, trained }
    };
    Part::ALL.into_iter().map(row).collect()
}

/// `full, lr 1e-3`; `of` says how many parameters are trained of how many, where that is not all.
pub(crate) fn tuning_words(tuning: &Tuning, of: &str) -> String {
    match tuning {
        Tuning::Frozen => "frozen".to_owned(),
        Tuning::Full(FullTuning { lr, from_block: Some(block) }) => format!("from block {block} on, {of}, lr {lr:e}"),
        Tuning::Full(full) => format!("full, lr {:e}", full.lr),
        Tuning::Lora(lora) => {
            let beside = lora.quantization.map_or_else(String::new, |scheme| format!(" beside {}", scheme.name()));
            format!("{}{beside}, {of}, lr {:e}", LoraConfig::from(lora), lora.lr)
        }
    }
}

/// Rows of the dry run and the header: what goes where.
pub(crate) fn memory_rows(estimate: &memory::MemoryEstimate) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("weights", estimate.weights),
        ("gradients", estimate.gradients),
        ("optimizer", estimate.optimizer),
        ("activations", estimate.activations),
        ("head", estimate.head),
        ("saving", estimate.saving),
        ("total", estimate.total()),
    ])
}

/// The first held-out samples, prepared, each with the file of its first medium.
pub(crate) fn shown(preparer: &Preparer, held_out: &Mixture, count: usize) -> Vec<(mmtrain_data::Prepared, Vec<u8>)> {
    let mut samples = Vec::new();
    for position in 0..held_out.epoch_len() {
        if samples.len() == count {
            break;
        }
        let (source, index) = held_out.locate(None, 0, position);
        let Ok(raw) = source.get(index) else { continue };
        let Ok(prepared) = preparer.prepare(&raw) else { continue };
        let medium = raw.media.first().and_then(small_file).unwrap_or_default().into_owned();
        samples.push((prepared, medium));
    }
    samples
}

/// As JSON, for `--dry-run --json`.
pub(crate) fn plan_json(keep: KeepPlan, sizes: &VlmConfig) -> serde_json::Value {
    json!({
        "encoder_blocks_kept": keep.encoder,
        "encoder_blocks": sizes.encoder.num_layers(),
        "decoder_blocks_kept": keep.decoder,
        "decoder_blocks": sizes.text.num_hidden_layers,
    })
}
