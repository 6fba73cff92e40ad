//! The next step, made whole by a thread while the one before is computed.

use std::thread::Builder;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{StepBatch, StepLoader};
use crate::DataError;
use crate::sample::Skip;

/// A step, or why there is none and what was left out until then.
type Made = Result<StepBatch, (DataError, Vec<Skip>)>;

/// The steps of a [`StepLoader`], of which one lies ready: its rows are put together while nobody waits for them.
///
/// Once it is dropped, the thread ends after the step that it has in hand, and its workers with it. Nobody waits for that: a run that is
/// told to stop has not the time in which a clip is decoded.
pub struct StepsAhead {
    steps: Receiver<Made>,
    left_out: Vec<Skip>,
}

impl StepsAhead {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`DataError::Spawn`] if there can be no thread more.
    pub fn of(loader: StepLoader) -> Result<Self, DataError> {
        // A step is made and then held until it is wanted: one is ahead and no more.
        let (ready, steps) = bounded(0);
        let thread = Builder::new().name("data-steps".to_owned());
        thread.spawn(move || make(loader, &ready)).map_err(DataError::Spawn)?;
        Ok(Self { steps, left_out: Vec::new() })
    }

    /// The next step; `wait_secs` is how long it had to be waited for here.
    ///
    /// # Errors
    ///
    /// As of [`StepLoader::next_step`], after which there are no more steps.
    pub fn next_step(&mut self) -> Result<StepBatch, DataError> {
        let started = Instant::now();
        match self.steps.recv().map_err(|_| DataError::WorkersGone)? {
            Ok(batch) => Ok(StepBatch { wait_secs: started.elapsed().as_secs_f64(), ..batch }),
            Err((error, left_out)) => {
                self.left_out = left_out;
                Err(error)
            }
        }
    }

    /// Samples left out of a step that ended in an error, the one that was too many among them.
    pub fn left_out(&self) -> &[Skip] {
        &self.left_out
    }
}

/// Until nobody wants any more, or there is an error.
fn make(mut loader: StepLoader, ready: &Sender<Made>) {
    loop {
        let made = loader.next_step().map_err(|error| (error, loader.left_out().to_vec()));
        let is_last = made.is_err();
        if ready.send(made).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;
    use crate::fixtures::{Counting, Shards, preparer};
    use crate::{Cursor, LoaderConfig, Mixture};

    fn config() -> LoaderConfig {
        LoaderConfig {
            seed: 5,
            global_batch_size: 4,
            micro_batch_size: 2,
            packing: None,
            bucketing: None,
            workers: 2,
            prefetch_steps: 1,
            max_skip_ratio: 0.1,
            shuffle: true,
        }
    }

    fn loader(shards: &Shards) -> StepLoader {
        StepLoader::new(shards.mixture(), Arc::new(preparer()), config(), Cursor::default()).expect("a loader")
    }

    #[test]
    fn steps_are_those_of_the_loader_in_their_order() {
        let shards = Shards::numbered(10, |i| i == 7);
        let (mut alone, mut ahead) = (loader(&shards), StepsAhead::of(loader(&shards)).expect("a thread"));
        for _ in 0..12 {
            let (expected, found) = (alone.next_step().expect("a step"), ahead.next_step().expect("a step"));
            assert_eq!(found.micro_batches, expected.micro_batches);
            assert_eq!(found.cursor_after, expected.cursor_after);
            assert_eq!(found.skipped.len(), expected.skipped.len());
        }
    }

    #[test]
    fn no_more_than_one_step_is_made_before_it_is_wanted() {
        let shards = Shards::numbered(10, |_| false);
        let source = Arc::new(Counting::new(shards.open(), 1_000_000));
        let mixture = Arc::new(Mixture::new(vec![(source.clone(), 1.0)]).expect("a mixture"));
        let loader = StepLoader::new(mixture, Arc::new(preparer()), config(), Cursor::default()).expect("a loader");
        let mut ahead = StepsAhead::of(loader).expect("a thread");
        ahead.next_step().expect("a step");
        sleep(Duration::from_millis(300));
        drop(ahead);
        let read = source.asked().values().sum::<usize>();
        // The one that was wanted, the one that lies ready, and what its workers are ahead of it.
        assert!((8..=8 + 4 + 2).contains(&read), "{read}");
    }

    #[test]
    fn an_error_comes_with_what_was_left_out_and_is_the_end() {
        let shards = Shards::numbered(10, |i| i % 2 == 0);
        let mut ahead = StepsAhead::of(loader(&shards)).expect("a thread");
        let error = loop {
            if let Err(error) = ahead.next_step() {
                break error.to_string();
            }
        };
        assert!(error.contains("had to be left out"), "{error}");
        assert_eq!(ahead.left_out().last().map(|skip| skip.reason.as_str()), Some("image_empty"));
        assert!(matches!(ahead.next_step(), Err(DataError::WorkersGone)));
    }
}
