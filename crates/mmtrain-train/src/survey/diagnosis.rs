//! From what is there to what is wrong with it, and to the one thing to do next.

use std::path::PathBuf;

use serde::Serialize;

use super::{BadBatchState, MetricsState, Survey};
use crate::checkpoint::{Fault, Leftover, LeftoverKind, LockState, Pointer, dir_name};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Nothing is lost, and nothing stands in the way.
    Warning,
    /// Something is damaged, or the run cannot go on as it is.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What, and where.
    pub message: String,
}

impl Finding {
    /// Good to know.
    pub fn note(message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, message: message.into() }
    }

    /// Nothing stands in the way.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, message: message.into() }
    }

    /// Damage.
    pub fn problem(message: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, message: message.into() }
    }
}

/// The `config.toml` of a run, beside its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ConfigState {
    /// It can be read, and agrees with the newest good checkpoint.
    Good,
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It asks for another run than the newest good checkpoint was made by.
    Edited {
        /// Each difference.
        changes: Vec<String>,
    },
}

/// What a directory does not say by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How `config.toml` stands.
    pub config: ConfigState,
    /// Weights of frozen parts that the newest good checkpoint refers to, and that are not there.
    pub missing_weights: Vec<PathBuf>,
    /// Every how many steps a line was written, by the newest good checkpoint.
    pub log_every: u64,
    /// Whether `run.json` can be read.
    pub has_info: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// Somebody works on it: watch.
    Watch,
    /// It is done.
    Use,
    /// Go on from that step, or from the start where there is none.
    Resume(Option<u64>),
    /// Put the configuration of that step back.
    RestoreConfig(u64),
    /// Put weights back where they were.
    RestoreWeights(Vec<PathBuf>),
    /// Copy the run to where it may be written.
    Copy,
    /// The same step would fail again: begin a new run in another order, from this one's weights of that step where it has any.
    Reorder(Option<u64>),
    /// Remove `run.json`, which names another run than all its checkpoints.
    RemoveRunInfo,
    /// See that checkpoints may be read.
    MakeReadable,
    /// Nothing here can be gone on with.
    StartAnew,
}

/// What is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// The next step.
    pub advice: Advice,
}

/// Judges a run.
pub fn diagnose(survey: &Survey, facts: &Facts) -> Diagnosis {
    let mut findings = [
        checkpoints(survey),
        configuration(survey, &facts.config),
        weights(&facts.missing_weights),
        info(facts),
        pointers(survey),
        beside(survey),
        metrics(survey, facts.log_every),
        bad_batch(survey),
        place(survey),
    ]
    .concat();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Diagnosis { findings, advice: advice(survey, facts) }
}

fn advice(survey: &Survey, facts: &Facts) -> Advice {
    if survey.lock.is_held() {
        return Advice::Watch;
    }
    let Some(step) = survey.newest_good().map(|checkpoint| checkpoint.step) else {
        let never_saved = survey.checkpoints.is_empty() && !matches!(survey.latest, Pointer::Astray(_));
        let can_begin = never_saved && facts.config == ConfigState::Good && survey.writable;
        let faults = || survey.checkpoints.iter().filter_map(|checkpoint| checkpoint.fault.as_ref());
        return match bad_step(survey) {
            _ if faults().any(|fault| matches!(fault, Fault::OtherRun)) => Advice::RemoveRunInfo,
            _ if faults().any(|fault| matches!(fault, Fault::Denied(_))) => Advice::MakeReadable,
            _ if !can_begin => Advice::StartAnew,
            Some(_) => Advice::Reorder(None),
            None => Advice::Resume(None),
        };
    };
    if !facts.missing_weights.is_empty() {
        return Advice::RestoreWeights(facts.missing_weights.clone());
    }
    if survey.finished.is_some_and(|finished| finished <= step) {
        return Advice::Use;
    }
    match facts.config {
        _ if !survey.writable => Advice::Copy,
        ConfigState::Unreadable { .. } | ConfigState::Edited { .. } => Advice::RestoreConfig(step),
        _ if bad_step(survey).is_some() => Advice::Reorder(Some(step)),
        ConfigState::Good | ConfigState::Missing => Advice::Resume(Some(step)),
    }
}

fn checkpoints(survey: &Survey) -> Vec<Finding> {
    let damaged = survey.checkpoints.iter().filter_map(|checkpoint| {
        let fault = checkpoint.fault.as_ref()?;
        Some(Finding::problem(format!("`{}` is not good: {fault}", dir_name(checkpoint.step))))
    });
    let mut findings = damaged.collect::<Vec<_>>();
    let lost = survey.finished.zip(survey.newest_good()).filter(|(finished, good)| *finished > good.step);
    if let Some((finished, good)) = lost {
        let (last, first) = (finished, good.step + 1);
        findings.push(Finding::problem(format!(
            "the run was finished; steps {first} to {last} are lost and can be made again"
        )));
    }
    if survey.checkpoints.is_empty() {
        findings.push(match &survey.latest {
            Pointer::Astray(name) => {
                Finding::problem(format!("`latest` names `{name}`, and there is no checkpoint any more"))
            }
            Pointer::Absent | Pointer::To(_) => Finding::warning("there is no checkpoint yet"),
        });
    }
    findings
}

fn configuration(survey: &Survey, config: &ConfigState) -> Vec<Finding> {
    match config {
        ConfigState::Good => Vec::new(),
        ConfigState::Missing if survey.newest_good().is_some() => {
            vec![Finding::warning("`config.toml` is gone; a resume takes that of the newest good checkpoint")]
        }
        ConfigState::Missing => vec![Finding::problem("`config.toml` is gone, and no good checkpoint has one")],
        ConfigState::Unreadable { reason } => vec![Finding::problem(format!("`config.toml` cannot be used: {reason}"))],
        ConfigState::Edited { changes } => vec![Finding::problem(format!(
            "`config.toml` was changed since the newest good checkpoint: {}",
            changes.join("; ")
        ))],
    }
}

fn weights(missing: &[PathBuf]) -> Vec<Finding> {
    let gone = |path: &PathBuf| Finding::problem(format!("frozen weights are gone: `{}`", path.display()));
    missing.iter().map(gone).collect()
}

fn info(facts: &Facts) -> Vec<Finding> {
    let lost =
        "`run.json` is gone or cannot be read; a resume writes another one, which does not say what the run began from";
    if facts.has_info { Vec::new() } else { vec![Finding::warning(lost)] }
}

fn pointers(survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, pointer) in [("latest", &survey.latest), ("best", &survey.best)] {
        if let Pointer::Astray(text) = pointer {
            findings.push(Finding::warning(format!("`{name}` says `{text}`, which is no checkpoint here")));
        }
    }
    let newest = survey.newest_good().map(|checkpoint| checkpoint.step);
    let stale = match (&survey.latest, newest) {
        (Pointer::To(step), Some(newest)) if *step != newest && !survey.lock.is_held() => {
            Some(format!("`latest` says step {step}, the newest good one is {newest}; a resume takes that"))
        }
        (Pointer::Absent, Some(_)) => Some("`latest` is gone; the next save writes it again".to_owned()),
        _ => None,
    };
    findings.extend(stale.map(Finding::warning));
    findings
}

/// While a process works there, what is unfinished is its own.
fn beside(survey: &Survey) -> Vec<Finding> {
    let lying = |kind| survey.leftovers.iter().filter(move |leftover| leftover.kind == kind);
    let sum = |leftovers: &mut dyn Iterator<Item = &Leftover>| {
        leftovers.fold((0_u64, 0), |(count, bytes), leftover| (count + 1, bytes + leftover.bytes))
    };
    let (unfinished, unfinished_bytes) = sum(&mut lying(LeftoverKind::Unfinished).chain(lying(LeftoverKind::Removed)));
    let (damaged, damaged_bytes) = sum(&mut lying(LeftoverKind::Damaged));
    let mut findings = Vec::new();
    if unfinished > 0 && !survey.lock.is_held() {
        findings.push(Finding::warning(format!(
            "{unfinished} leftover(s) of a process that died, {unfinished_bytes} bytes; the next run sweeps them"
        )));
    }
    if damaged > 0 {
        findings.push(Finding::warning(format!(
            "{damaged} damaged checkpoint(s) set aside as `.bad-…`, {damaged_bytes} bytes; delete them when you no longer need them"
        )));
    }
    findings
}

fn metrics(survey: &Survey, log_every: u64) -> Vec<Finding> {
    let newest = survey.newest_good().map_or(0, |checkpoint| checkpoint.step);
    let Some(state) = &survey.metrics else {
        let gone = Finding::warning("`metrics.jsonl` is gone: what it said of the steps so far is lost");
        return if newest > 0 { vec![gone] } else { Vec::new() };
    };
    let MetricsState { unreadable, torn, out_of_order, last_step, faults, .. } = *state;
    let gaps = state.gaps.iter().map(|(from, to)| format!("{from} and {to}")).collect::<Vec<_>>();
    let mut findings = Vec::new();
    if unreadable > 0 {
        findings.push(Finding::warning(format!(
            "`metrics.jsonl` has {unreadable} line(s) that cannot be read; a resume drops them"
        )));
    }
    if torn && !survey.lock.is_held() {
        findings
            .push(Finding::note("the last line of `metrics.jsonl` is cut off, as a kill leaves it; a resume drops it"));
    }
    if faults > 0 {
        findings.push(Finding::note(format!(
            "{faults} step(s) were no update, since their numbers went wrong; their samples are in `bad_steps.jsonl`"
        )));
    }
    if out_of_order > 0 {
        findings.push(Finding::warning(format!("`metrics.jsonl` goes back in steps {out_of_order} time(s)")));
    }
    if !gaps.is_empty() {
        let between = gaps.join(", ");
        findings.push(Finding::warning(format!("`metrics.jsonl` has lost lines between steps {between}")));
    }
    let expected = newest.checked_div(log_every).map_or(0, |lines| lines * log_every);
    let last = last_step.unwrap_or(0);
    if last < expected {
        findings.push(Finding::warning(format!(
            "`metrics.jsonl` ends at step {last}, the newest good checkpoint is of step {newest}: lines are lost"
        )));
    }
    findings
}

/// The step that cannot be made, where the run still stands before it.
fn bad_step(survey: &Survey) -> Option<u64> {
    let newest = survey.newest_good().map_or(0, |checkpoint| checkpoint.step);
    match &survey.bad_batch {
        Some(BadBatchState::Read(bad)) => Some(bad.step).filter(|step| *step > newest),
        Some(BadBatchState::Unreadable { .. }) | None => None,
    }
}

fn bad_batch(survey: &Survey) -> Vec<Finding> {
    let bad = match &survey.bad_batch {
        None => return Vec::new(),
        Some(BadBatchState::Unreadable { unreadable }) => {
            let said = "a step was not finite, and `bad_batch.json`, which says which one, cannot be read";
            return vec![Finding::warning(format!("{said}: {unreadable}"))];
        }
        Some(BadBatchState::Read(bad)) => bad,
    };
    let what =
        format!("{} of step {} was not finite ({} samples, in `bad_batch.json`)", bad.what, bad.step, bad.samples);
    vec![match bad_step(survey) {
        Some(_) => Finding::problem(format!("{what}; a resume makes the same step again")),
        None => Finding::note(format!("{what}; the run has passed it since")),
    }]
}

fn place(survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !survey.writable {
        findings.push(Finding::warning("the directory may not be written: a resume cannot work there"));
    }
    if let LockState::Unknown { reason } = &survey.lock {
        findings.push(Finding::warning(format!("whether a process works on it cannot be told: {reason}")));
    }
    if survey.quarantine.unreadable > 0 {
        findings.push(Finding::note(format!(
            "`quarantine.jsonl` has {} line(s) that cannot be read",
            survey.quarantine.unreadable
        )));
    }
    findings
}

#[cfg(test)]
mod tests;
