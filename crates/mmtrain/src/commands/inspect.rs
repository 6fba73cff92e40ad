//! `mmtrain inspect`: what a checkpoint holds, without loading it.
//!
//! Sizes come from `config.json`, number types and coverage from the headers of the weights. No tensor is
//! allocated, so a model of any size can be looked at.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use burn::prelude::Device;
use mmtrain_config::{Request, Tuning, load};
use mmtrain_model::Vlm;
use mmtrain_model::config::{MODEL_TYPES, TextFamily, read_encoder, read_text, read_vlm};
use mmtrain_model::decoder::Decoder;
use mmtrain_model::encoder::Encoder;
use mmtrain_model::params::{ParamInfo, Part, infos};
use mmtrain_model::weights::Checkpoint;
use mmtrain_train::trainer::part_config;
use serde::Serialize;

use super::{config_dirs, print, print_json};
use crate::cli::InspectArgs;
use crate::model_dir::locate;

/// What the command says.
#[derive(Debug, Serialize)]
struct Inspection {
    model_type: String,
    parameters: u64,
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
    tree: Vec<Branch>,
}

/// A module, or a run of equal ones.
#[derive(Debug, Serialize)]
struct Branch {
    path: String,
    /// How many equal siblings it stands for.
    count: usize,
    parameters: u64,
}

/// The weights beside the configuration.
#[derive(Debug, Serialize)]
struct Coverage {
    tensors: usize,
    missing: Vec<String>,
    other_shape: Vec<String>,
    not_float: Vec<String>,
    unused: Vec<String>,
}

/// Runs the command; exit code 1 when the weights do not cover the model.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let dir = locate(&args.dir)?;
    let (model_type, infos) = survey(&dir)?;
    let checkpoint = if Checkpoint::is_in(&dir) { Some(Checkpoint::open(&dir)?) } else { None };
    let tunings = tunings(args)?;
    let parts = Part::ALL.iter().filter_map(|&part| {
        let infos = infos.iter().filter(|info| info.part == part).collect::<Vec<_>>();
        (!infos.is_empty()).then(|| PartReport {
            part: part.name(),
            parameters: sum(&infos),
            dtypes: dtypes(&infos, checkpoint.as_ref()),
            tuning: tunings.get(&part).cloned(),
            tree: tree(&infos, args.depth),
        })
    });
    let inspection = Inspection {
        model_type,
        parameters: infos.iter().map(|info| info.elements() as u64).sum(),
        parts: parts.collect(),
        weights: checkpoint.as_ref().map(|checkpoint| coverage(checkpoint, &infos)),
    };
    if args.json {
        print_json(&inspection)?;
    } else {
        print(&text(&inspection))?;
    }
    Ok(if inspection.weights.as_ref().is_none_or(Coverage::is_complete) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// `model_type` and every parameter: of a whole model, a language model or a tower.
fn survey(dir: &Path) -> anyhow::Result<(String, Vec<ParamInfo>)> {
    let device = Device::flex();
    let text = fs_err::read_to_string(dir.join("config.json"))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let kind = json["model_type"].as_str().unwrap_or("none").to_owned();
    if MODEL_TYPES.contains(&kind.as_str()) || json.get("text_config").is_some() {
        let model = Vlm::zeros(&read_vlm(dir)?, &device);
        return Ok((kind, Part::ALL.iter().flat_map(|&part| model.infos(part)).collect()));
    }
    if TextFamily::from_model_type(&kind).is_some() {
        return Ok((kind, infos(&Decoder::new(&read_text(dir)?, &device), Part::Decoder)));
    }
    Ok((kind, infos(&Encoder::new(&read_encoder(dir, -1)?, &device), Part::Encoder)))
}

/// How each part would be trained.
fn tunings(args: &InspectArgs) -> anyhow::Result<BTreeMap<Part, String>> {
    let Some(config) = &args.config else { return Ok(BTreeMap::new()) };
    let dirs = config_dirs();
    let request = Request { config: Some(config), sets: &args.sets, search: &dirs, ..Request::default() };
    let config = load(&request)?.config;
    let tuning = |part| match &part_config(&config, part).tuning {
        Tuning::Full(full) => format!("full, lr {:e}", full.lr),
        Tuning::Frozen => "frozen".to_owned(),
    };
    Ok(Part::ALL.iter().map(|&part| (part, tuning(part))).collect())
}

fn sum(infos: &[&ParamInfo]) -> u64 {
    infos.iter().map(|info| info.elements() as u64).sum()
}

fn dtypes(infos: &[&ParamInfo], checkpoint: Option<&Checkpoint>) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for info in infos {
        let dtype = checkpoint.and_then(|checkpoint| checkpoint.dtype(&checkpoint.key_of(info)?));
        if let Some(dtype) = dtype {
            *found.entry(dtype).or_default() += info.elements() as u64;
        }
    }
    found
}

fn coverage(checkpoint: &Checkpoint, infos: &[ParamInfo]) -> Coverage {
    let found = checkpoint.coverage(infos);
    Coverage {
        tensors: checkpoint.names().count(),
        missing: found.missing,
        other_shape: found.other_shape,
        not_float: found.not_float,
        unused: checkpoint.unused(infos),
    }
}

impl Coverage {
    fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.other_shape.is_empty() && self.not_float.is_empty()
    }
}

/// Modules down to `depth` levels below the part; equal numbered siblings become one branch.
fn tree(infos: &[&ParamInfo], depth: usize) -> Vec<Branch> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for info in infos {
        let path = info.name.strip_prefix(info.part.prefix()).unwrap_or(&info.name);
        let words = path.split('.').collect::<Vec<_>>();
        let shown = words[..depth.clamp(1, words.len())].join(".");
        match sums.last_mut().filter(|(last, _)| *last == shown) {
            Some((_, sum)) => *sum += info.elements() as u64,
            None => sums.push((shown, info.elements() as u64)),
        }
    }
    let mut branches: Vec<Branch> = Vec::new();
    for (path, parameters) in sums {
        let path = starred(&path);
        match branches.last_mut().filter(|last| last.path == path && last.parameters == parameters) {
            Some(last) => last.count += 1,
            None => branches.push(Branch { path, count: 1, parameters }),
        }
    }
    branches
}

/// `layers.7` as `layers.*`.
fn starred(path: &str) -> String {
    let word =
        |word: &str| if word.bytes().all(|byte| byte.is_ascii_digit()) { "*".to_owned() } else { word.to_owned() };
    path.split('.').map(word).collect::<Vec<_>>().join(".")
}

fn text(inspection: &Inspection) -> String {
    let mut lines = vec![format!("{}: {} parameters", inspection.model_type, inspection.parameters)];
    for part in &inspection.parts {
        let dtypes = part.dtypes.iter().map(|(dtype, count)| format!("{dtype} {count}")).collect::<Vec<_>>().join(", ");
        let tuning = part.tuning.as_deref().unwrap_or_default();
        let notes =
            [dtypes.as_str(), tuning].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join("; ");
        lines.push(format!("{:<44} {:>14}  {notes}", part.part, part.parameters).trim_end().to_owned());
        lines.extend(part.tree.iter().map(|branch| {
            let path =
                if branch.count > 1 { format!("{} ({} x)", branch.path, branch.count) } else { branch.path.clone() };
            format!("  {path:<42} {:>14}", branch.parameters)
        }));
    }
    match &inspection.weights {
        None => lines.push("no weights here, sizes are those of config.json".to_owned()),
        Some(coverage) => {
            lines.push(format!("weights: {} tensors", coverage.tensors));
            for (what, names) in [
                ("missing", &coverage.missing),
                ("of another shape", &coverage.other_shape),
                ("of a number type that is not supported", &coverage.not_float),
                ("unused", &coverage.unused),
            ] {
                lines.extend(names.iter().map(|name| format!("  {what}: {name}")));
            }
        }
    }
    lines.join("\n")
}
