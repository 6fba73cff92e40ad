//! `mmtrain data`

mod check;
mod page;
mod runs;
mod show;
mod shown;
mod speed;
mod stats;
mod synth;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mmtrain_config::{FormatKind, SourceConfig, dataset_preset};

use crate::cli::DataCommand;

/// Runs the command.
pub(crate) fn run(command: &DataCommand) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::Synth(args) => synth::run(args),
        DataCommand::Show(args) => show::run(args),
        DataCommand::Check(args) => check::run(args),
        DataCommand::Stats(args) => stats::run(args),
        DataCommand::Speed(args) => speed::run(args),
    }
}

/// A source by name or directory.
pub(crate) fn source_of(data: &str, format: Option<FormatKind>, split: Option<&str>) -> SourceConfig {
    let path = Path::new(data);
    let is_place = dataset_preset(data).is_none() && (path.exists() || data.contains(['/', '{', '*']));
    let name = if is_place {
        let shown = PathBuf::from(mmtrain_data::remote::shown(path));
        shown.file_name().map_or(data.into(), |name| name.to_string_lossy().into_owned())
    } else {
        data.to_owned()
    };
    SourceConfig {
        path: is_place.then(|| path.to_owned()),
        format,
        split: split.map(str::to_owned),
        ..SourceConfig::named(name)
    }
}
