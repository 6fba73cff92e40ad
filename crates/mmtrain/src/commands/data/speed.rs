//! `mmtrain data speed`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mmtrain_data::{Cursor, HostBatch, StepLoader};
use mmtrain_train::trainer::loader_config;
use serde::Serialize;

use super::view::View;
use crate::cli::SpeedArgs;
use crate::commands::{print, print_json};
use crate::setup;

/// What the workers of a run make ready when nothing waits for a model.
#[derive(Debug, Default, Serialize)]
struct Speed {
    workers: usize,
    seconds: f64,
    samples: usize,
    tokens: usize,
    media: usize,
    left_out: usize,
}

/// Makes the steps of a run ready for a while and throws them away.
pub(super) fn run(args: &SpeedArgs) -> anyhow::Result<ExitCode> {
    let view = View::open(&args.data)?;
    setup::warn_of_shards(&view.mixture);
    let workers = setup::workers(view.config.data.workers);
    let config = loader_config(&view.config, workers);
    let mut loader = StepLoader::new(Arc::new(view.mixture), view.of_run, config, Cursor::default())?;
    // Behind it the workers run.
    loader.next_step()?;
    let (started, patience) = (Instant::now(), Duration::from_secs(args.seconds.get()));
    let mut speed = Speed { workers, ..Speed::default() };
    while started.elapsed() < patience && args.data.limit.is_none_or(|limit| speed.samples < limit) {
        let step = loader.next_step()?;
        speed.samples += step.samples;
        speed.tokens += step.micro_batches.iter().map(HostBatch::tokens).sum::<usize>();
        speed.media += step.micro_batches.iter().map(|batch| batch.media.len()).sum::<usize>();
        speed.left_out += step.skipped.len();
    }
    speed.seconds = started.elapsed().as_secs_f64();
    if args.data.json {
        print_json(&speed)?;
    } else {
        print(&speed.lines().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Speed {
    fn lines(&self) -> Vec<String> {
        let rate = |count: usize| format!("{:>12.1}", count as f64 / self.seconds);
        vec![
            format!("{} samples in {:.1} s, {} workers", self.samples, self.seconds, self.workers),
            format!("samples/s {}", rate(self.samples)),
            format!("tokens/s  {}", rate(self.tokens)),
            format!("media/s   {}", rate(self.media)),
            format!("left out  {:>12}", self.left_out),
        ]
    }
}
