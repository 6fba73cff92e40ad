//! Signals that ask a command to stop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use mmtrain_train::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Signals closer together than this are one: `timeout` and terminals send theirs to the group and to the process.
const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// A file that grows beyond what is allowed (`ulimit -f`) is an error of whoever writes it, as a full disk is, and not the end of the process.
pub(crate) fn outlive_large_files() {
    // Where it cannot be had, the process ends as it would without.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// The first signal asks to stop, which drops the step under way. The second one ends at once, with 128 and its number as shells have it:
/// nothing is saved then, so it must not look like a saved stop.
///
/// A terminal that closes (`SIGHUP`) is one of them, unless whoever started the process had it pass that over, as `nohup` does.
pub(crate) fn stop_on_signals() -> anyhow::Result<Stop> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let hang_up = Some(SIGHUP).filter(|signal| !is_ignored(*signal, &status));
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hang_up))?;
    let stop = Stop::default();
    let flag = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut first = None;
        for signal in signals.forever() {
            flag.request();
            if first.get_or_insert_with(Instant::now).elapsed() > ONE_SIGNAL {
                signal_hook::low_level::exit(128 + signal);
            }
        }
    })?;
    Ok(stop)
}

/// Whether a process passes a signal over, by the mask `SigIgn` of its `/proc/PID/status` (`proc(5)`).
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_stands_in_the_mask() {
        let status = "Name:\tmmtrain\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(SIGHUP, status));
        assert!(!is_ignored(SIGINT, status) && !is_ignored(SIGTERM, status));
        assert!(is_ignored(signal_hook::consts::SIGPIPE, status));
        assert!(!is_ignored(SIGHUP, "no mask"));
    }
}
