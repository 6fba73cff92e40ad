//! The objective of a run, and the model that preferences are compared with.

use std::path::Path;

use burn::tensor::{DType, Device};
use mmtrain_config::{Quantization, RunConfig};
use mmtrain_model::Vlm;
use mmtrain_model::params::Part;
use mmtrain_preference::PreferenceError;
use mmtrain_train::TrainError;
use mmtrain_train::preference::{Comparison, ReferenceTable, objective_of};
use mmtrain_train::trainer::{Objective, Pairs, Progress, Run, complete_reference, part_config};

use super::{Context, note};
use crate::fail::Refusal;
use crate::origin::Origin;
use crate::run_dir::RunInfo;

/// How answers are compared, where they are; parameters that no loss can have are refused.
pub(crate) fn comparison(config: &RunConfig) -> anyhow::Result<Option<Comparison>> {
    let refused = |error: PreferenceError| {
        let hint = error.hint().unwrap_or("change `[objective]`");
        Refusal::usage(format!("`[objective]`: {error}"), hint)
    };
    Ok(objective_of(&config.objective).map_err(refused)?)
}

/// What is minimized; where answers are compared, with what is known of the reference model.
pub(crate) fn objective(config: &RunConfig, run_dir: &Path, info: &RunInfo, dtype: DType) -> anyhow::Result<Objective> {
    let Some(comparison) = comparison(config)? else {
        return Ok(Objective::NextToken(config.objective.reduction()));
    };
    let reference = ReferenceTable::open(run_dir, reference_identity(config, info, dtype))?;
    Ok(Objective::Pairs(Pairs { comparison, reference }))
}

/// Names the model that a run began with, and the numbers it computes in.
fn reference_identity(config: &RunConfig, info: &RunInfo, dtype: DType) -> [u8; 32] {
    let began = match info.lineage.last() {
        Some(ancestor) => ancestor.hash.clone(),
        None => format!("{:?} {}", config.model, config.train.seed),
    };
    let schemes = Part::ALL.map(|part| part_config(config, part).tuning.quantization().map_or("", Quantization::name));
    // A run without packed weights keeps the name that it had before there were some.
    let packed = if schemes == [""; 3] { String::new() } else { format!(" {}", schemes.join("/")) };
    *blake3::hash(format!("{began} {dtype:?}{packed}").as_bytes()).as_bytes()
}

/// Pairs between two lines that say how far the reference model is.
const REFERENCE_LINE: usize = 2000;

/// Where the model is that a run began with.
pub(crate) struct Beginning<'a> {
    pub(crate) init: Option<&'a Path>,
    pub(crate) info: &'a RunInfo,
    pub(crate) device: &'a Device,
}

impl Beginning<'_> {
    /// The model once more, after the run has changed it.
    fn model(&self, run: &Run) -> anyhow::Result<Vlm> {
        if let Some(ancestor) = self.info.lineage.last() {
            ancestor.check()?;
        }
        Origin::new(None, self.init)?.model(&run.config, &run.preparer.tokenizer, self.device)
    }
}

/// Asks the model that the run began with for all pairs that are compared with it. A stop leaves what is missing to the next
/// start.
pub(crate) fn ask(
    context: &Context,
    (run, objective, progress): (&Run, &mut Objective, &Progress),
    began: &Beginning<'_>,
) -> anyhow::Result<()> {
    let model = || if progress.state.step == 0 { Ok(progress.model.clone()) } else { began.model(run) };
    let what = if run.config.objective.is_unpaired() { "answers" } else { "pairs" };
    let mut told = 0;
    let tell = |_, asked: usize| {
        if !context.quiet && asked >= told + REFERENCE_LINE {
            told = asked;
            note(&format!("reference model: {asked} {what}"));
        }
    };
    let asked = complete_reference(run, objective, model, tell);
    if asked.as_ref().is_err_and(|error| matches!(error.downcast_ref(), Some(TrainError::Interrupted))) {
        return Ok(());
    }
    if let Some(asked) = asked?.filter(|_| !context.quiet) {
        note(&format!("reference model: {asked} {what} asked for"));
    }
    Ok(())
}
