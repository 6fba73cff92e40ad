//! From a source of a configuration to the data that it names.

use std::sync::Arc;

use anyhow::Context as _;
use mmtrain_config::{CaptionsKind, SourceConfig};
use mmtrain_data::format::{Captions, Placeholder};
use mmtrain_data::open::Detected;
use mmtrain_data::source::Limited;
use mmtrain_data::store::PathMap;
use mmtrain_data::{DataError, Format, OpenOptions, Source, detect};

use crate::commands::note;

/// Opens one source; where its format is not given, the files show it.
pub(crate) fn open_source(source: &SourceConfig) -> anyhow::Result<Arc<dyn Source>> {
    let location = source.location();
    let context = || format!("source `{}` at `{}`", source.name, location.display());
    let format = match source.known_format() {
        Some(format) => format.name().parse()?,
        None => detected(source).with_context(context)?,
    };
    let opened = mmtrain_data::open(source.name.clone(), &location, format, &options(source));
    let opened = opened.with_context(context)?;
    Ok(match source.limit {
        Some(limit) => Arc::new(Limited::new(opened, limit)),
        None => opened,
    })
}

/// Opens a source to train on: where its files say what is held out, that is left alone unless it is asked for.
pub(crate) fn open_training(source: &SourceConfig) -> anyhow::Result<Arc<dyn Source>> {
    if source.split.is_some() || source.annotations.is_some() {
        return open_source(source);
    }
    match open_source(&SourceConfig { split: Some("train".to_owned()), ..source.clone() }) {
        Err(error) if matches!(error.downcast_ref(), Some(DataError::NoSplit { .. })) => open_source(source),
        opened => opened,
    }
}

/// Says what was seen, unless it is tar shards.
fn detected(source: &SourceConfig) -> Result<Format, DataError> {
    let Detected { format, seen } = detect(&source.location())?;
    if format != Format::WebDataset {
        note(&format!("source `{}` is read as `{format}`: {seen}", source.name));
    }
    Ok(format)
}

fn options(source: &SourceConfig) -> OpenOptions {
    let maps = source.path_map.iter().flatten();
    OpenOptions {
        split: source.split.clone(),
        annotations: source.annotations.clone().unwrap_or_default(),
        media: source.media.clone().unwrap_or_default(),
        path_map: maps.map(|map| PathMap { from: map.from.clone(), to: map.to.clone() }).collect(),
        // The template moves media, `data.placeholder`.
        placeholder: Placeholder::Keep,
        exclude: source.exclude.clone().unwrap_or_default(),
        captions: match source.captions {
            None | Some(CaptionsKind::All) => Captions::All,
            Some(CaptionsKind::First) => Captions::First,
        },
        columns: source.columns.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_config::FormatKind;
    use mmtrain_data::Format;

    #[test]
    fn formats_have_one_name_in_configurations_and_in_data() {
        for format in Format::all() {
            assert_eq!(format.name().parse::<FormatKind>().map(FormatKind::name).as_deref(), Ok(format.name()));
        }
    }
}
