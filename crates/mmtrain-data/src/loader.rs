//! Optimizer steps of host batches, endless and resumable.
//!
//! Positions are taken in order. A bad sample is left out and the next position takes its place in the
//! step; at the end of an epoch the step goes on in the next one. So the rows of a step follow from
//! (data, configuration, cursor) alone, also where several samples share a row or rows are sorted by length. A bad
//! sample comes again in each epoch, to be counted and left out, but is read only the first time.
//!
//! Too many bad samples are an error: distinct ones are counted from the start of the loader, and
//! `max_skip_ratio` of all samples may be left out (at least one, unless the ratio is 0).

mod ahead;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::collate::{HostBatch, collate_rows};
use crate::order::Cursor;
use crate::pack::{Bucketing, Packing};
use crate::sample::Skip;
use crate::windows::{Row, Windows};
use crate::{DataError, Mixture, Preparer};

pub use ahead::StepsAhead;

/// What a loader does with a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoaderConfig {
    /// Chooses the order of every epoch.
    pub seed: u64,
    /// Rows per optimizer step.
    pub global_batch_size: usize,
    /// Rows per forward pass; divides `global_batch_size`.
    pub micro_batch_size: usize,
    /// Several samples in a row; without it each has a row of its own.
    pub packing: Option<Packing>,
    /// Rows of about the same length in a micro-batch; without it rows come in the order of their samples.
    pub bucketing: Option<Bucketing>,
    /// Threads that read and decode.
    pub workers: usize,
    /// How many steps they run ahead.
    pub prefetch_steps: usize,
    /// Share of all samples that may be left out, 0 to 1.
    pub max_skip_ratio: f64,
    /// Whether epochs are permuted.
    pub shuffle: bool,
}

impl LoaderConfig {
    /// Usable samples that are arranged into rows at a time.
    pub fn window(&self) -> usize {
        match (self.packing, self.bucketing) {
            (Some(packing), _) => packing.window.max(1),
            (None, Some(bucketing)) => bucketing.steps.max(1) * self.global_batch_size,
            (None, None) => 1,
        }
    }
}

/// The data of one optimizer step.
#[derive(Debug, Clone)]
pub struct StepBatch {
    /// The step's rows, cut in order.
    pub micro_batches: Vec<HostBatch>,
    /// Where the next step begins.
    pub cursor_after: Cursor,
    /// Samples left out on the way, in order; the same one comes again each epoch.
    pub skipped: Vec<Skip>,
    /// Samples of the step that were made to fit, by what was done to them.
    pub fitted: BTreeMap<&'static str, usize>,
    /// How long the step had to be waited for, collation included.
    pub wait_secs: f64,
    /// How many samples the step holds.
    pub samples: usize,
    /// How many tokens the step teaches.
    pub supervised_tokens: usize,
}

/// Steps from a cursor on.
pub struct StepLoader {
    config: LoaderConfig,
    fill_id: u32,
    windows: Windows,
}

impl StepLoader {
    /// Starts the workers at `cursor`.
    pub fn new(
        mixture: Arc<Mixture>,
        preparer: Arc<Preparer>,
        config: LoaderConfig,
        cursor: Cursor,
    ) -> Result<Self, DataError> {
        let LoaderConfig { global_batch_size: global, micro_batch_size: micro, .. } = config;
        if global == 0 || micro == 0 || global % micro != 0 {
            return Err(DataError::BatchSizes { global, micro });
        }
        let fill_id = preparer.tokenizer.fill_id();
        let windows = Windows::new(mixture, preparer, config.clone(), cursor)?;
        Ok(Self { config, fill_id, windows })
    }

    /// Where the next step begins.
    pub fn cursor(&self) -> Cursor {
        self.windows.cursor()
    }

    /// The next step. After an error the loader must not be used further.
    pub fn next_step(&mut self) -> Result<StepBatch, DataError> {
        let started = Instant::now();
        let rows = (0..self.config.global_batch_size).map(|_| self.windows.next_row());
        let rows = rows.collect::<Result<Vec<_>, DataError>>()?;
        let fitted = fitted(&rows);
        let micro_batches = self.cut(rows);
        Ok(StepBatch {
            samples: micro_batches.iter().map(|batch| batch.ids.len()).sum(),
            supervised_tokens: micro_batches.iter().map(|batch| batch.supervised_tokens).sum(),
            micro_batches,
            cursor_after: self.cursor(),
            skipped: self.windows.take_left_out(),
            fitted,
            wait_secs: started.elapsed().as_secs_f64(),
        })
    }

    /// Samples left out of a step that ended in an error, the one that was too many among them.
    pub fn left_out(&self) -> &[Skip] {
        self.windows.left_out()
    }

    fn cut(&self, rows: Vec<Row>) -> Vec<HostBatch> {
        let mut micro_batches = Vec::with_capacity(rows.len() / self.config.micro_batch_size);
        let mut rest = rows.into_iter();
        while rest.len() > 0 {
            let part = rest.by_ref().take(self.config.micro_batch_size).collect();
            micro_batches.push(collate_rows(part, self.fill_id));
        }
        micro_batches
    }
}

/// Counts what was done to samples so that they fit.
fn fitted(rows: &[Row]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let done = rows.iter().flatten().filter_map(|sample| sample.fitted);
    done.for_each(|fitted| *counts.entry(fitted.name()).or_default() += 1);
    counts
}

#[cfg(test)]
mod resumed;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SampleId;
    use crate::fixtures::{Counting, Shards, preparer};

    fn config() -> LoaderConfig {
        LoaderConfig {
            seed: 5,
            global_batch_size: 6,
            micro_batch_size: 2,
            packing: None,
            bucketing: None,
            workers: 2,
            prefetch_steps: 2,
            max_skip_ratio: 0.5,
            shuffle: true,
        }
    }

    fn loader(shards: &Shards, config: LoaderConfig, cursor: Cursor) -> StepLoader {
        StepLoader::new(shards.mixture(), Arc::new(preparer()), config, cursor).expect("a loader")
    }

    /// What a step holds, without how long it took.
    type Content = (Vec<HostBatch>, Cursor, Vec<(SampleId, String, Box<str>)>, usize);

    fn content(loader: &mut StepLoader) -> Content {
        let step = loader.next_step().expect("a step");
        let skipped = step.skipped.into_iter().map(|skip| (skip.id, skip.reason, skip.detail)).collect();
        (step.micro_batches, step.cursor_after, skipped, step.supervised_tokens)
    }

    fn steps(shards: &Shards, config: LoaderConfig, cursor: Cursor, n: usize) -> Vec<Content> {
        let mut loader = loader(shards, config, cursor);
        (0..n).map(|_| content(&mut loader)).collect()
    }

    fn indices(steps: &[Content]) -> Vec<usize> {
        let batches = steps.iter().flat_map(|(batches, ..)| batches);
        batches.flat_map(|batch| batch.ids.iter().map(|id| id.index)).collect()
    }

    #[test]
    fn threads_and_prefetch_do_not_change_what_comes() {
        let shards = Shards::numbered(10, |i| i % 7 == 3);
        let expected = steps(&shards, config(), Cursor::default(), 10);
        assert!(expected.iter().any(|(_, _, skipped, _)| !skipped.is_empty()));
        for workers in [1, 2, 4] {
            for prefetch_steps in 1..=4 {
                let config = LoaderConfig { workers, prefetch_steps, ..config() };
                assert_eq!(steps(&shards, config, Cursor::default(), 10), expected);
            }
        }
    }

    #[test]
    fn every_cursor_continues_with_the_tail_of_the_whole_run() {
        let shards = Shards::numbered(10, |i| i % 7 == 3);
        let whole = steps(&shards, config(), Cursor::default(), 10);
        for done in 1..10 {
            let cursor = whole[done - 1].1;
            assert_eq!(steps(&shards, config(), cursor, 10 - done), whole[done..]);
        }
    }

    #[test]
    fn an_epoch_holds_every_good_sample_once_and_steps_run_over_its_end() {
        let shards = Shards::numbered(10, |i| i == 4 || i == 13);
        // 18 good samples an epoch, steps of 6.
        let steps = steps(&shards, config(), Cursor::default(), 6);
        let good: Vec<usize> = (0..20).filter(|i| ![4, 13].contains(i)).collect();
        for epoch in indices(&steps).chunks(18) {
            let mut epoch = epoch.to_vec();
            epoch.sort_unstable();
            assert_eq!(epoch, good);
        }
        assert_ne!(indices(&steps)[..18], indices(&steps)[18..]);
        assert!(steps[5].1.epoch >= 1, "{:?}", steps[5].1);
        let bad: Vec<_> = steps.iter().flat_map(|step| &step.2).map(|(id, reason, _)| (id.index, reason)).collect();
        assert!(bad.len() >= 2 && bad.iter().all(|(_, reason)| *reason == "image_empty"), "{bad:?}");
    }

    #[test]
    fn a_batch_larger_than_the_data_goes_around() {
        let shards = Shards::numbered(2, |_| false);
        let steps = steps(&shards, LoaderConfig { shuffle: false, ..config() }, Cursor::default(), 1);
        assert_eq!(indices(&steps), [0, 1, 2, 3, 0, 1]);
        assert_eq!(steps[0].1, Cursor::at(1, 2));
    }

    #[test]
    fn micro_batches_cut_the_step_in_order() {
        let shards = Shards::numbered(10, |_| false);
        let cut = |micro_batch_size| {
            let steps = steps(&shards, LoaderConfig { micro_batch_size, ..config() }, Cursor::default(), 2);
            let sizes: Vec<usize> = steps[0].0.iter().map(|batch| batch.batch).collect();
            (indices(&steps), steps[0].3, sizes)
        };
        let (order, supervised, sizes) = cut(6);
        assert_eq!(sizes, [6]);
        assert_eq!(cut(1), (order.clone(), supervised, vec![1; 6]));
        assert_eq!(cut(3), (order, supervised, vec![3; 2]));
    }

    #[test]
    fn too_many_bad_samples_are_an_error_that_names_them() {
        let shards = Shards::numbered(10, |i| i % 2 == 0);
        let mut loader = loader(&shards, LoaderConfig { max_skip_ratio: 0.1, ..config() }, Cursor::default());
        let error = loop {
            if let Err(error) = loader.next_step() {
                break error.to_string();
            }
        };
        assert!(error.starts_with("3 of 20 samples had to be left out, at most 2 may be (image_empty: 3)"), "{error}");
        assert!(error.contains("first: test/t-train-"), "{error}");
        let named: Vec<&str> = loader.left_out().iter().map(|skip| skip.reason.as_str()).collect();
        assert_eq!(named.last(), Some(&"image_empty"), "the sample that was too many is told");
    }

    #[test]
    fn a_bad_sample_is_counted_in_every_epoch_and_read_in_the_first() {
        let shards = Shards::numbered(10, |i| i == 4);
        let source = Arc::new(Counting::new(shards.open(), 20));
        let mixture = Arc::new(Mixture::new(vec![(source.clone(), 1.0)]).expect("a mixture"));
        let config =
            LoaderConfig { global_batch_size: 1, micro_batch_size: 1, workers: 1, prefetch_steps: 1, ..config() };
        let mut loader = StepLoader::new(mixture, Arc::new(preparer()), config, Cursor::default()).expect("a loader");
        let skipped: usize = (0..4 * 19).map(|_| loader.next_step().expect("a step").skipped.len()).sum();
        assert!((3..=4).contains(&skipped), "once in each of four epochs: {skipped}");
        drop(loader);
        let asked = source.asked();
        assert_eq!((asked.len(), asked[&4]), (20, 1));
        assert!(asked.iter().all(|(&index, times)| index == 4 || (4..=5).contains(times)), "{asked:?}");
    }

    /// Nothing is replayed and nothing is laid out in memory, however far on a run is.
    #[test]
    fn deep_in_a_billion_samples_the_next_step_reads_no_more_than_it_needs() {
        let shards = Shards::numbered(10, |_| false);
        let cursor = Cursor::at(0, 700_000_000);
        let started = Instant::now();
        let source = Arc::new(Counting::new(shards.open(), 1_000_000_000));
        let mixture = Arc::new(Mixture::new(vec![(source.clone(), 1.0)]).expect("a mixture"));
        let mut loader = StepLoader::new(mixture, Arc::new(preparer()), config(), cursor).expect("a loader");
        let step = loader.next_step().expect("a step");
        // Milliseconds; the bound only tells a replay, which would take minutes.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!((step.samples, step.cursor_after), (6, Cursor::at(0, 700_000_006)));
        drop(loader);
        let ahead = config().prefetch_steps * 6 + config().workers;
        let read = source.asked().values().sum::<usize>();
        assert!((6..=6 + ahead).contains(&read), "{read}");
    }

    #[test]
    fn the_ceiling_counts_a_sample_once_however_often_it_comes() {
        let shards = Shards::numbered(5, |i| i == 0);
        let config = LoaderConfig { max_skip_ratio: 0.01, ..config() };
        // One of ten may be bad although 1 % of ten is none; it comes again in every epoch.
        assert_eq!(steps(&shards, config.clone(), Cursor::default(), 10).len(), 10);
        let mut strict = loader(&shards, LoaderConfig { max_skip_ratio: 0.0, ..config }, Cursor::default());
        assert!((0..3).any(|_| strict.next_step().is_err()));
    }

    #[test]
    fn data_without_one_good_sample_does_not_loop_for_ever() {
        let shards = Shards::numbered(5, |_| true);
        let mut loader = loader(&shards, LoaderConfig { max_skip_ratio: 1.0, ..config() }, Cursor::default());
        let error = loader.next_step().expect_err("nothing usable").to_string();
        assert!(error.starts_with("none of the 10 samples can be used (image_empty: 10)"), "{error}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let shards = Shards::numbered(5, |_| false);
        let start = |config, cursor| StepLoader::new(shards.mixture(), Arc::new(preparer()), config, cursor).err();
        let refused = |micro_batch_size| start(LoaderConfig { micro_batch_size, ..config() }, Cursor::default());
        assert!(matches!(refused(4), Some(DataError::BatchSizes { .. })));
        assert!(matches!(refused(0), Some(DataError::BatchSizes { .. })));
        let outside = Cursor::at(0, 10);
        assert!(matches!(start(config(), outside), Some(DataError::CursorOutside { .. })));
    }
}
