//! Notices that nothing moves any more: storage that does not answer, a device that hangs, a thread that waits for another.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use fs_err as fs;

use crate::stop::Stop;

/// A time limit is counted in so many ticks. A process that was stopped or slept missed ticks, not life.
const TICKS: u32 = 20;

/// Watches the loops that look at a [`Stop`], until dropped.
#[derive(Debug)]
pub struct Watchdog {
    _until: Sender<()>,
}

/// What stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hang {
    /// For how long no loop has gone around.
    pub limit: Duration,
    /// Each thread: its name, its state and where in the kernel it waits, as `/proc/self/task` (`proc(5)`) has them.
    pub threads: Vec<String>,
}

impl Watchdog {
    /// Calls `on_hang` once if nobody looks at `stop` for as long as `limit`.
    ///
    /// # Errors
    ///
    /// If there can be no thread for it.
    pub fn start(stop: &Stop, limit: Duration, on_hang: impl FnOnce(Hang) + Send + 'static) -> std::io::Result<Self> {
        let (until, ended) = channel::<()>();
        let stop = stop.clone();
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let (mut seen, mut still) = (stop.looks(), 0);
            while ended.recv_timeout(limit / TICKS) == Err(RecvTimeoutError::Timeout) {
                let looks = stop.looks();
                still = if looks == seen { still + 1 } else { 0 };
                seen = looks;
                if still == TICKS {
                    return on_hang(Hang { limit, threads: threads() });
                }
            }
        })?;
        Ok(Self { _until: until })
    }
}

/// All threads of this process but the one that asks.
fn threads() -> Vec<String> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let tasks = tasks.filter_map(Result::ok).map(|task| task.path());
    let of_task = |path: std::path::PathBuf| {
        let read = |name: &str| fs::read_to_string(path.join(name)).ok().map(|text| text.trim().to_owned());
        let name = read("comm")?;
        let status = read("status")?;
        let state = status.lines().find_map(|line| line.strip_prefix("State:"))?.trim().to_owned();
        let place = read("wchan").filter(|place| !place.is_empty() && place != "0");
        Some(format!("{name}: {state}{}", place.map_or_else(String::new, |place| format!(", in {place}"))))
    };
    tasks.filter_map(of_task).filter(|thread| !thread.starts_with("watchdog: ")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[test]
    fn loops_that_move_are_left_alone_and_one_that_stands_is_named_with_its_threads() {
        let (stop, (told, hangs)) = (Stop::default(), channel());
        let watchdog = Watchdog::start(&stop, LIMIT, move |hang| told.send(hang).expect("heard")).expect("a thread");
        let since = Instant::now();
        while since.elapsed() < 3 * LIMIT {
            assert!(!stop.requested());
            std::thread::sleep(LIMIT / 40);
        }
        assert!(hangs.try_recv().is_err(), "it moved");
        let hang = hangs.recv_timeout(50 * LIMIT).expect("it stood still");
        assert_eq!(hang.limit, LIMIT);
        assert!(!hang.threads.is_empty() && hang.threads.iter().all(|thread| thread.contains(": ")), "{hang:?}");
        drop(watchdog);
    }

    #[test]
    fn nobody_is_told_after_the_end() {
        let (told, hangs) = channel();
        drop(Watchdog::start(&Stop::default(), LIMIT, move |hang| told.send(hang).expect("heard")).expect("a thread"));
        // The sender goes with the thread.
        assert!(hangs.recv_timeout(50 * LIMIT).is_err());
    }
}
