//! From a source of a configuration to the data that it names.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use mmtrain_config::{CaptionsKind, PlaceholderKind, SourceConfig, WordsConfig};
use mmtrain_data::format::{Captions, Placeholder};
use mmtrain_data::open::Detected;
use mmtrain_data::remote::{is_remote, shown};
use mmtrain_data::source::View;
use mmtrain_data::store::PathMap;
use mmtrain_data::{DataError, Format, OpenOptions, Remote, RemoteSettings, Source, detect};
use mmtrain_text::MediaKind;

use crate::commands::note;

/// Largest cache of what was read from addresses, where the configuration does not say, in bytes.
const CACHE_BYTES: u64 = 64 << 30;

/// Opens one source; where its format is not given, the files show it.
pub(crate) fn open_source(source: &SourceConfig, placeholder: PlaceholderKind) -> anyhow::Result<Arc<dyn Source>> {
    let location = source.location();
    let context = || format!("source `{}` at `{}`", source.name, shown(&location));
    let options = options(source, placeholder)?;
    let format = match source.known_format() {
        Some(format) => format.name().parse()?,
        None => detected(source, &options).with_context(context)?,
    };
    let opened = mmtrain_data::open(source.name.clone(), &location, format, &options);
    let opened = opened.with_context(context)?;
    let opened = if source.better_answer { Arc::new(View::better_answers(opened)) } else { opened };
    let limited = match source.limit {
        Some(limit) => Arc::new(View::first(opened, limit)),
        None => opened,
    };
    Ok(if source.split_pairs { Arc::new(View::split_pairs(limited)) } else { limited })
}

/// Opens a source to train on: where its files say what is held out, that is left alone unless it is asked for.
pub(crate) fn open_training(source: &SourceConfig, placeholder: PlaceholderKind) -> anyhow::Result<Arc<dyn Source>> {
    if source.split.is_some() || source.annotations.is_some() {
        return open_source(source, placeholder);
    }
    match open_source(&SourceConfig { split: Some("train".to_owned()), ..source.clone() }, placeholder) {
        Err(error) if matches!(error.downcast_ref(), Some(DataError::NoSplit { .. })) => {
            open_source(source, placeholder)
        }
        opened => opened,
    }
}

/// Says what was seen, unless it is tar shards.
fn detected(source: &SourceConfig, options: &OpenOptions) -> Result<Format, DataError> {
    let Detected { format, seen } = detect(options.remote.place(&source.location()))?;
    if format != Format::WebDataset {
        note(&format!("source `{}` is read as `{format}`: {seen}", source.name));
    }
    Ok(format)
}

fn options(source: &SourceConfig, placeholder: PlaceholderKind) -> anyhow::Result<OpenOptions> {
    let maps = source.path_map.iter().flatten();
    Ok(OpenOptions {
        split: source.split.clone(),
        annotations: source.annotations.clone().unwrap_or_default(),
        media: source.media.clone().unwrap_or_default(),
        path_map: maps.map(|map| PathMap { from: map.from.clone(), to: map.to.clone() }).collect(),
        // In front, several words for one medium are one, as in LLaVA; the template moves what is left.
        placeholder: match placeholder {
            PlaceholderKind::Keep => Placeholder::Keep,
            PlaceholderKind::Front => Placeholder::Front,
        },
        words: words(source),
        exclude: source.exclude.clone().unwrap_or_default(),
        captions: match source.captions {
            None | Some(CaptionsKind::All) => Captions::All,
            Some(CaptionsKind::First) => Captions::First,
        },
        columns: source.columns.clone().unwrap_or_default(),
        remote: remote(source)?,
    })
}

fn words(source: &SourceConfig) -> Vec<(String, MediaKind)> {
    let WordsConfig { image, video, audio } = source.words.clone().unwrap_or_default();
    let kinds = [(image, MediaKind::Image), (video, MediaKind::Video), (audio, MediaKind::Audio)];
    kinds.into_iter().flat_map(|(words, kind)| words.into_iter().map(move |word| (word, kind))).collect()
}

/// How addresses are read: as the environment has it for S3's own tools, kept in the user's cache. Where there is no
/// address, no directory is made.
fn remote(source: &SourceConfig) -> anyhow::Result<Remote> {
    let media = source.media.iter().flatten().any(|path| is_remote(path));
    if !media && !is_remote(&source.location()) {
        return Ok(Remote::default());
    }
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
    let said = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = RemoteSettings {
        cache: source.cache.clone().or_else(|| Some(caches()?.join("mmtrain/blocks"))),
        cache_bytes: source.cache_bytes.unwrap_or(CACHE_BYTES),
        s3: said.filter(|(name, _)| name.starts_with("AWS_")).collect(),
        certificates: path("SSL_CERT_FILE"),
        ..RemoteSettings::default()
    };
    Remote::new(settings).context("the cache of what is read from addresses")
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
