//! Windows of samples, arranged into rows, one window behind the other.
//!
//! A window begins at a position of the epoch's order and holds so many usable samples; without packing and bucketing
//! it is one sample, a row of its own. A resume inside of a window reads it again and passes by the rows that have been
//! consumed: they cost time, not memory of what they were.

use std::sync::Arc;

use crate::ledger::Ledger;
use crate::loader::LoaderConfig;
use crate::order::Cursor;
use crate::pack::{bucketed, first_fit};
use crate::pool::OrderedPool;
use crate::prepare::too_slow;
use crate::rejected::Rejected;
use crate::sample::Skip;
use crate::{DataError, Mixture, Prepared, Preparer};

/// The samples of a row, one behind the other.
pub(crate) type Row = Vec<Prepared>;

/// Rows from a cursor on, endless.
pub(crate) struct Windows {
    config: LoaderConfig,
    pool: OrderedPool<Result<Prepared, Skip>>,
    ledger: Ledger,
    epoch_len: u64,
    /// Where the window at hand begins, and how many of its rows have been handed out.
    cursor: Cursor,
    /// The position behind the last one that was read.
    read: Cursor,
    /// Rows of the window that have not been handed out.
    rows: std::vec::IntoIter<Row>,
    left_out: Vec<Skip>,
}

impl Windows {
    /// Starts the workers at `cursor`.
    pub(crate) fn new(
        mixture: Arc<Mixture>,
        preparer: Arc<Preparer>,
        config: LoaderConfig,
        cursor: Cursor,
    ) -> Result<Self, DataError> {
        let epoch_len = mixture.epoch_len();
        if cursor.position >= epoch_len {
            return Err(DataError::CursorOutside { position: cursor.position, epoch_len });
        }
        let ledger = Ledger::new(mixture.num_samples(), epoch_len, config.max_skip_ratio);
        let pool = start_pool(mixture, preparer, &config, cursor)?;
        let read = Cursor::at(cursor.epoch, cursor.position);
        Ok(Self { config, pool, ledger, epoch_len, cursor, read, rows: Vec::new().into_iter(), left_out: Vec::new() })
    }

    /// Where the next row comes from.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Samples left out since this was asked last, in order.
    pub(crate) fn take_left_out(&mut self) -> Vec<Skip> {
        std::mem::take(&mut self.left_out)
    }

    /// As [`take_left_out`](Self::take_left_out), without taking.
    pub(crate) fn left_out(&self) -> &[Skip] {
        &self.left_out
    }

    /// The next row.
    pub(crate) fn next_row(&mut self) -> Result<Row, DataError> {
        if self.rows.len() == 0 {
            self.read_window()?;
        }
        let row = self.rows.next().ok_or(DataError::WorkersGone)?;
        self.cursor.rows += 1;
        if self.rows.len() == 0 {
            self.cursor = self.read;
        }
        Ok(row)
    }

    /// Reads the window at the cursor and passes by the rows of it that have been consumed.
    ///
    /// What was left out of a window is told with its first row: whoever consumed that knows it.
    fn read_window(&mut self) -> Result<(), DataError> {
        let known = self.left_out.len();
        let samples = self.read_samples()?;
        let rows = self.arrange(samples);
        let (consumed, count) = (self.cursor.rows, rows.len() as u64);
        if consumed >= count {
            return Err(DataError::CursorInWindow { consumed, rows: count });
        }
        if consumed > 0 {
            self.left_out.truncate(known);
        }
        self.rows = rows.into_iter();
        self.rows.by_ref().take(consumed as usize).for_each(drop);
        Ok(())
    }

    fn read_samples(&mut self) -> Result<Vec<Prepared>, DataError> {
        let window = self.config.window();
        let mut samples = Vec::with_capacity(window);
        while samples.len() < window {
            match self.pool.next_result()?.ok_or(DataError::WorkersGone)? {
                Ok(sample) => {
                    self.ledger.note_good();
                    samples.push(sample);
                }
                Err(skip) => {
                    let verdict = self.ledger.note_bad(&skip);
                    self.left_out.push(skip);
                    verdict?;
                }
            }
            self.read = self.read.next(self.epoch_len);
        }
        Ok(samples)
    }

    fn arrange(&self, samples: Vec<Prepared>) -> Vec<Row> {
        let LoaderConfig { packing, bucketing, micro_batch_size, seed, shuffle, .. } = self.config;
        let lengths = samples.iter().map(Prepared::len).collect::<Vec<_>>();
        let mut rows = match packing {
            Some(packing) => first_fit(&lengths, packing.max_seq),
            None => (0..lengths.len()).map(|sample| vec![sample]).collect(),
        };
        if bucketing.is_some() {
            let of_row = |row: &Vec<usize>| row.iter().map(|&sample| lengths[sample]).sum();
            let row_lengths = rows.iter().map(of_row).collect::<Vec<_>>();
            let order = bucketed(&row_lengths, micro_batch_size, shuffle.then(|| (seed, self.number())));
            rows = order.into_iter().map(|row| std::mem::take(&mut rows[row])).collect();
        }
        let mut samples = samples.into_iter().map(Some).collect::<Vec<_>>();
        rows.into_iter().map(|row| row.into_iter().filter_map(|sample| samples[sample].take()).collect()).collect()
    }

    /// Positions before the window, over all epochs.
    fn number(&self) -> u64 {
        number(self.cursor, self.epoch_len)
    }
}

fn number(cursor: Cursor, epoch_len: u64) -> u64 {
    cursor.epoch.saturating_mul(epoch_len).saturating_add(cursor.position)
}

fn start_pool(
    mixture: Arc<Mixture>,
    preparer: Arc<Preparer>,
    config: &LoaderConfig,
    cursor: Cursor,
) -> Result<OrderedPool<Result<Prepared, Skip>>, DataError> {
    let len = mixture.epoch_len();
    let seed = config.shuffle.then_some(config.seed);
    let step = config.global_batch_size.max(config.window());
    let ahead = config.prefetch_steps.max(1) * step + config.workers;
    let (rejected, asked) = (Arc::new(Rejected::default()), mixture.clone());
    let known = rejected.clone();
    let work = move |number| {
        let place = asked.place(seed, number / len, number % len);
        rejected.or_try(place, || preparer.fetch(asked.source(place.0).as_ref(), place.1))
    };
    // It is not tried again in the next epoch.
    let give_up = move |number| {
        let place = mixture.place(seed, number / len, number % len);
        known.or_try(place, || Err(too_slow(&mixture.source(place.0).id(place.1))))
    };
    OrderedPool::new(config.workers, ahead, number(cursor, len)..u64::MAX, work, give_up)
}
