//! Steps of a small model, made for their time and thrown away: what single operations take by themselves is in no estimate.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use mmtrain_config::RunConfig;
use mmtrain_data::{Mixture, Preparer};
use mmtrain_text::TextTokenizer;
use mmtrain_train::Stop;
use mmtrain_train::trainer::{Objective, Rehearsal, Run, rehearse};

use crate::commands::train::{keep, plan, start};
use crate::origin::Origin;
use crate::setup;

/// Steps that are estimated to take longer are not made: they are products for the most part, and the estimate fits.
pub(super) const LONGEST_STEP: f64 = 1.0;
/// No step begins later.
const LIMIT: Duration = Duration::from_secs(2);

/// The data of a run, and what makes samples of them.
pub(super) struct Opened {
    pub(super) mixture: Arc<Mixture>,
    pub(super) tokenizer: Arc<TextTokenizer>,
    pub(super) preparer: Arc<Preparer>,
}

/// Whether steps of a run that are estimated to take so long are made. Of pairs the reference would have to be asked first, and a cache
/// of features be written.
pub(super) fn is_rehearsed(config: &RunConfig, seconds: f64) -> bool {
    seconds < LONGEST_STEP && !config.objective.is_preference() && config.train.feature_cache.is_none()
}

/// Makes a few of the first `steps` steps of a run.
pub(super) fn rehearsed(
    config: &RunConfig,
    origin: &Origin<'_>,
    opened: Opened,
    device: &Device,
    steps: usize,
) -> anyhow::Result<Rehearsal> {
    let Opened { mixture, tokenizer, preparer } = opened;
    let base = origin.model(config, &tokenizer, device)?;
    let keep = keep(config, &base.config, device);
    let mut progress = start(config, base, origin, &mixture, keep)?;
    let nowhere = tempfile::tempdir()?;
    let run = Run {
        total_steps: steps as u64,
        run_dir: nowhere.path().to_owned(),
        mixture,
        held_out: Vec::new(),
        preparer,
        plan: plan(config, keep, device),
        workers: setup::workers(config.data.workers),
        frozen: Vec::new(),
        texts: Vec::new(),
        adapter: None,
        stop: Stop::default(),
        config: config.clone(),
    };
    let objective = Objective::NextToken(config.objective.reduction());
    Ok(rehearse((&run, &objective), &mut progress, steps, LIMIT)?)
}
