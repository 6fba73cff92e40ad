//! Worker threads whose results come in order.
//!
//! A pool maps numbers to results: workers take numbers as they are free, and [`OrderedPool::next_result`]
//! hands results out by number. How many workers there are and how far they run ahead changes when a
//! result is there, never which one comes next. At most `ahead` numbers are in work or waiting, which
//! bounds memory.
//!
//! A result that does not come is given up after a while: its worker is left behind, since no thread can be ended from outside, and another
//! takes its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::DataError;

/// How long the next result is waited for.
pub const PATIENCE: Duration = Duration::from_mins(10);

/// What is counted at once of that time: while the process is stopped, workers do nothing either, and no more than this has passed.
const SLICE: Duration = Duration::from_secs(1);

/// Results of a function of numbers, in order, computed ahead by threads.
pub struct OrderedPool<T> {
    jobs: Option<Sender<u64>>,
    results: Option<Receiver<(u64, T)>>,
    workers: Vec<JoinHandle<()>>,
    /// Starts one worker more, by its number.
    hire: Box<dyn Fn(usize) -> std::io::Result<JoinHandle<()>> + Send>,
    /// What stands in the place of a result that does not come.
    give_up: Box<dyn Fn(u64) -> T + Send>,
    patience: Duration,
    /// Workers that were left behind.
    lost: usize,
    /// Results that came before their turn.
    early: BTreeMap<u64, T>,
    /// Numbers that have not been handed to workers.
    unassigned: Range<u64>,
    /// The number whose result comes next.
    next: u64,
    ahead: u64,
}

impl<T: Send + 'static> OrderedPool<T> {
    /// Starts `workers` threads that compute `work` for `numbers`, up to `ahead` of them in advance. What does not come within
    /// [`PATIENCE`] is what `give_up` makes of its number.
    pub fn new(
        workers: usize,
        ahead: usize,
        numbers: Range<u64>,
        work: impl Fn(u64) -> T + Send + Sync + 'static,
        give_up: impl Fn(u64) -> T + Send + 'static,
    ) -> Result<Self, DataError> {
        Self::with_patience(PATIENCE, (workers, ahead), numbers, work, give_up)
    }

    fn with_patience(
        patience: Duration,
        (workers, ahead): (usize, usize),
        numbers: Range<u64>,
        work: impl Fn(u64) -> T + Send + Sync + 'static,
        give_up: impl Fn(u64) -> T + Send + 'static,
    ) -> Result<Self, DataError> {
        let ahead = ahead.max(1);
        // Both channels hold everything that can be under way, so no send ever waits.
        let (jobs, job_queue) = bounded(ahead);
        let (result_queue, results) = bounded(ahead);
        let work = Arc::new(work);
        let hire = move |number| {
            let (job_queue, result_queue, work) = (job_queue.clone(), result_queue.clone(), work.clone());
            let body = move || run_worker(&job_queue, &result_queue, work.as_ref());
            std::thread::Builder::new().name(format!("data-{number}")).spawn(body)
        };
        let mut pool = Self {
            jobs: Some(jobs),
            results: Some(results),
            workers: Vec::new(),
            hire: Box::new(hire),
            give_up: Box::new(give_up),
            patience,
            lost: 0,
            early: BTreeMap::new(),
            next: numbers.start,
            unassigned: numbers,
            ahead: ahead as u64,
        };
        for _ in 0..workers.max(1) {
            pool.hire_one()?;
        }
        pool.assign()?;
        Ok(pool)
    }

    fn hire_one(&mut self) -> Result<(), DataError> {
        self.workers.push((self.hire)(self.workers.len()).map_err(DataError::Spawn)?);
        Ok(())
    }

    /// The result of the next number; `None` after the last one.
    pub fn next_result(&mut self) -> Result<Option<T>, DataError> {
        if self.next == self.unassigned.end {
            return Ok(None);
        }
        self.assign()?;
        let mut left = self.patience;
        let result = loop {
            if let Some(result) = self.early.remove(&self.next) {
                break result;
            }
            let results = self.results.as_ref().ok_or(DataError::WorkersGone)?;
            let slice = left.min(SLICE);
            match results.recv_timeout(slice) {
                // What was given up and comes all the same is not wanted any more.
                Ok((number, result)) if number >= self.next => drop(self.early.insert(number, result)),
                Ok(_) => {}
                // The channel stays open for those who may be hired.
                Err(_) if self.workers.iter().all(JoinHandle::is_finished) => return Err(DataError::WorkersGone),
                Err(RecvTimeoutError::Timeout) if left > slice => left -= slice,
                Err(RecvTimeoutError::Timeout) => {
                    self.lost += 1;
                    self.hire_one()?;
                    break (self.give_up)(self.next);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(DataError::WorkersGone),
            }
        };
        self.next += 1;
        Ok(Some(result))
    }

    /// Hands numbers to the workers until `ahead` are under way.
    fn assign(&mut self) -> Result<(), DataError> {
        let jobs = self.jobs.as_ref().ok_or(DataError::WorkersGone)?;
        while self.unassigned.start < self.unassigned.end && self.unassigned.start - self.next < self.ahead {
            jobs.send(self.unassigned.start).map_err(|_| DataError::WorkersGone)?;
            self.unassigned.start += 1;
        }
        Ok(())
    }
}

fn run_worker<T>(jobs: &Receiver<u64>, results: &Sender<(u64, T)>, work: &impl Fn(u64) -> T) {
    for number in jobs {
        if results.send((number, work(number))).is_err() {
            return;
        }
    }
}

impl<T> Drop for OrderedPool<T> {
    /// Without channels each worker stops after what it has in hand. Where one was left behind nobody is waited for.
    fn drop(&mut self) {
        self.results = None;
        self.jobs = None;
        for worker in self.workers.drain(..).filter(|_| self.lost == 0) {
            // A worker that panicked has nothing left to clean up, and a drop must not panic.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    fn never(number: u64) -> u64 {
        panic!("{number} is given up")
    }

    #[test]
    fn what_does_not_come_is_given_up_and_the_others_come_all_the_same() {
        let (patience, sizes) = (Duration::from_millis(300), (2, 6));
        // Two never end, which is as many as there are workers, and one comes long after it was given up.
        let work = |n: u64| {
            match n {
                3 | 4 => std::thread::sleep(Duration::from_hours(1)),
                8 => std::thread::sleep(Duration::from_millis(700)),
                _ => {}
            }
            n
        };
        let mut pool = OrderedPool::with_patience(patience, sizes, 0..40, work, |n| 1000 + n).expect("a pool");
        let mut results = Vec::new();
        while let Some(result) = pool.next_result().expect("working") {
            std::thread::sleep(Duration::from_millis(10));
            results.push(result);
        }
        let expected = (0..40).map(|n| if [3, 4, 8].contains(&n) { 1000 + n } else { n });
        assert!(results.iter().copied().eq(expected), "{results:?}");
        // Nobody waits for the two.
        drop(pool);
    }

    #[test]
    fn results_come_in_order_whatever_the_workers_do() {
        for (workers, ahead) in [(0, 0), (1, 1), (2, 3), (4, 64)] {
            // Early numbers take longest.
            let work = |n: u64| {
                std::thread::sleep(Duration::from_micros(200 * (7 - n % 8)));
                n * n
            };
            let mut pool = OrderedPool::new(workers, ahead, 5..45, work, never).expect("a pool");
            let mut results = Vec::new();
            while let Some(result) = pool.next_result().expect("working") {
                results.push(result);
            }
            assert!(results.into_iter().eq((5..45).map(|n| n * n)), "{workers} workers, {ahead} ahead");
        }
    }

    #[test]
    fn workers_that_are_gone_are_not_waited_for() {
        let work = |n: u64| if n == 2 { panic!("on purpose") } else { n };
        let mut pool = OrderedPool::new(1, 4, 0..9, work, never).expect("a pool");
        let results = std::iter::repeat_with(|| pool.next_result()).take(3).collect::<Vec<_>>();
        assert!(matches!(results[..], [Ok(Some(0)), Ok(Some(1)), Err(DataError::WorkersGone)]), "{results:?}");
    }

    #[test]
    fn never_more_than_allowed_are_under_way() {
        let started = Arc::new(AtomicU64::new(0));
        let counter = started.clone();
        let work = move |_| counter.fetch_add(1, Ordering::SeqCst);
        let mut pool = OrderedPool::new(2, 3, 0..u64::MAX, work, never).expect("a pool");
        for taken in 1..20 {
            pool.next_result().expect("working");
            std::thread::sleep(Duration::from_millis(1));
            assert!(started.load(Ordering::SeqCst) <= taken + 2);
        }
    }

    #[test]
    fn dropping_stops_the_workers_early() {
        let started = Arc::new(AtomicU64::new(0));
        let counter = started.clone();
        let work = move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
        };
        let pool = OrderedPool::new(2, 1000, 0..u64::MAX, work, |_| ()).expect("a pool");
        drop(pool);
        assert!(started.load(Ordering::SeqCst) < 200, "most of the 1000 were never begun");
    }

    #[test]
    fn an_empty_range_ends_at_once() {
        let mut pool = OrderedPool::new(1, 4, 3..3, |n| n, never).expect("a pool");
        assert_eq!(pool.next_result().expect("working"), None);
    }
}
