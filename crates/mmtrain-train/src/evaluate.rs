//! Held-out data, in micro-batches, and their loss without any tape.

use std::collections::BTreeMap;
use std::sync::Arc;

use mmtrain_data::{HostBatch, Mixture, Pass, Prepared, Preparer, Skip, collate};
use mmtrain_model::Vlm;

use crate::driver::forward_sums;
use crate::error::TrainError;
use crate::trainer::Run;

/// Share of supervised tokens that are the likeliest one, as TRL calls it.
pub(crate) const TOKEN_ACCURACY: &str = "mean_token_accuracy";

/// What came of held-out data.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// Results by name.
    pub values: BTreeMap<String, f64>,
    /// Samples that could not be used.
    pub left_out: Vec<Skip>,
}

/// Mean negative log-likelihood per supervised token (`loss`), and how many of them are the likeliest
/// (`mean_token_accuracy`), over the first `eval.samples` samples (0 = all); neither where none of them can be used.
pub fn evaluate_tokens(run: &Run, model: &Vlm, held_out: &Arc<Mixture>) -> Result<Evaluated, TrainError> {
    let (mut loss, mut hits, mut tokens) = (0.0, 0.0, 0_u64);
    let left_out = each_held_out(run, held_out, |batch| {
        let (more, hit) = forward_sums(model, &batch, &run.plan)?.read();
        (loss, hits) = (loss + more, hits + hit);
        tokens += batch.supervised_tokens as u64;
        Ok(())
    })?;
    if tokens == 0 {
        return Ok(Evaluated { left_out, ..Evaluated::default() });
    }
    let mean = |sum: f64| sum / tokens as f64;
    let values = BTreeMap::from([("loss".to_owned(), mean(loss)), (TOKEN_ACCURACY.to_owned(), mean(hits))]);
    Ok(Evaluated { values, left_out })
}

/// The first `eval.samples` samples (0 = all), in micro-batches; returns those that cannot be used. A stop that is asked
/// for ends it with [`TrainError::Interrupted`], unless the best evaluation is looked for.
pub(crate) fn each_held_out(
    run: &Run,
    held_out: &Arc<Mixture>,
    work: impl FnMut(HostBatch) -> Result<(), TrainError>,
) -> Result<Vec<Skip>, TrainError> {
    each_prepared(run, &run.preparer, held_out, work)
}

/// The same, prepared in a way of its own.
pub(crate) fn each_prepared(
    run: &Run,
    preparer: &Arc<Preparer>,
    held_out: &Arc<Mixture>,
    mut work: impl FnMut(HostBatch) -> Result<(), TrainError>,
) -> Result<Vec<Skip>, TrainError> {
    let limit = (run.config.eval.samples > 0).then_some(run.config.eval.samples);
    let mut left_out = Vec::new();
    let mut pass = Pass::new(held_out.clone(), preparer.clone(), limit, run.workers)?;
    loop {
        if run.drops_evaluation() {
            return Err(TrainError::Interrupted);
        }
        let mut samples: Vec<Prepared> = Vec::new();
        while samples.len() < run.config.train.micro_batch_size.get() {
            let Some(sample) = pass.next() else { break };
            match sample? {
                Ok(sample) => samples.push(sample),
                Err(skip) => left_out.push(skip),
            }
        }
        if samples.is_empty() {
            return Ok(left_out);
        }
        work(collate(samples, preparer.tokenizer.fill_id()))?;
    }
}
