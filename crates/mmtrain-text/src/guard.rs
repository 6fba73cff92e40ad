//! Libraries that read what comes with a checkpoint: a panic in them is an error, and deep nesting has room.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Room for the recursion of parsers, in bytes; only what is used is taken from memory.
const STACK_BYTES: usize = 256 << 20;

/// Does `work`; a panic becomes its message.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a panic without a message".into())
    })
}

/// As [`guarded`], on a thread with a deep stack.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || guarded(work));
        spawned.map_err(|error| error.to_string())?.join().unwrap_or_else(|_| Err("a thread ended early".into()))
    })
}
