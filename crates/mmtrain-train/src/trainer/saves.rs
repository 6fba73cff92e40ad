//! Saving in the loop: one that fails is tried again with the next, and the last one has to succeed.

use std::collections::BTreeMap;

use mmtrain_model::params::Part;

use super::{Logs, Progress, Run};
use crate::checkpoint::{Snapshot, Writer};
use crate::error::TrainError;

/// So many saves may fail one after another before the run stops: a full disk is often made room on.
const FAILURES_IN_A_ROW: u64 = 3;

/// The saves of a run.
pub(super) struct Saves {
    writer: Writer,
    /// The step that was saved last, or is being saved.
    pub(super) saved: Option<u64>,
    failed: u64,
    failed_in_a_row: u64,
}

impl Saves {
    /// None yet but for the checkpoint that `progress` is from.
    pub(super) fn new(run: &Run, progress: &Progress) -> Result<Self, TrainError> {
        let checkpoint = &run.config.checkpoint;
        let writer = Writer::new(&run.run_dir, checkpoint.keep, checkpoint.async_save)?;
        let step = progress.state.step;
        Ok(Self { writer, saved: (step > 0).then_some(step), failed: 0, failed_in_a_row: 0 })
    }

    /// Saves where the run stands, behind what is written down of the way there. A failure is warned of, unless it is one too many.
    pub(super) fn save(&mut self, run: &Run, progress: &mut Progress, logs: &mut Logs) -> Result<(), TrainError> {
        self.wait()?;
        if let Err(error) = logs.sync(progress.state.step) {
            return self.note(Err(error));
        }
        self.saved = Some(progress.state.step);
        progress.state.guard.saved();
        let outcome = self.writer.save(snapshot(run, progress));
        self.note(outcome)
    }

    /// Waits for what is being saved.
    pub(super) fn wait(&mut self) -> Result<(), TrainError> {
        let is_saving = self.writer.is_saving();
        let outcome = self.writer.finish();
        if outcome.is_ok() && is_saving {
            self.failed_in_a_row = 0;
        }
        self.note(outcome)
    }

    /// Saves where the run ends, unless that was done. Here a failure is the end.
    pub(super) fn finish(&mut self, run: &Run, progress: &Progress, logs: &mut Logs) -> Result<(), TrainError> {
        self.wait()?;
        logs.sync(progress.state.step)?;
        if self.saved != Some(progress.state.step) {
            self.writer.save(snapshot(run, progress))?;
            self.writer.finish()?;
        }
        Ok(())
    }

    /// How many have failed, for the metrics; nothing where none has.
    pub(super) fn failures(&self) -> BTreeMap<String, f64> {
        let failed = (self.failed > 0).then(|| ("checkpoint_failures".to_owned(), self.failed as f64));
        failed.into_iter().collect()
    }

    fn note(&mut self, outcome: Result<(), TrainError>) -> Result<(), TrainError> {
        let Err(error @ TrainError::Save { .. }) = outcome else { return outcome };
        self.saved = None;
        self.failed += 1;
        self.failed_in_a_row += 1;
        if self.failed_in_a_row >= FAILURES_IN_A_ROW {
            return Err(error);
        }
        // Not a warning: whoever asked for quiet has to hear of it as well.
        tracing::error!("{error}; the run goes on, and the next checkpoint tries again");
        Ok(())
    }
}

fn snapshot(run: &Run, progress: &Progress) -> Snapshot {
    let saved = |part| progress.model.params_where(part, |info| run.plan.trained.part(part).saves(info));
    let params = Part::ALL.into_iter().flat_map(saved).collect();
    let mut state = progress.state.clone();
    state.frozen.clone_from(&run.frozen);
    Snapshot::take(state, params, &progress.optimizer, run.texts.clone(), run.adapter.as_ref())
}
