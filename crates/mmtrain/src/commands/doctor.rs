//! `mmtrain doctor`: whether the machine is fit for runs, whether a run is whole, and what to do next. Nothing is changed.

mod environment;
mod next;
mod run;
mod text;

use std::path::Path;
use std::process::ExitCode;

use mmtrain_train::survey::{Finding, Severity};
use serde::Serialize;

use self::environment::Environment;
use self::next::Next;
use self::run::RunReport;
use super::{Context, print, print_json};
use crate::cli::DoctorArgs;
use crate::run_dir::RUNS;

/// Exit code where something is damaged or lacking.
const DAMAGED: u8 = 4;

/// What the command says.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether no finding is a problem.
    healthy: bool,
    environment: Environment,
    run: Option<RunReport>,
    /// The worst first.
    findings: Vec<Finding>,
    /// Of a run.
    next: Option<Next>,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let looked = args.run.as_deref().map(run::look).transpose()?;
    let place = looked.as_ref().map_or(Path::new(RUNS), |looked| looked.report.holder());
    let environment = Environment::look(context.device, place)?;
    let mut findings = environment.findings(looked.as_ref().and_then(|looked| looked.report.checkpoint_bytes()));
    let (run, next) = looked.map_or((None, None), |looked| {
        findings.extend(looked.findings);
        (Some(looked.report), Some(looked.next))
    });
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let healthy = findings.iter().all(|finding| finding.severity != Severity::Problem);
    let report = Report { healthy, environment, run, findings, next };
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}
