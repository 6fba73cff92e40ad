//! `mmtrain inspect`: what a checkpoint holds, without loading it.
//!
//! Sizes come from `config.json`, number types and coverage from the headers of the weights, of parts that a run left
//! where they came from as of its own. No tensor is allocated, so a model of any size can be looked at; with `--values` all
//! are read, one after the other.

mod text;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::module::Module;
use burn::prelude::Device;
use mmtrain_config::{Request, Tuning, load};
use mmtrain_model::config::{ModelKind, read_encoder, read_kind, read_text, read_vlm_sizes};
use mmtrain_model::decoder::Decoder;
use mmtrain_model::encoder::Encoder;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::lora::attach::attach;
use mmtrain_model::params::{ParamInfo, Part, infos};
use mmtrain_model::weights::Checkpoint;
use mmtrain_model::{ModelError, Vlm};
use mmtrain_train::trainer::part_config;
use serde::Serialize;

use super::train::tuning_words;
use super::{config_dirs, print, print_json};
use crate::adapters;
use crate::cli::InspectArgs;
use crate::holdings::{Holding, frozen_part, holdings};
use crate::inputs::refuse_pickles;
use crate::model_dir::locate;
use tree::{Branch, tree};

/// Exit code where the weights do not cover the model.
const INCOMPLETE: u8 = 4;

/// What the command says.
#[derive(Debug, Serialize)]
struct Inspection {
    model_type: String,
    /// Why the parts, as the configuration describes them, cannot be used together.
    misfit: Option<String>,
    parameters: u64,
    /// Parameters that a configuration would train, where one was given.
    trained: Option<u64>,
    parts: Vec<PartReport>,
    /// None where the directory holds no weights.
    weights: Option<Coverage>,
}

/// One part of the model.
#[derive(Debug, Serialize)]
struct PartReport {
    part: &'static str,
    parameters: u64,
    /// Parameters per stored number type; empty without weights.
    dtypes: BTreeMap<String, u64>,
    /// How a configuration would train it, where one was given.
    tuning: Option<String>,
    /// Its adapters, if it has some.
    adapter: Option<String>,
    /// Where it lies, if not here.
    reference: Option<Reference>,
    tree: Vec<Branch>,
}

/// A frozen part, which a run leaves where it came from.
#[derive(Debug, Serialize)]
struct Reference {
    /// The directories that hold it, at the end of all references.
    weights: Vec<PathBuf>,
    /// Whether it, or one of its towers, is made anew from the run's seed.
    from_seed: bool,
    /// blake3 over its names and values, as the run recorded it.
    hash: String,
}

/// Whether the weights are those of the configuration.
#[derive(Debug, Default, Serialize)]
struct Coverage {
    /// In the directory itself.
    tensors: usize,
    missing: Vec<String>,
    other_shape: Vec<String>,
    not_float: Vec<String>,
    /// NaN or infinite; none where nobody asked for the values.
    not_finite: Option<Vec<String>>,
    /// Tensors of the directory itself that are of no part.
    unused: Vec<String>,
}

/// What the directory describes.
struct Survey {
    model_type: String,
    /// All parts of a whole model, or the only one of a language model or an encoder.
    parts: Vec<PartHoldings>,
    misfit: Option<String>,
}

/// A part, and what holds it.
struct PartHoldings {
    part: Part,
    /// With adapters.
    infos: Vec<ParamInfo>,
    /// Parameters of the adapters that a configuration asks for.
    wanted: u64,
    held: Vec<Holding>,
}

/// Runs the command.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let dir = locate(&args.dir)?;
    let tunings = tunings(args)?;
    let Survey { model_type, parts, misfit } = survey(&dir, &tunings)?;
    let has_weights = Checkpoint::is_in(&dir);
    let reports = parts.iter().map(|part| report(part, &dir, tunings.get(&part.part), args.depth));
    let inspection = Inspection {
        model_type,
        misfit,
        parameters: parts.iter().map(|part| sum(&part.infos)).sum(),
        trained: args.config.as_ref().map(|_| trained(&parts, &tunings)),
        parts: reports.collect::<Result<_, _>>()?,
        weights: if has_weights { Some(coverage(&parts, &dir, args.values)?) } else { None },
    };
    if args.json {
        print_json(&inspection)?;
    } else {
        print(&inspection.to_string())?;
    }
    let is_complete = inspection.weights.as_ref().is_none_or(Coverage::is_complete);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

fn survey(dir: &Path, tunings: &BTreeMap<Part, Tuning>) -> anyhow::Result<Survey> {
    let device = Device::flex();
    let (model_type, kind) = read_kind(dir)?;
    let alone = |part, (infos, wanted): (Vec<ParamInfo>, u64)| {
        refuse_pickles(Some(part), dir)?;
        let held = vec![Holding { infos: infos.clone(), dir: Some(dir.to_owned()) }];
        anyhow::Ok((vec![PartHoldings { part, infos, wanted, held }], None))
    };
    let (parts, misfit) = match kind {
        ModelKind::Whole => {
            refuse_pickles(None, dir)?;
            let (config, misfit) = read_vlm_sizes(dir)?;
            let bare = Vlm::zeros(&config, &device);
            let model = adapters::attached(bare.clone(), &adapters::of_dir(dir)?)?;
            let of = |part| {
                let wanted = match part {
                    Part::Encoder => wanted(&bare.encoder, part, tunings)?,
                    Part::Connector => wanted(&bare.connector, part, tunings)?,
                    Part::Decoder => wanted(&bare.decoder, part, tunings)?,
                };
                Ok(PartHoldings { part, infos: model.infos(part), wanted, held: holdings(&model, part, dir)? })
            };
            (Part::ALL.into_iter().map(of).collect::<anyhow::Result<Vec<_>>>()?, misfit)
        }
        ModelKind::Decoder => {
            let (part, module) = (Part::Decoder, Decoder::new(&read_text(dir)?, &device));
            alone(part, (infos(&module, part), wanted(&module, part, tunings)?))?
        }
        ModelKind::Encoder => {
            let (part, module) = (Part::Encoder, Encoder::new(&read_encoder(dir, -1)?, &device));
            alone(part, (infos(&module, part), wanted(&module, part, tunings)?))?
        }
    };
    Ok(Survey { model_type, parts: parts.into_iter().filter(|part| !part.infos.is_empty()).collect(), misfit })
}

/// How each part would be trained; none without a configuration.
fn tunings(args: &InspectArgs) -> anyhow::Result<BTreeMap<Part, Tuning>> {
    let Some(config) = &args.config else { return Ok(BTreeMap::new()) };
    let dirs = config_dirs();
    let request = Request { config: Some(config), sets: &args.sets, search: &dirs, ..Request::default() };
    let config = load(&request)?.config;
    Ok(Part::ALL.iter().map(|&part| (part, part_config(&config, part).tuning.clone())).collect())
}

fn trained(parts: &[PartHoldings], tunings: &BTreeMap<Part, Tuning>) -> u64 {
    let of = |part: &PartHoldings| match tunings.get(&part.part) {
        Some(Tuning::Full(_)) => sum(&part.infos),
        Some(Tuning::Lora(_)) => part.wanted,
        Some(Tuning::Frozen) | None => 0,
    };
    parts.iter().map(of).sum()
}

/// Parameters of the adapters that a configuration asks for beside layers of a part.
fn wanted<M: Module>(module: &M, part: Part, tunings: &BTreeMap<Part, Tuning>) -> anyhow::Result<u64> {
    let Some(lora) = tunings.get(&part).and_then(Tuning::lora) else { return Ok(0) };
    let adapted = attach(module.clone(), part, &LoraConfig::from(lora))?;
    Ok(infos(&adapted, part).iter().filter(|info| info.is_adapter()).map(|info| info.elements() as u64).sum())
}

fn report(part: &PartHoldings, dir: &Path, tuning: Option<&Tuning>, depth: usize) -> anyhow::Result<PartReport> {
    Ok(PartReport {
        part: part.part.name(),
        parameters: sum(&part.infos),
        dtypes: dtypes(&part.held)?,
        tuning: tuning.map(|tuning| tuning_words(tuning, &part.wanted.to_string())),
        adapter: frozen_part(dir, part.part)?.and_then(|frozen| frozen.lora).map(|lora| lora.to_string()),
        reference: reference(part, dir)?,
        tree: tree(&part.infos, depth),
    })
}

fn reference(part: &PartHoldings, dir: &Path) -> anyhow::Result<Option<Reference>> {
    let frozen = frozen_part(dir, part.part)?;
    Ok(frozen.map(|frozen| Reference {
        weights: part.held.iter().filter_map(|holding| holding.dir.clone()).collect(),
        from_seed: part.held.iter().any(|holding| holding.dir.is_none()),
        hash: frozen.hash,
    }))
}

fn sum(infos: &[ParamInfo]) -> u64 {
    infos.iter().map(|info| info.elements() as u64).sum()
}

/// Of the files that are there; what is made from a seed is f32.
fn dtypes(held: &[Holding]) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for holding in held {
        let has_none = holding.dir.as_ref().is_some_and(|dir| !Checkpoint::is_in(dir));
        let checkpoint = if has_none { None } else { holding.open()? };
        for info in &holding.infos {
            let dtype = match &checkpoint {
                Some(checkpoint) => checkpoint.key_of(info).and_then(|key| checkpoint.dtype(&key)),
                None => holding.dir.is_none().then(|| "F32".to_owned()),
            };
            if let Some(dtype) = dtype {
                *found.entry(dtype).or_default() += info.elements() as u64;
            }
        }
    }
    Ok(found)
}

/// Of all parts, wherever they lie.
fn coverage(parts: &[PartHoldings], dir: &Path, with_values: bool) -> anyhow::Result<Coverage> {
    let own = Checkpoint::open(dir)?;
    let mut coverage = Coverage { tensors: own.names().count(), ..Coverage::default() };
    for holding in parts.iter().flat_map(|part| &part.held) {
        if let Some(checkpoint) = holding.open()? {
            let found = checkpoint.coverage(&holding.infos);
            coverage.missing.extend(found.missing);
            coverage.other_shape.extend(found.other_shape);
            coverage.not_float.extend(found.not_float);
            if with_values {
                coverage.not_finite.get_or_insert_default().extend(not_finite(&checkpoint, &holding.infos)?);
            }
        }
    }
    let here = parts.iter().flat_map(|part| &part.held).filter(|holding| holding.dir.as_deref() == Some(dir));
    let here = here.flat_map(|holding| holding.infos.clone()).collect::<Vec<_>>();
    coverage.unused = own.unused(&here);
    Ok(coverage)
}

/// Of those tensors that are there as the model has them.
fn not_finite(checkpoint: &Checkpoint, infos: &[ParamInfo]) -> anyhow::Result<Vec<String>> {
    let is_usable = |info: &&ParamInfo| checkpoint.check(std::slice::from_ref(*info)).is_ok();
    let usable = infos.iter().filter(is_usable).cloned().collect::<Vec<_>>();
    match checkpoint.check_values(&usable) {
        Ok(()) => Ok(Vec::new()),
        Err(ModelError::NotFinite { names, .. }) => Ok(names),
        Err(error) => Err(error.into()),
    }
}

impl Coverage {
    fn is_complete(&self) -> bool {
        let faults = [&self.missing, &self.other_shape, &self.not_float];
        faults.into_iter().chain(&self.not_finite).all(Vec::is_empty)
    }
}
