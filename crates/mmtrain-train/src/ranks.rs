//! Data parallelism inside the process: cores as ranks.
//!
//! A training step keeps only 1.4 of 2 cores busy when each operation is spread over threads, since
//! the element-wise passes between matrix products run on one. So each rank works on whole
//! micro-batches with a one-thread pool of its own, and the gradients are summed in rank order. The
//! number of ranks fixes the order of the sums: it is resolved once and recorded in the run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mmtrain_data::HostBatch;
use mmtrain_model::Vlm;
use mmtrain_model::params::FlatTensors;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::driver::{Plan, forward_backward_into};
use crate::error::TrainError;
use crate::gather::{Gathering, InTurn};
use crate::objective::{Averaged, Sums};
use crate::stop::Stop;

/// Worker pools, one per rank; a single rank uses the process's pool.
#[derive(Debug)]
pub struct Ranks {
    pools: Vec<ThreadPool>,
    stop: Stop,
}

/// What the micro-batches of a step yield together.
#[derive(Debug, Default)]
pub struct StepGradients {
    /// Over the supervised tokens of each micro-batch, rank by rank.
    pub sums: Vec<Sums>,
    /// Gradients of the step's mean loss by parameter name.
    pub gradients: FlatTensors,
}

impl Ranks {
    /// `count` ranks.
    pub fn new(count: usize) -> std::io::Result<Self> {
        let build = |rank| {
            ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(move |_| format!("rank-{rank}"))
                .build()
                .map_err(std::io::Error::other)
        };
        let pools = if count > 1 { (0..count).map(build).collect::<Result<_, _>>()? } else { Vec::new() };
        Ok(Self { pools, stop: Stop::default() })
    }

    /// The same, which begin no further micro-batch once a stop is asked for.
    #[must_use]
    pub fn until(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    /// Number of ranks.
    pub fn count(&self) -> usize {
        self.pools.len().max(1)
    }

    /// Runs the micro-batches of a step. Rank `r` of `R` takes micro-batches `r`, `r + R`, ….
    ///
    /// # Errors
    ///
    /// As of [`Ranks::each`], and [`TrainError::Model`] for media that the model does not take.
    pub fn step(
        &self,
        model: &Vlm,
        micro_batches: &[HostBatch],
        plan: &Plan,
        mean: Averaged,
    ) -> Result<StepGradients, TrainError> {
        let run = |number, batch: &HostBatch, gathering: &mut Gathering<'_>| {
            Ok(forward_backward_into(&plan.model_for(model, number), batch, plan, mean, gathering)?)
        };
        let (sums, gradients) = self.gather(micro_batches, run)?;
        Ok(StepGradients { sums: sums.concat(), gradients })
    }

    /// Runs the micro-batches of a step, each with its number in it, and adds up what they gather. The results are in rank order.
    ///
    /// # Errors
    ///
    /// As of [`Ranks::each`].
    pub fn gather<T: Send>(
        &self,
        micro_batches: &[HostBatch],
        run: impl Fn(usize, &HostBatch, &mut Gathering<'_>) -> Result<T, TrainError> + Sync,
    ) -> Result<(Vec<Vec<T>>, FlatTensors), TrainError> {
        let (all, count) = (InTurn::default(), self.count());
        let results = self.each(micro_batches, |share| {
            let (mut gathering, mut results) = (None, Vec::new());
            for (number, batch) in share {
                let gathering = gathering.get_or_insert_with(|| Gathering::of_rank(number % count, &all));
                if number + count >= micro_batches.len() {
                    gathering.begin_last();
                }
                results.push(run(number, batch, gathering)?);
            }
            gathering.map(Gathering::finish);
            Ok(results)
        })?;
        Ok((results, all.end()))
    }

    /// Gives each rank its share of the micro-batches, with their numbers in the step. The results are in rank order.
    ///
    /// # Errors
    ///
    /// [`TrainError::Interrupted`] if a stop was asked for before all of them had begun; and what `work` fails with.
    pub fn each<'a, T: Send>(
        &self,
        micro_batches: &'a [HostBatch],
        work: impl Fn(&mut dyn Iterator<Item = (usize, &'a HostBatch)>) -> Result<T, TrainError> + Sync,
    ) -> Result<Vec<T>, TrainError> {
        let begun = AtomicUsize::new(0);
        let share = |rank| {
            let of_rank = micro_batches.iter().enumerate().skip(rank).step_by(self.count());
            let wanted = of_rank.take_while(|_| !self.stop.requested());
            wanted.inspect(|_| _ = begun.fetch_add(1, Ordering::Relaxed))
        };
        let results = self.all(|rank| work(&mut share(rank))).into_iter().collect::<Result<_, _>>()?;
        if begun.into_inner() < micro_batches.len() { Err(TrainError::Interrupted) } else { Ok(results) }
    }

    /// Runs something on every rank at the same time. The results are in rank order.
    pub fn all<T: Send>(&self, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        if self.pools.is_empty() {
            return vec![work(0)];
        }
        let work = &work;
        thread::scope(|scope| {
            let handles = self.pools.iter().enumerate();
            let handles = handles.map(|(rank, pool)| scope.spawn(move || pool.install(|| work(rank))));
            let handles = handles.collect::<Vec<_>>().into_iter();
            handles.map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}
