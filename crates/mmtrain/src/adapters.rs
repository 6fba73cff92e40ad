//! Adapters of a run: which parts have some, and what they begin from.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use mmtrain_config::RunConfig;
use mmtrain_model::Vlm;
use mmtrain_model::config::read_vlm;
use mmtrain_model::lora::LoraConfig;
use mmtrain_model::lora::peft::PeftAdapter;
use mmtrain_model::params::{ParamInfo, Part};
use mmtrain_train::trainer::part_config;

use crate::commands::note;
use crate::fail::Refusal;
use crate::holdings::{frozen_part, frozen_parts, open};
use crate::model_dir;

/// Kinds of adapters by part.
pub(crate) type Kinds = BTreeMap<Part, LoraConfig>;

/// Those that a configuration asks for.
pub(crate) fn of_config(config: &RunConfig) -> Kinds {
    let kind = |part| Some((part, LoraConfig::from(part_config(config, part).tuning.lora()?)));
    Part::ALL.into_iter().filter_map(kind).collect()
}

/// Those of a checkpoint.
pub(crate) fn of_dir(dir: &Path) -> anyhow::Result<Kinds> {
    Ok(frozen_parts(dir)?.into_iter().filter_map(|frozen| Some((frozen.part, frozen.lora?))).collect())
}

/// With adapters of zeros; the error names the layers that there are.
pub(crate) fn attached(model: Vlm, kinds: &Kinds) -> anyhow::Result<Vlm> {
    Ok(kinds.iter().try_fold(model, |model, (&part, kind)| model.with_adapters(part, kind))?)
}

/// The model that a directory describes with the adapters that it has; allocates nothing.
pub(crate) fn zeros_of(dir: &Path) -> anyhow::Result<Vlm> {
    attached(Vlm::zeros(&read_vlm(dir)?, &Device::flex()), &of_dir(dir)?)
}

/// The tensors of one part's adapters.
pub(crate) fn infos(model: &Vlm, part: Part, kind: &LoraConfig) -> anyhow::Result<Vec<ParamInfo>> {
    Ok(Vlm::zeros(&model.config, &Device::flex()).with_adapters(part, kind)?.adapter_infos(part))
}

/// The adapters with which a run begins: those of `init` that it goes on with, and new ones.
pub(crate) fn begun(model: Vlm, config: &RunConfig, init: Option<&Path>) -> anyhow::Result<Vlm> {
    of_config(config).into_keys().try_fold(model, |model, part| match continued(config, part, init)? {
        Some(dir) => Ok(model.with_adapters_of(part, &open(dir)?)?),
        None => Ok(model.with_fresh_adapters(part, config.train.seed)),
    })
}

/// The checkpoint whose adapters of a part are trained on, if they are.
pub(crate) fn continued<'a>(
    config: &RunConfig,
    part: Part,
    init: Option<&'a Path>,
) -> anyhow::Result<Option<&'a Path>> {
    let Some(lora) = part_config(config, part).tuning.lora().filter(|lora| lora.continued) else { return Ok(None) };
    let key = format!("train.{}.tuning.lora.continued", part.name());
    let Some(dir) = init else {
        let message = format!("`{key}`: there is nothing to go on with");
        return Err(Refusal::usage(message, "name the run with the adapters: `--init RUN`").into());
    };
    let theirs = frozen_part(dir, part)?.and_then(|frozen| frozen.lora);
    let ours = LoraConfig::from(lora);
    match theirs {
        Some(theirs) if ours.is_kind_of(&theirs) => Ok(Some(dir)),
        theirs => {
            let theirs = theirs.map_or_else(|| "has none".to_owned(), |theirs| format!("has {theirs}"));
            let message = format!(
                "`{key}`: the {} of `{}` {theirs}, the configuration asks for {ours}",
                part.name(),
                dir.display()
            );
            Err(Refusal::usage(message, "rank, alpha, targets, use_rslora and use_dora have to be the same").into())
        }
    }
}

/// The adapters of a run as PEFT reads them; said where that cannot be.
pub(crate) fn as_peft(model: &Vlm, kinds: &Kinds) -> Option<PeftAdapter> {
    if kinds.is_empty() {
        return None;
    }
    let adapter = PeftAdapter::of(model, kinds);
    adapter.inspect_err(|reason| note(&format!("note: checkpoints will have no adapter for PEFT: {reason}"))).ok()
}

/// A checkpoint with its adapters beside the weights.
pub(crate) fn load(dir: &Path) -> anyhow::Result<(Vlm, Kinds)> {
    let kinds = of_dir(dir)?;
    let model = attached(model_dir::load_base(dir, &Device::flex())?, &kinds)?;
    let checkpoint = open(dir)?;
    let model = kinds.keys().try_fold(model, |model, &part| model.with_adapters_of(part, &checkpoint))?;
    Ok((model, kinds))
}
