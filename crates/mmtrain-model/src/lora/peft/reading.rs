//! The way in: what PEFT has written, back beside the layers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;
use serde::Deserialize;

use super::{CONFIG_FILE, PREFIX, PeftAdapter, WEIGHTS_FILE};
use crate::Vlm;
use crate::error::ModelError;
use crate::lora::LoraConfig;
use crate::params::{ParamInfo, Part};
use crate::weights::{Names, TensorFile, memory_layout};

/// What is used of `adapter_config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

/// A layer of the model with an adapter in the file.
struct Found {
    /// Path from the part.
    path: String,
    rank: usize,
    alpha: f64,
}

pub(super) fn read(model: Vlm, dir: &Path) -> Result<(Vlm, PeftAdapter), ModelError> {
    let bad = |message: String| ModelError::Config {
        path: dir.join(CONFIG_FILE),
        message,
        hint: "expected what PEFT's `save_pretrained` writes, of LoRA on linear layers".to_owned(),
    };
    let config = serde_json::from_str::<Config>(&fs::read_to_string(dir.join(CONFIG_FILE))?);
    let config = config.map_err(|error| bad(error.to_string()))?;
    let names = Names::of(&model.config).map_err(&bad)?;
    let file = TensorFile::open(&dir.join(WEIGHTS_FILE))?;
    let mut kinds = BTreeMap::new();
    for part in Part::ALL {
        let found = found(&model, part, &names, &file, &config)?;
        kinds.extend(kind(&found, &config).map_err(&bad)?.map(|kind| (part, kind)));
    }
    let model = kinds.iter().try_fold(model, |model, (&part, kind)| model.with_adapters(part, kind))?;
    let adapter = PeftAdapter::of(&model, &kinds).map_err(&bad)?;
    refuse_unknown(&adapter, &file).map_err(&bad)?;
    let filled = kinds.keys().try_fold(model, |model, &part| filled(model, part, &adapter, &file))?;
    Ok((filled, adapter))
}

/// The layers of one part that have an adapter in the file.
fn found(model: &Vlm, part: Part, names: &Names, file: &TensorFile, config: &Config) -> Result<Vec<Found>, ModelError> {
    let any = LoraConfig { rank: 1, alpha: 1.0, dropout: 0.0, targets: None, use_rslora: false, use_dora: false };
    let all = Vlm::zeros(&model.config, &model.device()).with_adapters(part, &any)?;
    let first = |info: &ParamInfo| info.name.ends_with(".lora_A.weight");
    let found = all.adapter_infos(part).into_iter().filter(first).filter_map(|info| {
        let name = names.in_modules(&info);
        let rank = *file.shape(&format!("{PREFIX}{name}"))?.first()?;
        let layer = name.trim_end_matches(".lora_A.weight");
        let alpha = config.alpha_pattern.get(layer).copied().unwrap_or(config.lora_alpha);
        let path = info.adapted_layer()?.strip_prefix(part.prefix())?.to_owned();
        Some(Found { path, rank, alpha })
    });
    Ok(found.collect())
}

/// What the adapters of one part have in common; none where there are none.
fn kind(found: &[Found], config: &Config) -> Result<Option<LoraConfig>, String> {
    let Some(first) = found.first() else { return Ok(None) };
    if let Some(other) = found.iter().find(|other| (other.rank, other.alpha) != (first.rank, first.alpha)) {
        return Err(format!(
            "`{}` has rank {} and alpha {}, `{}` {} and {}: one part has one kind of adapters",
            first.path, first.rank, first.alpha, other.path, other.rank, other.alpha
        ));
    }
    Ok(Some(LoraConfig {
        rank: first.rank,
        alpha: first.alpha,
        dropout: config.lora_dropout,
        targets: Some(found.iter().map(|found| found.path.clone()).collect()),
        use_rslora: config.use_rslora,
        use_dora: config.use_dora,
    }))
}

/// Tensors of no layer point to another model, or to another version of it.
fn refuse_unknown(adapter: &PeftAdapter, file: &TensorFile) -> Result<(), String> {
    let known = adapter.names.values().map(String::as_str).collect::<BTreeSet<_>>();
    match file.names().find(|name| !known.contains(name)) {
        Some(name) => Err(format!("`{name}` is the adapter of no layer of this model")),
        None => Ok(()),
    }
}

fn filled(model: Vlm, part: Part, adapter: &PeftAdapter, file: &TensorFile) -> Result<Vlm, ModelError> {
    let mut values = BTreeMap::new();
    for info in model.adapter_infos(part) {
        let stored = file.read(&adapter.names[&info.name])?;
        if stored.shape != info.file_shape() {
            let mismatch = format!("{}: file {:?}, model {:?}", info.name, stored.shape, info.file_shape());
            return Err(ModelError::Shape { path: WEIGHTS_FILE.into(), mismatches: vec![mismatch] });
        }
        values.insert(info.name.clone(), memory_layout(&info, stored.values));
    }
    Ok(model.assign(part, &mut |info| values.remove(&info.name)))
}
