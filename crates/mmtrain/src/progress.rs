//! Progress on the terminal: a bar for people, plain lines for logs, nothing when asked for silence.
//!
//! Everything goes to standard error, so that standard output stays free for results. A closed standard
//! error never stops a run: failing to show progress is passed over.

use std::env;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mmtrain_train::metrics::{EvalReport, StepReport};

use crate::terminal::said;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A bar that is redrawn in place.
    Bar,
    /// One line for each report, without control characters.
    Plain,
    /// Nothing.
    Quiet,
}

impl Mode {
    /// `Quiet` if asked for; a bar where standard error is a terminal and neither `NO_COLOR` nor `CI` is set
    /// and `TERM` is not `dumb`; else plain lines.
    pub(crate) fn detect(quiet: bool) -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let plain = set("NO_COLOR") || set("CI") || env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::choose(quiet, io::stderr().is_terminal(), plain)
    }

    fn choose(quiet: bool, terminal: bool, plain: bool) -> Self {
        match (quiet, terminal && !plain) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bar,
            (false, false) => Self::Plain,
        }
    }
}

/// Shows how far a run is.
#[derive(Debug)]
pub(crate) struct Progress {
    mode: Mode,
    bar: ProgressBar,
    total: u64,
    loss: Ema,
    pace: Pace,
}

impl Progress {
    /// Progress of a run of `total_steps` steps of which `start_step` are made.
    pub(crate) fn new(total_steps: u64, start_step: u64, mode: Mode) -> Self {
        let bar = match mode {
            Mode::Bar => ProgressBar::with_draw_target(Some(total_steps), ProgressDrawTarget::stderr()),
            Mode::Plain | Mode::Quiet => ProgressBar::hidden(),
        };
        bar.set_style(style());
        bar.set_position(start_step);
        Self { mode, bar, total: total_steps, loss: Ema::new(0.1), pace: Pace::new() }
    }

    /// Shows a training step.
    pub(crate) fn step(&mut self, report: &StepReport) {
        self.loss.push(report.loss);
        self.pace.push(report.step_secs);
        let eta = self.pace.left(self.total.saturating_sub(report.step));
        match self.mode {
            Mode::Bar => {
                let loss = if report.loss.is_finite() { self.loss.value() } else { None };
                self.bar.set_prefix(duration(eta));
                self.bar.set_message(figures(report, loss.unwrap_or(report.loss)));
                self.bar.set_position(report.step);
            }
            Mode::Plain => write_line(&step_line(report, self.total, eta)),
            Mode::Quiet => {}
        }
    }

    /// Shows the results of an evaluation, above the bar.
    pub(crate) fn eval(&mut self, report: &EvalReport) {
        self.note(&eval_line(report));
    }

    /// Shows a line of text, above the bar.
    pub(crate) fn note(&self, text: &str) {
        match self.mode {
            Mode::Bar => self.bar.println(said(text).as_ref()),
            Mode::Plain => write_line(text),
            Mode::Quiet => {}
        }
    }

    /// Takes the bar away and shows a last line.
    pub(crate) fn finish(&self, text: &str) {
        self.bar.finish_and_clear();
        if self.mode != Mode::Quiet {
            write_line(text);
        }
    }
}

/// Seconds per step, for the time that is left.
#[derive(Debug, Clone)]
struct Pace {
    seconds: Ema,
    warm: bool,
}

impl Pace {
    fn new() -> Self {
        Self { seconds: Ema::new(0.2), warm: false }
    }

    /// Takes in a report. The first after a start is passed over: it holds compiling, tuning of kernels and
    /// filling of queues.
    fn push(&mut self, seconds: f64) {
        if self.warm {
            self.seconds.push(seconds);
        }
        self.warm = true;
    }

    /// Seconds for `steps` more steps, `None` while the pace is unknown.
    fn left(&self, steps: u64) -> Option<f64> {
        self.seconds.value().map(|seconds| seconds * steps as f64)
    }
}

/// A moving average with the bias of its start taken out (Kingma and Ba 2014, section 3).
#[derive(Debug, Clone)]
pub(crate) struct Ema {
    keep: f64,
    sum: f64,
    weight: f64,
}

impl Ema {
    /// An average in which a new value counts `share`, above 0 and at most 1.
    pub(crate) fn new(share: f64) -> Self {
        Self { keep: 1.0 - share, sum: 0.0, weight: 0.0 }
    }

    /// Takes in a value; one that is not finite is passed over.
    pub(crate) fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.sum = self.keep * self.sum + (1.0 - self.keep) * value;
            self.weight = self.keep * self.weight + (1.0 - self.keep);
        }
    }

    /// The average, `None` before the first value.
    pub(crate) fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

fn style() -> ProgressStyle {
    let template = "{wide_bar:.blue/8} {pos}/{len} {percent}%  eta {prefix}\n{wide_msg}";
    ProgressStyle::with_template(template).expect("the template is well formed").progress_chars("━╸─")
}

fn step_line(report: &StepReport, total: u64, eta: Option<f64>) -> String {
    let skipped = if report.skipped > 0 { format!(" skipped {}", report.skipped) } else { String::new() };
    let figures = figures(report, report.loss);
    format!("step {}/{total} {figures}{skipped} eta {}", report.step, duration(eta))
}

/// The figures of a step in one line, with the given loss; the rates, which may be many, come last, since a
/// bar cuts off what is wider than the terminal.
fn figures(report: &StepReport, loss: f64) -> String {
    format!(
        "loss {loss:.4} grad {:.3} tok/s {:.0} samples/s {:.1} wait {:.0}% lr {}",
        report.grad_norm,
        report.tokens_per_sec,
        report.samples_per_sec,
        100.0 * report.data_wait,
        rates(report),
    )
}

/// One rate if all parts have the same, else each with the name of its part.
fn rates(report: &StepReport) -> String {
    let mut rates = report.lr.values().map(|rate| format!("{rate:.2e}"));
    let Some(first) = rates.next() else { return "-".into() };
    if rates.all(|rate| rate == first) {
        return first;
    }
    report.lr.iter().map(|(part, rate)| format!("{part}={rate:.2e}")).collect::<Vec<_>>().join(",")
}

fn eval_line(report: &EvalReport) -> String {
    let values = report.values.iter().map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>();
    let skipped = if report.skipped > 0 { format!(" left out {}", report.skipped) } else { String::new() };
    format!("eval step {} {}: {}{skipped}", report.step, report.name, values.join(" "))
}

/// Seconds as the two largest units.
fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) else { return "?".into() };
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn write_line(text: &str) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{}", said(text));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report(step: u64, step_secs: f64) -> StepReport {
        StepReport {
            step,
            epoch: 0.5,
            loss: 2.345_67,
            lr: BTreeMap::from([("connector".into(), 1e-3), ("decoder".into(), 1e-3)]),
            grad_norm: 0.871_2,
            supervised_tokens: 500,
            samples: 32,
            tokens_per_sec: 12_345.4,
            samples_per_sec: 88.12,
            data_wait: 0.031,
            step_secs,
            mem_bytes: 0,
            padding: 0.0,
            skipped: 0,
            fitted: std::collections::BTreeMap::new(),
            values: BTreeMap::new(),
        }
    }

    #[test]
    fn a_plain_line_says_everything_on_one_line() {
        let line = step_line(&report(20, 0.5), 600, Some(290.0));
        let expected = "step 20/600 loss 2.3457 grad 0.871 tok/s 12345 samples/s 88.1 wait 3% lr 1.00e-3 eta 4m50s";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_plain_line_names_parts_with_rates_of_their_own_and_skips() {
        let mut report = report(20, 0.5);
        report.lr.insert("decoder".into(), 2e-5);
        report.skipped = 3;
        let line = step_line(&report, 600, None);
        assert!(line.contains(" lr connector=1.00e-3,decoder=2.00e-5 "), "{line}");
        assert!(line.ends_with(" skipped 3 eta ?"), "{line}");
    }

    #[test]
    fn an_eval_line_lists_all_values() {
        let values = BTreeMap::from([("attribute_accuracy".into(), 0.913_44), ("loss".into(), 0.4)]);
        let mut report = EvalReport { step: 200, name: "held_out".into(), values, skipped: 0 };
        assert_eq!(eval_line(&report), "eval step 200 held_out: attribute_accuracy 0.9134 loss 0.4000");
        report.skipped = 3;
        assert_eq!(eval_line(&report), "eval step 200 held_out: attribute_accuracy 0.9134 loss 0.4000 left out 3");
    }

    #[test]
    fn the_first_report_after_a_start_does_not_count_for_the_time_left() {
        let mut progress = Progress::new(100, 40, Mode::Quiet);
        progress.step(&report(50, 30.0));
        assert_eq!(progress.pace.left(50), None);
        progress.step(&report(60, 0.5));
        assert!((progress.pace.left(40).unwrap_or_default() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn an_average_has_no_bias_towards_zero() {
        let mut average = Ema::new(0.1);
        assert_eq!(average.value(), None);
        average.push(4.0);
        average.push(f64::NAN);
        assert!((average.value().unwrap_or_default() - 4.0).abs() < 1e-12);
        average.push(2.0);
        assert!((average.value().unwrap_or_default() - (0.9 * 4.0 + 2.0) / 1.9).abs() < 1e-12);
    }

    #[test]
    fn a_bar_needs_a_terminal_that_wants_it() {
        assert_eq!(Mode::choose(false, true, false), Mode::Bar);
        assert_eq!(Mode::choose(false, true, true), Mode::Plain);
        assert_eq!(Mode::choose(false, false, false), Mode::Plain);
        assert_eq!(Mode::choose(true, true, false), Mode::Quiet);
    }

    #[test]
    fn durations_have_two_units() {
        let texts = [0.0, 59.4, 61.0, 3_661.0, 90_000.0].map(|seconds| duration(Some(seconds)));
        assert_eq!(texts, ["0s", "59s", "1m01s", "1h01m", "1d01h"]);
        assert_eq!([None, Some(f64::NAN)].map(duration), ["?", "?"]);
    }
}
