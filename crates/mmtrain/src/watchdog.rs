//! Ends a run that hangs, so that whoever restarts runs can do so.

use std::process::exit;
use std::time::Duration;

use mmtrain_config::RunConfig;
use mmtrain_train::Stop;
use mmtrain_train::watchdog::{Hang, Watchdog};

use crate::commands::note;

/// Exit code of a run in which nothing moved any more.
const HUNG: i32 = 6;

/// Watches a run for as long as what is returned lives; none where `train.hang_secs` is 0.
pub(crate) fn watch(config: &RunConfig, stop: &Stop) -> anyhow::Result<Option<Watchdog>> {
    let limit = Duration::from_secs(config.train.hang_secs);
    if limit.is_zero() {
        return Ok(None);
    }
    let end = |hang: Hang| {
        note(&said(&hang));
        exit(HUNG);
    };
    Ok(Some(Watchdog::start(stop, limit, end)?))
}

fn said(Hang { limit, threads }: &Hang) -> String {
    let threads = threads.join("\n    ");
    format!(
        "error: nothing has moved for {} s; the run ends, and its checkpoints are as they were. Its threads:\n    {threads}\n  \
         hint: see what they wait for (storage, a pipe, the device), then go on with `--resume`; a longer wait is \
         `train.hang_secs`, 0 waits for ever",
        limit.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_long_and_who_waits() {
        let threads = vec!["rank-0: S (sleeping), in futex_wait".to_owned(), "loader: D (disk sleep)".to_owned()];
        let text = said(&Hang { limit: Duration::from_secs(90), threads });
        assert!(text.contains("for 90 s") && text.contains("\n    loader: D (disk sleep)\n  hint:"), "{text}");
    }
}
