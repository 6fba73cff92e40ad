//! Held-out data, in micro-batches, and their loss without any tape.

use std::collections::BTreeMap;
use std::sync::Arc;

use mmtrain_data::{HostBatch, Mixture, Pass, Prepared, Preparer, collate};
use mmtrain_model::Vlm;

use crate::driver::forward_sums;
use crate::error::TrainError;
use crate::trainer::Run;

/// Share of supervised tokens that are the likeliest one, as TRL calls it.
pub(crate) const TOKEN_ACCURACY: &str = "mean_token_accuracy";

/// Mean negative log-likelihood per supervised token (`loss`), and how many of them are the likeliest
/// (`mean_token_accuracy`), over the first `eval.samples` samples (0 = all); neither where none of them can be used.
pub fn evaluate_tokens(run: &Run, model: &Vlm, held_out: &Arc<Mixture>) -> Result<BTreeMap<String, f64>, TrainError> {
    let (mut loss, mut hits, mut tokens) = (0.0, 0.0, 0_u64);
    each_held_out(run, held_out, |batch| {
        let (more, hit) = forward_sums(model, &batch, &run.plan)?.read();
        (loss, hits) = (loss + more, hits + hit);
        tokens += batch.supervised_tokens as u64;
        Ok(())
    })?;
    if tokens == 0 {
        return Ok(BTreeMap::new());
    }
    let mean = |sum: f64| sum / tokens as f64;
    Ok(BTreeMap::from([("loss".to_owned(), mean(loss)), (TOKEN_ACCURACY.to_owned(), mean(hits))]))
}

/// The first `eval.samples` samples (0 = all), in micro-batches; those that cannot be used are passed over. A stop that is asked
/// for ends it with [`TrainError::Interrupted`], unless the best evaluation is looked for.
pub(crate) fn each_held_out(
    run: &Run,
    held_out: &Arc<Mixture>,
    work: impl FnMut(HostBatch) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    each_prepared(run, &run.preparer, held_out, work)
}

/// The same, prepared in a way of its own.
pub(crate) fn each_prepared(
    run: &Run,
    preparer: &Arc<Preparer>,
    held_out: &Arc<Mixture>,
    mut work: impl FnMut(HostBatch) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let limit = (run.config.eval.samples > 0).then_some(run.config.eval.samples);
    let mut pass = Pass::new(held_out.clone(), preparer.clone(), limit, run.workers)?;
    loop {
        if run.drops_evaluation() {
            return Err(TrainError::Interrupted);
        }
        let mut samples: Vec<Prepared> = Vec::new();
        while samples.len() < run.config.train.micro_batch_size.get() {
            let Some(sample) = pass.next() else { break };
            samples.extend(sample?.ok());
        }
        if samples.is_empty() {
            return Ok(());
        }
        work(collate(samples, preparer.tokenizer.fill_id()))?;
    }
}
