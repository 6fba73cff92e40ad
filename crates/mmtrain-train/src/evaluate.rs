//! Loss on held-out data, without any tape.

use std::sync::Arc;

use mmtrain_data::{Mixture, Pass, Prepared, collate};
use mmtrain_model::Vlm;

use crate::driver::forward_loss;
use crate::error::TrainError;
use crate::trainer::Run;

/// Mean negative log-likelihood per supervised token over the first `eval.samples` samples (0 = all).
pub fn evaluate_loss(run: &Run, model: &Vlm, held_out: &Arc<Mixture>) -> Result<f64, TrainError> {
    let limit = (run.config.eval.samples > 0).then_some(run.config.eval.samples);
    let pass = Pass::new(held_out.clone(), run.preparer.clone(), limit, run.workers)?;
    let (mut loss, mut tokens) = (0.0, 0_u64);
    let mut pending = Vec::new();
    let mut run_batch = |samples: &mut Vec<Prepared>| {
        if !samples.is_empty() {
            let batch = collate(std::mem::take(samples), run.preparer.tokenizer.fill_id());
            loss += f64::from(forward_loss(model, &batch, &run.plan)?.into_scalar::<f32>());
            tokens += batch.supervised_tokens as u64;
        }
        Ok::<(), TrainError>(())
    };
    for sample in pass {
        pending.extend(sample?.ok());
        if pending.len() == run.config.train.micro_batch_size.get() {
            run_batch(&mut pending)?;
        }
    }
    run_batch(&mut pending)?;
    Ok(loss / tokens.max(1) as f64)
}
