//! A request to stop, set by a signal handler, read by every loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared flag; cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    looks: AtomicU64,
}

impl Stop {
    /// Asks to stop.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        self.0.requested.load(Ordering::SeqCst)
    }

    /// How often somebody looked. Every loop does each time around, so it is a sign of life.
    pub(crate) fn looks(&self) -> u64 {
        self.0.looks.load(Ordering::Relaxed)
    }
}
