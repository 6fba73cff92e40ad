//! What the user sees of a run: progress, evaluations, report.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use fs_err as fs;
use mmtrain_data::Prepared;
use mmtrain_generate::GenerateError;
use mmtrain_model::Vlm;
use mmtrain_model::config::VlmConfig;
use mmtrain_train::TrainError;
use mmtrain_train::memory::peak_bytes;
use mmtrain_train::metrics::{self, EvalReport, FaultReport, StepReport};
use mmtrain_train::survey::QuarantineState;
use mmtrain_train::trainer::{Run, Watch};

use super::dry_run::{ledger_lines, tokens_per_image};
use super::eval::greedy;
use super::judged::{Judged, SaidOf};
use super::train::{ledger, shown};
use super::{Context, note};
use crate::progress::{Mode, Progress};
use crate::report::medium::extension;
use crate::report::{ReportInput, ShownSample, write_html, write_plot};
use crate::run_dir::RunInfo;

/// Rows that are generated together.
const BATCH: usize = 16;

/// Watches a run on behalf of its user.
pub(crate) struct Watcher {
    progress: Progress,
    quiet: bool,
    started: Instant,
    /// Held-out samples for generation.
    samples: Vec<Prepared>,
    /// The first medium of each, as it stands in the data.
    media: Vec<Vec<u8>>,
    preparer: std::sync::Arc<mmtrain_data::Preparer>,
    max_new_tokens: usize,
    latest: Option<Judged>,
}

impl Watcher {
    /// A watcher for a run that goes on from `step`. Some held-out media are written to `samples/`.
    pub(crate) fn new(run: &Run, context: &Context, step: u64) -> anyhow::Result<Self> {
        let shown = run.held_out.first().map(|held_out| shown(&run.preparer, &held_out.data, run.config.eval.generate));
        let (samples, media) = shown.unwrap_or_default().into_iter().unzip::<_, _, _, Vec<_>>();
        write_media(&run.run_dir, &media)?;
        Ok(Self {
            progress: Progress::new(run.total_steps, step, Mode::detect(context.quiet)),
            quiet: context.quiet,
            started: Instant::now(),
            samples,
            media,
            preparer: run.preparer.clone(),
            max_new_tokens: run.config.eval.max_new_tokens,
            latest: None,
        })
    }

    /// What is trained, on what.
    pub(crate) fn header(&self, run: &Run, model: &Vlm, sizes: &VlmConfig, device: &str) {
        if self.quiet {
            return;
        }
        note(&format!(
            "{} samples, {} steps of {}, {} per medium, {} rank(s) on {device}",
            run.mixture.num_samples(),
            run.total_steps,
            run.config.train.global_batch_size,
            tokens_per_image(sizes),
            run.config.train.ranks,
        ));
        for line in ledger_lines(&ledger(&run.config, model)) {
            note(&line);
        }
    }

    /// Ends the progress display.
    pub(crate) fn finish(&mut self, text: &str) {
        self.progress.finish(text);
    }

    /// Writes `plots/loss.png` and `report.html`.
    pub(crate) fn write_report(&mut self, run: &Run, model: &Vlm, stage: &str, device: &str) -> anyhow::Result<()> {
        let metrics = metrics::read(&run.run_dir)?;
        fs::create_dir_all(run.run_dir.join("plots"))?;
        write_plot(&run.run_dir.join("plots/loss.png"), &metrics)?;
        if self.latest.is_none() && !run.stop.requested() {
            self.generate(run, model)?;
        }
        let name = run.run_dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let config = run.config.to_toml();
        let ledger = ledger(&run.config, model);
        let input = ReportInput {
            run_name: &name,
            stage,
            metrics: &metrics,
            config_toml: &config,
            ledger: &ledger,
            lineage: &RunInfo::read(&run.run_dir).map(|info| info.lineage).unwrap_or_default(),
            samples: &self.shown_samples(),
            summary: &self.summary(run, &metrics, device),
        };
        write_html(&run.run_dir.join("report.html"), &input)?;
        Ok(())
    }

    fn generate(&mut self, run: &Run, model: &Vlm) -> Result<Option<&Judged>, TrainError> {
        if self.samples.is_empty() {
            return Ok(None);
        }
        let options = greedy(&self.preparer, self.max_new_tokens);
        let goes_on = || !run.drops_evaluation();
        let judged = Judged::of(model, &self.preparer.tokenizer, &self.samples, (&options, &goes_on), BATCH);
        self.latest = Some(judged.map_err(|error| match error.downcast_ref() {
            Some(GenerateError::Interrupted) => TrainError::Interrupted,
            _ => TrainError::Io(std::io::Error::other(error)),
        })?);
        Ok(self.latest.as_ref())
    }

    fn shown_samples(&self) -> Vec<ShownSample> {
        let Some(judged) = &self.latest else { return Vec::new() };
        let pairs = judged.samples().into_iter().zip(&self.media);
        let shown = pairs.map(|(SaidOf { id, target, generated, correct }, medium)| ShownSample {
            id,
            medium: medium.clone(),
            target,
            generated,
            correct,
        });
        shown.collect()
    }

    fn summary(&self, run: &Run, metrics: &[metrics::Metric], device: &str) -> Vec<(String, String)> {
        let mut rows = vec![("device".to_owned(), device.to_owned())];
        let last = metrics.iter().rev().find_map(|metric| match metric {
            metrics::Metric::Train(report) => Some(report),
            metrics::Metric::Eval(_) | metrics::Metric::Fault(_) => None,
        });
        if let Some(last) = last {
            rows.push(("steps".into(), format!("{} of {}", last.step, run.total_steps)));
            rows.push(("loss".into(), format!("{:.4}", last.loss)));
            rows.push(("samples/s".into(), format!("{:.1}", last.samples_per_sec)));
        }
        if let Some((name, accuracy)) = self.latest.as_ref().and_then(Judged::headline) {
            rows.push((name.into(), format!("{:.1} %", accuracy * 100.0)));
        }
        // A list that cannot be read is no reason to write no report.
        if let Some(left_out) = QuarantineState::read(&run.run_dir).ok().filter(|left_out| left_out.samples() > 0) {
            rows.push(("left out".into(), left_out.to_string()));
        }
        rows.push(("time of this process".into(), format!("{:.0} s", self.started.elapsed().as_secs_f64())));
        rows.push(("peak memory".into(), format!("{:.0} MiB", peak_bytes() as f64 / f64::from(1 << 20))));
        rows
    }
}

impl Watch for Watcher {
    fn step(&mut self, report: &StepReport) {
        self.progress.step(report);
    }

    fn eval(&mut self, report: &EvalReport) {
        self.progress.eval(report);
        if !report.values.contains_key("loss") {
            let EvalReport { name, skipped, .. } = report;
            self.progress.note(&format!(
                "warning: `{name}`: none of the {skipped} samples that are evaluated can be used, so there is no loss \
                 (`quarantine.jsonl` says why)"
            ));
        }
    }

    fn fault(&mut self, report: &FaultReport) {
        let FaultReport { step, what, value, .. } = report;
        let done = match report.remedy.as_str() {
            metrics::REWOUND => "went back to the newest checkpoint, past these data",
            _ => "nothing was updated",
        };
        self.progress.note(&format!("warning: step {step}: {what} is {value}; {done} (`bad_steps.jsonl`)"));
    }

    fn measure(&mut self, run: &Run, model: &Vlm) -> Result<BTreeMap<String, f64>, TrainError> {
        Ok(self.generate(run, model)?.map(Judged::values).unwrap_or_default())
    }
}

fn write_media(run_dir: &Path, media: &[Vec<u8>]) -> anyhow::Result<()> {
    if media.is_empty() {
        return Ok(());
    }
    let dir = run_dir.join("samples");
    fs::create_dir_all(&dir)?;
    for (number, medium) in media.iter().enumerate().filter(|(_, medium)| !medium.is_empty()) {
        fs::write(dir.join(format!("{number}.{}", extension(medium))), medium)?;
    }
    Ok(())
}
