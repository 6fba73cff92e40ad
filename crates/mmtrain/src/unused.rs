//! Tensors of a checkpoint that no part of the model uses: they point to a model that is read wrongly, or to what it
//! leaves out.

use burn::tensor::Device;
use mmtrain_config::RunConfig;
use mmtrain_model::Vlm;
use mmtrain_model::config::{ModelKind, read_kind, read_vlm};
use mmtrain_model::params::{ParamInfo, Part};
use mmtrain_model::weights::Checkpoint;

use crate::commands::note;
use crate::holdings::{by_dir, configured, open};

/// Names that are shown of tensors that nobody needs.
const UNUSED_SHOWN: usize = 3;

/// Names what the directories that a configuration draws its parts from hold of these parts and the run leaves out. What
/// belongs to another part there is no loss: it was not asked for.
pub(crate) fn warn_unused_of_parts(config: &RunConfig, model: &Vlm) -> anyhow::Result<()> {
    let held = configured(config, model);
    for (dir, mut infos) in by_dir(&held) {
        let checkpoint = open(dir)?;
        let asked = infos.iter().map(|info| info.part).collect::<Vec<_>>();
        match read_kind(dir) {
            Ok((_, ModelKind::Whole)) => {
                let Ok(sizes) = read_vlm(dir) else { continue };
                let whole = Vlm::zeros(&sizes, &Device::flex());
                infos.extend(Part::ALL.iter().filter(|part| !asked.contains(part)).flat_map(|&part| whole.infos(part)));
                warn(&checkpoint, &infos, |_| false);
            }
            Ok((_, ModelKind::Encoder)) => warn(&checkpoint, &infos, is_of_other_half),
            _ => warn(&checkpoint, &infos, |_| false),
        }
    }
    Ok(())
}

/// Names what a whole model's directory holds that no part of it uses.
pub(crate) fn warn_unused(checkpoint: &Checkpoint, infos: &[ParamInfo]) {
    warn(checkpoint, infos, |_| false);
}

fn warn(checkpoint: &Checkpoint, infos: &[ParamInfo], is_expected: impl Fn(&str) -> bool) {
    let mut unused = checkpoint.unused(infos);
    unused.retain(|name| !is_derived(name) && !is_expected(name));
    if unused.is_empty() {
        return;
    }
    let shown = unused.iter().take(UNUSED_SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if unused.len() > UNUSED_SHOWN { ", …" } else { "" };
    note(&format!(
        "warning: {} tensors of `{}` are used by no part of the model: {shown}{more} (`mmtrain inspect` lists all)",
        unused.len(),
        checkpoint.dir().display()
    ));
}

/// Tables that follow from the configuration, which older versions of `transformers` wrote.
fn is_derived(name: &str) -> bool {
    [".inv_freq", ".position_ids", ".masked_bias"].iter().any(|end| name.ends_with(end))
}

/// What stands beside an encoder in its own checkpoints: CLIP's and SigLIP's text tower with the heads of both, Whisper's
/// decoder.
fn is_of_other_half(name: &str) -> bool {
    const OTHER: [&str; 7] = [
        "text_model.",
        "text_projection.",
        "visual_projection.",
        "vision_model.head.",
        "logit_",
        "model.decoder.",
        "proj_out.",
    ];
    OTHER.iter().any(|start| name.starts_with(start))
}
