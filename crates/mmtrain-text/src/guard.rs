//! Libraries that read what comes with a checkpoint: a panic in them is an error, and deep nesting has room.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

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

/// As [`with_deep_stack`], for so long at most: what takes longer is an error, and its thread is left behind, since no thread can be ended
/// from outside.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = mpsc::channel();
    let body = move || drop(done.send(guarded(work)));
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(body).map_err(|error| error.to_string())?;
    match result.recv_timeout(patience) {
        Ok(result) => {
            // It has nothing left to do: waited for, no two stacks are there at once.
            drop(thread.join());
            result
        }
        Err(RecvTimeoutError::Timeout) => Err(format!("it takes more than {} s", patience.as_secs_f64())),
        Err(RecvTimeoutError::Disconnected) => Err("a thread ended early".into()),
    }
}

/// As [`guarded`], on a thread with a deep stack.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || guarded(work));
        spawned.map_err(|error| error.to_string())?.join().unwrap_or_else(|_| Err("a thread ended early".into()))
    })
}
