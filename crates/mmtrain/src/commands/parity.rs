//! `mmtrain parity`

use std::process::ExitCode;

use burn::tensor::DType;
use mmtrain_model::device::DeviceChoice;
use mmtrain_model::weights::LoadDtype;

use super::{Context, print, print_json};
use crate::cli::ParityArgs;
use crate::fail::Refusal;
use crate::fetch::localize::in_cache;
use crate::number_type::holds_16_bits;
use crate::parity::Asked;

/// Runs the command; exit code 1 when something differs by more than the tolerance. A GPU is used only where one is asked for:
/// its products may be rounded more coarsely than the recorded ones.
pub(crate) fn run(context: &Context, args: &ParityArgs) -> anyhow::Result<ExitCode> {
    let device = match context.device {
        DeviceChoice::Auto => DeviceChoice::Cpu,
        asked => asked,
    };
    let dir = in_cache(&args.dir)?;
    let opened = device.open()?;
    if (args.bf16 || args.stored) && !holds_16_bits(&opened.device) {
        let message = format!("{} does not compute in 16 bits", opened.name);
        return Err(Refusal::usage(message, "leave out `--bf16` and `--stored`").into());
    }
    let report = crate::parity::run(&Asked {
        dir: &dir,
        adapter: args.adapter.as_deref(),
        io: args.io.as_deref(),
        atol: args.atol,
        dtype: if args.stored { LoadDtype::AsStored } else { LoadDtype::F32 },
        computing: if args.bf16 { DType::BF16 } else { DType::F32 },
        device: opened.device,
    })?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
