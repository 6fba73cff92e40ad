//! `mmtrain data synth`

use std::process::ExitCode;

use mmtrain_synth::{Like, SynthOptions, write_dataset_until};

use crate::cli::SynthArgs;
use crate::commands::{print, print_json};
use crate::signals::stop_on_signals;

/// Makes a miniature dataset.
pub(super) fn run(args: &SynthArgs) -> anyhow::Result<ExitCode> {
    let like: Like = args.like.parse()?;
    let defaults = SynthOptions::new(args.samples, args.seed);
    let validation_samples = args.validation_samples.unwrap_or(defaults.validation_samples);
    let options = SynthOptions {
        size: args.size,
        objects: args.objects,
        validation_samples,
        frames: args.frames.unwrap_or(defaults.frames),
        fps: args.fps.unwrap_or(defaults.fps),
        seconds: args.seconds.unwrap_or(defaults.seconds),
        hallucination_percent: args.hallucination_percent,
        ..defaults
    };
    let stop = stop_on_signals()?;
    let report = write_dataset_until(&|| stop.requested(), like, &args.out, &options)?;
    if args.json {
        print_json(&report)?;
    } else {
        let verb = if report.created { "made" } else { "already there:" };
        print(&format!(
            "{verb} {} samples and {} held out, {} files, {:.1} MiB in `{}`",
            report.train_samples,
            report.validation_samples,
            report.files,
            report.bytes as f64 / f64::from(1 << 20),
            report.out.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
