//! Adapters as the PEFT library reads them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Layers are called as in the modules of `transformers` 5, each by its whole path: an end such as `q_proj` alone would also
//! match layers of other parts.

mod reading;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use serde_json::{Map, Value, json};

use super::LoraConfig;
use crate::Vlm;
use crate::error::ModelError;
use crate::params::{NamedParam, ParamInfo, Part};
use crate::weights::{Names, StoredType, file_layout, write_typed};

/// What PEFT calls its settings.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// What PEFT calls its tensors.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Stands before the names of the adapted model.
const PREFIX: &str = "base_model.model.";

/// Settings and names of the adapters of a model.
#[derive(Debug, Clone)]
pub struct PeftAdapter {
    config: Value,
    /// PEFT's names by ours.
    names: BTreeMap<String, String>,
}

impl PeftAdapter {
    /// The adapters that are attached to a model. `kinds`: those of each part that has some.
    ///
    /// # Errors
    ///
    /// Why PEFT cannot have them: no class of `transformers` has the model, or parts differ in what PEFT has once for all.
    pub fn of(model: &Vlm, kinds: &BTreeMap<Part, LoraConfig>) -> Result<Self, String> {
        let published = Names::of(&model.config)?;
        let infos = kinds.keys().flat_map(|&part| model.adapter_infos(part)).collect::<Vec<_>>();
        let name = |info: &ParamInfo| format!("{PREFIX}{}", published.in_modules(info));
        let names = infos.iter().map(|info| (info.name.clone(), name(info))).collect::<BTreeMap<_, _>>();
        Ok(Self { config: config(&infos, kinds, &names)?, names })
    }

    /// The model with the adapters of a directory that PEFT has written, and their names.
    ///
    /// # Errors
    ///
    /// [`ModelError`] where the files are not those of adapters of this model.
    pub fn read(model: Vlm, dir: &Path) -> Result<(Vlm, Self), ModelError> {
        reading::read(model, dir)
    }

    /// `adapter_config.json`
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The name of one parameter; none for what is of no adapter.
    pub fn name(&self, info: &ParamInfo) -> Option<&str> {
        self.names.get(&info.name).map(String::as_str)
    }

    /// Writes both files into a directory; says how many tensors there are.
    pub fn write(&self, model: &Vlm, dir: &Path) -> std::io::Result<usize> {
        fs::write(dir.join(CONFIG_FILE), format!("{:#}\n", self.config))?;
        let params = Part::ALL.into_iter().flat_map(|part| model.params_where(part, ParamInfo::is_adapter));
        let params = params.filter_map(|param| Some((self.name(&param.info)?.to_owned(), param))).collect::<Vec<_>>();
        let listed = params.iter().map(|(name, param)| (name.clone(), param.info.file_shape())).collect::<Vec<_>>();
        let mut out = std::io::BufWriter::new(fs::File::create(dir.join(WEIGHTS_FILE))?);
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let values = |index: usize| {
            let NamedParam { info, value } = params[index].1.clone();
            file_layout(&info, value)
        };
        write_typed(&mut out, &listed, StoredType::F32, Some(&metadata), values)?;
        out.flush()?;
        Ok(params.len())
    }
}

/// One rank and scale for all, and patterns for the layers of parts that have others.
fn config(
    infos: &[ParamInfo],
    kinds: &BTreeMap<Part, LoraConfig>,
    names: &BTreeMap<String, String>,
) -> Result<Value, String> {
    let first = kinds.values().next().ok_or("no part has adapters")?;
    if kinds.values().any(|kind| kind.use_dora != first.use_dora) {
        return Err("PEFT has DoRA for all adapters or for none".to_owned());
    }
    let (mut targets, mut ranks, mut alphas) = (Vec::new(), Map::new(), Map::new());
    for info in infos.iter().filter(|info| info.name.ends_with(".lora_A.weight")) {
        let layer = names[&info.name].trim_start_matches(PREFIX).trim_end_matches(".lora_A.weight").to_owned();
        let kind = &kinds[&info.part];
        if (kind.rank, kind.scale()) != (first.rank, first.scale()) {
            ranks.insert(layer.clone(), kind.rank.into());
            alphas.insert(layer.clone(), number(alpha_for(kind, first.use_rslora)));
        }
        targets.push(layer);
    }
    Ok(json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": first.rank,
        "lora_alpha": number(first.alpha),
        "lora_dropout": first.dropout,
        "use_rslora": first.use_rslora,
        "use_dora": first.use_dora,
        "target_modules": targets,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": null,
    }))
}

/// The alpha that gives the scale of `kind` with or without the root of rsLoRA.
fn alpha_for(kind: &LoraConfig, use_rslora: bool) -> f64 {
    let rank = kind.rank as f64;
    kind.scale() * if use_rslora { rank.sqrt() } else { rank }
}

/// Whole numbers without a point, as PEFT writes them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
