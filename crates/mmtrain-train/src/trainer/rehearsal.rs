//! Steps that are made for their time, and thrown away.

use std::time::{Duration, Instant};

use mmtrain_data::{Cursor, StepLoader};

use super::{Objective, Progress, Run, loader_config, train_step};
use crate::error::TrainError;
use crate::forecast::Outlook;
use crate::ranks::Ranks;
use crate::verify::Verification;

/// Steps whose time was taken.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    /// What they were made of.
    pub outlook: Outlook,
    /// What they took together, without waiting for their data.
    pub seconds: f64,
}

/// Makes the first steps of a run and times them: `most` of them at most, and none that begins after `limit`. The first one does not
/// count, since memory is had for the first time there. Changes `progress`, and writes nothing unless a number goes wrong.
///
/// # Errors
///
/// [`TrainError`] as the run itself would have it.
pub fn rehearse(
    (run, objective): (&Run, &Objective),
    progress: &mut Progress,
    most: usize,
    limit: Duration,
) -> Result<Rehearsal, TrainError> {
    let ranks = Ranks::new(run.config.train.ranks)?.until(&run.stop);
    let mut verification = Verification::new(&progress.model, run.plan.trained);
    let config = loader_config(&run.config, run.workers);
    let mut loader = StepLoader::new(run.mixture.clone(), run.preparer.clone(), config, Cursor::default())?;
    let (mut found, begin) = (Rehearsal::default(), Instant::now());
    for number in 0..most {
        let batch = loader.next_step()?;
        let start = Instant::now();
        train_step((run, objective), progress, &batch, &ranks, &mut verification)?;
        if number > 0 {
            found.seconds += start.elapsed().as_secs_f64();
            found.outlook.see(&batch, &progress.model.config.encoder);
        }
        if begin.elapsed() > limit {
            break;
        }
    }
    Ok(found)
}
