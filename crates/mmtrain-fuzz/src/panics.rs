//! Which panics there were, and whose: the program confines those of libraries to a sample, its own it should not have.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// Where the sources of the workspace lie, whatever it is built from.
const OWN: [&str; 2] = ["crates/mmtrain-", "crates/mmtrain/"];

/// Panics of a while.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Panics {
    /// Of the workspace's code: place and message.
    pub own: Vec<String>,
    /// How many there were of others' code.
    pub others: usize,
    /// The last one of others: place and message.
    pub last: String,
}

static SEEN: Mutex<Panics> = Mutex::new(Panics { own: Vec::new(), others: 0, last: String::new() });

/// Whether panics are counted.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Does `work`; panics meanwhile are counted instead of printed.
pub fn listening<T>(work: impl FnOnce() -> T) -> T {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| if LISTENING.load(Ordering::SeqCst) { note(panic) } else { usual(panic) }));
    });
    LISTENING.store(true, Ordering::SeqCst);
    let done = work();
    LISTENING.store(false, Ordering::SeqCst);
    done
}

fn note(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let said = format!("{place}: {text}");
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if OWN.iter().any(|own| place.contains(own)) {
        seen.own.push(said);
    } else {
        seen.others += 1;
        seen.last = said;
    }
}

/// What was seen since this was last asked.
pub fn take() -> Panics {
    std::mem::take(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}
