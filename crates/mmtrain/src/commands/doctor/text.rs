//! The report for people.

use std::fmt;

use mmtrain_model::device::DeviceMemory;
use mmtrain_train::checkpoint::{Inspected, LockState, Pointer, dir_name};
use mmtrain_train::machine::{FileSystem, Limits};
use mmtrain_train::survey::{Finding, MetricsState, Severity};

use super::Report;
use super::environment::{DeviceState, Environment};
use super::next::Next;
use super::run::RunReport;
use crate::sizes::gibibytes;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.environment)?;
        if let Some(run) = &self.run {
            writeln!(f, "{run}")?;
        }
        for Finding { severity, message } in &self.findings {
            writeln!(f, "{}: {message}", word(*severity))?;
        }
        if self.findings.is_empty() {
            writeln!(f, "nothing is wrong")?;
        }
        match &self.next {
            Some(Next { why, command }) => writeln!(f, "\nnext: {why}\n  {command}"),
            None => Ok(()),
        }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mmtrain   {} ({}), {}", self.version, self.features.join(", "), self.target)?;
        writeln!(f, "device    {}", device(&self.device))?;
        writeln!(f, "machine   {}", machine(&self.limits))?;
        let confined = [("prlimit", self.videos.prlimit), ("setpriv", self.videos.setpriv)];
        let confined = confined.into_iter().filter_map(|(name, there)| there.then_some(name)).collect::<Vec<_>>();
        let ffmpeg = self.videos.ffmpeg.as_deref().unwrap_or("no ffmpeg");
        writeln!(f, "videos    {}", [&[ffmpeg][..], &confined].concat().join(", "))?;
        writeln!(f, "storage   {}", storage(&self.storage))
    }
}

fn device(device: &DeviceState) -> String {
    let memory = device
        .memory
        .map(|DeviceMemory { free, total }| format!("{} of {} memory available", gibibytes(free), gibibytes(total)));
    let name = device.name.as_deref().unwrap_or("none");
    [Some(name.to_owned()), device.product.clone(), memory, device.driver.clone()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

fn machine(limits: &Limits) -> String {
    let mut parts = vec![
        format!("{} cores", limits.cores),
        format!("{} of {} memory available", gibibytes(limits.memory_available_bytes), gibibytes(limits.memory_bytes)),
    ];
    parts.extend(limits.memory_group_bytes.map(|bytes| format!("{} for the control group", gibibytes(bytes))));
    parts.extend(limits.open_files.map(|files| format!("{files} open files")));
    parts.extend(limits.address_space_bytes.map(|bytes| format!("{} address space", gibibytes(bytes))));
    parts.extend(limits.file_size_bytes.map(|bytes| format!("files up to {}", gibibytes(bytes))));
    parts.join(", ")
}

fn storage(storage: &FileSystem) -> String {
    let abilities = [
        ("writes", &storage.write),
        ("locks", &storage.lock),
        ("renames", &storage.rename),
        ("flushes", &storage.sync),
        ("preallocates", &storage.preallocate),
    ];
    let able =
        abilities.into_iter().filter(|(_, ability)| ability.is_there()).map(|(name, _)| name).collect::<Vec<_>>();
    let able = if able.is_empty() { "nothing can be made there".to_owned() } else { able.join(", ") };
    let kind = storage.kind.as_deref().unwrap_or("of unknown kind");
    format!("{} free in `{}` ({kind}): {able}", gibibytes(storage.free_bytes), storage.dir.display())
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let survey = &self.survey;
        writeln!(f, "run       `{}`: {}, {}", survey.path.display(), self.stage, standing(self))?;
        for checkpoint in &survey.checkpoints {
            writeln!(f, "          {}", of_checkpoint(checkpoint))?;
        }
        writeln!(f, "pointers  latest {}, best {}", pointer(&survey.latest), pointer(&survey.best))?;
        writeln!(f, "lock      {}", lock(&survey.lock))?;
        writeln!(f, "metrics   {}", survey.metrics.as_ref().map_or_else(|| "none".to_owned(), metrics))?;
        writeln!(f, "left out  {}", survey.quarantine)?;
        writeln!(f, "disk      {}", gibibytes(survey.bytes))
    }
}

fn standing(run: &RunReport) -> String {
    let made = run.newest_good.unwrap_or(0);
    let of = run.steps.map_or_else(String::new, |steps| format!(" of {steps}"));
    match run.survey.finished {
        Some(finished) => format!("finished at step {finished}"),
        None => format!("{made}{of} steps made and saved"),
    }
}

fn of_checkpoint(checkpoint: &Inspected) -> String {
    let state = checkpoint.fault.as_ref().map_or_else(|| "good".to_owned(), |fault| format!("not good: {fault}"));
    format!("{}  {:>9}  {state}", dir_name(checkpoint.step), gibibytes(checkpoint.bytes))
}

fn pointer(pointer: &Pointer) -> String {
    match pointer {
        Pointer::Absent => "none".to_owned(),
        Pointer::To(step) => format!("step {step}"),
        // On one line, whatever stands there.
        Pointer::Astray(text) => format!("astray (`{}`)", text.escape_debug().take(200).collect::<String>()),
    }
}

fn lock(lock: &LockState) -> String {
    match lock {
        LockState::Free => "free".to_owned(),
        LockState::Held { holder } => format!("held by {holder}"),
        LockState::Unknown { reason } => format!("unknown: {reason}"),
    }
}

fn metrics(state: &MetricsState) -> String {
    let last = state.last_step.map_or_else(String::new, |step| format!(", the last one of training of step {step}"));
    format!("{} lines{last}", state.lines)
}
