//! The thread of the model: takes requests in, goes on with all answers, tells whoever asked.
//!
//! A request joins between two steps, and no two of them between the same, so that those on their way get a token for each
//! that joins. Who does not listen any more is forgotten before the next step.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::engine::{Engine, Event, Job, What};
use crate::metrics::Metrics;
use crate::refusal::Refusal;

/// A request that waits for the model.
pub(crate) struct Submission<P> {
    pub(crate) job: Job<P>,
    /// Where the answer goes. Never full: it holds no more than the tokens that were asked for.
    pub(crate) listener: mpsc::UnboundedSender<Heard>,
    pub(crate) since: Instant,
}

/// What is heard of a request.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The model has taken it in.
    Admitted,
    /// It has not.
    Refused(Refusal),
    /// What it says.
    Said(What),
}

/// Serves requests until nobody can ask any more.
pub(crate) fn work<E: Engine>(
    engine: &mut E,
    mut queue: mpsc::Receiver<Submission<E::Prompt>>,
    batch: usize,
    metrics: &Metrics,
) {
    let mut worker = Worker { engine, metrics, listeners: BTreeMap::new(), next: 0 };
    let mut joined = false;
    loop {
        worker.forget_the_gone();
        let new = if worker.listeners.is_empty() {
            match queue.blocking_recv() {
                Some(new) => Some(new),
                None => return,
            }
        } else if !joined && worker.listeners.len() < batch {
            queue.try_recv().ok()
        } else {
            None
        };
        joined = new.is_some();
        if let Some(new) = new {
            worker.take(new);
        }
        worker.step();
    }
}

struct Worker<'a, E> {
    engine: &'a mut E,
    metrics: &'a Metrics,
    listeners: BTreeMap<u64, mpsc::UnboundedSender<Heard>>,
    /// Number of the next request.
    next: u64,
}

impl<E: Engine> Worker<'_, E> {
    fn take(&mut self, new: Submission<E::Prompt>) {
        self.metrics.waited(new.since.elapsed());
        if new.listener.is_closed() {
            return;
        }
        let id = self.next;
        self.next += 1;
        let engine = &mut *self.engine;
        match confined(|| engine.admit(id, new.job)) {
            Some(Ok(())) => {
                let _ = new.listener.send(Heard::Admitted);
                self.listeners.insert(id, new.listener);
            }
            Some(Err(refusal)) => drop(new.listener.send(Heard::Refused(refusal))),
            None => {
                drop(new.listener.send(Heard::Refused(failed())));
                self.give_up();
            }
        }
        self.metrics.running(self.listeners.len());
    }

    fn step(&mut self) {
        if self.listeners.is_empty() {
            return;
        }
        let engine = &mut *self.engine;
        let Some(events) = confined(|| engine.step()) else { return self.give_up() };
        self.metrics.stepped();
        for Event { id, what } in events {
            let ends = !matches!(what, What::Token(_));
            let Some(listener) = self.listeners.get(&id) else { continue };
            let _ = listener.send(Heard::Said(what));
            if ends {
                self.listeners.remove(&id);
            }
        }
        self.metrics.running(self.listeners.len());
    }

    fn forget_the_gone(&mut self) {
        let gone = self.listeners.iter().filter(|(_, listener)| listener.is_closed()).map(|(id, _)| *id);
        for id in gone.collect::<Vec<_>>() {
            self.listeners.remove(&id);
            self.cancel(id);
            self.metrics.cancelled();
        }
        self.metrics.running(self.listeners.len());
    }

    /// Ends all answers: after a panic nothing is known of any of them.
    fn give_up(&mut self) {
        for (id, listener) in std::mem::take(&mut self.listeners) {
            let _ = listener.send(Heard::Said(What::Failed(failed())));
            self.cancel(id);
        }
        self.metrics.running(0);
    }

    fn cancel(&mut self, id: u64) {
        let engine = &mut *self.engine;
        confined(|| engine.cancel(id));
    }
}

/// What is done, unless it panics; a backend may where it runs out of memory.
fn confined<T>(work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.map_err(|_| tracing::error!("the model panicked; the answers that it was giving have ended")).ok()
}

fn failed() -> Refusal {
    Refusal::internal("the model failed")
}
