//! Worker threads whose results come in order.
//!
//! A pool maps numbers to results: workers take numbers as they are free, and [`OrderedPool::next_result`]
//! hands results out by number. How many workers there are and how far they run ahead changes when a
//! result is there, never which one comes next. At most `ahead` numbers are in work or waiting, which
//! bounds memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::DataError;

/// Results of a function of numbers, in order, computed ahead by threads.
pub struct OrderedPool<T> {
    jobs: Option<Sender<u64>>,
    results: Option<Receiver<(u64, T)>>,
    workers: Vec<JoinHandle<()>>,
    /// Results that came before their turn.
    early: BTreeMap<u64, T>,
    /// Numbers that have not been handed to workers.
    unassigned: Range<u64>,
    /// The number whose result comes next.
    next: u64,
    ahead: u64,
}

impl<T: Send + 'static> OrderedPool<T> {
    /// Starts `workers` threads that compute `work` for `numbers`, up to `ahead` of them in advance.
    pub fn new(
        workers: usize,
        ahead: usize,
        numbers: Range<u64>,
        work: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> Result<Self, DataError> {
        let ahead = ahead.max(1);
        // Both channels hold everything that can be under way, so no send ever waits.
        let (jobs, job_queue) = bounded(ahead);
        let (result_queue, results) = bounded(ahead);
        let work = Arc::new(work);
        let mut pool = Self {
            jobs: Some(jobs),
            results: Some(results),
            workers: Vec::new(),
            early: BTreeMap::new(),
            next: numbers.start,
            unassigned: numbers,
            ahead: ahead as u64,
        };
        for i in 0..workers.max(1) {
            let (job_queue, result_queue, work) = (job_queue.clone(), result_queue.clone(), work.clone());
            let body = move || run_worker(&job_queue, &result_queue, work.as_ref());
            let thread = std::thread::Builder::new().name(format!("data-{i}"));
            pool.workers.push(thread.spawn(body).map_err(DataError::Spawn)?);
        }
        pool.assign()?;
        Ok(pool)
    }

    /// The result of the next number; `None` after the last one.
    pub fn next_result(&mut self) -> Result<Option<T>, DataError> {
        if self.next == self.unassigned.end {
            return Ok(None);
        }
        self.assign()?;
        let results = self.results.as_ref().ok_or(DataError::WorkersGone)?;
        let result = loop {
            if let Some(result) = self.early.remove(&self.next) {
                break result;
            }
            let (number, result) = results.recv().map_err(|_| DataError::WorkersGone)?;
            self.early.insert(number, result);
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
    /// Without channels each worker stops after what it has in hand.
    fn drop(&mut self) {
        self.results = None;
        self.jobs = None;
        for worker in self.workers.drain(..) {
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

    #[test]
    fn results_come_in_order_whatever_the_workers_do() {
        for (workers, ahead) in [(0, 0), (1, 1), (2, 3), (4, 64)] {
            // Early numbers take longest.
            let work = |n: u64| {
                std::thread::sleep(Duration::from_micros(200 * (7 - n % 8)));
                n * n
            };
            let mut pool = OrderedPool::new(workers, ahead, 5..45, work).expect("a pool");
            let mut results = Vec::new();
            while let Some(result) = pool.next_result().expect("working") {
                results.push(result);
            }
            assert!(results.into_iter().eq((5..45).map(|n| n * n)), "{workers} workers, {ahead} ahead");
        }
    }

    #[test]
    fn never_more_than_allowed_are_under_way() {
        let started = Arc::new(AtomicU64::new(0));
        let counter = started.clone();
        let work = move |_| counter.fetch_add(1, Ordering::SeqCst);
        let mut pool = OrderedPool::new(2, 3, 0..u64::MAX, work).expect("a pool");
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
        let pool = OrderedPool::new(2, 1000, 0..u64::MAX, work).expect("a pool");
        drop(pool);
        assert!(started.load(Ordering::SeqCst) < 200, "most of the 1000 were never begun");
    }

    #[test]
    fn an_empty_range_ends_at_once() {
        let mut pool = OrderedPool::new(1, 4, 3..3, |n| n).expect("a pool");
        assert_eq!(pool.next_result().expect("working"), None);
    }
}
