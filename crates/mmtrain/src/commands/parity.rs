//! `mmtrain parity`

use std::process::ExitCode;

use mmtrain_model::weights::LoadDtype;

use super::{print, print_json};
use crate::cli::ParityArgs;
use crate::fetch::localize::in_cache;

/// Runs the command; exit code 1 when something differs by more than the tolerance.
pub(crate) fn run(args: &ParityArgs) -> anyhow::Result<ExitCode> {
    let dtype = if args.stored { LoadDtype::AsStored } else { LoadDtype::F32 };
    let report =
        crate::parity::run_as(&in_cache(&args.dir)?, args.adapter.as_deref(), args.io.as_deref(), args.atol, dtype)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
