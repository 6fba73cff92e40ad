//! What stops a run, as opposed to a [`Skip`](crate::Skip), which costs one sample.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::open::Format;
use crate::remote::RemoteFault;
use crate::sample::SampleId;
use crate::source::ShardProblem;

/// Why data cannot be had, or cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// There is nothing at the place where the data should be.
    #[error("no dataset at `{}`", path.display())]
    NotFound {
        /// The expected place.
        path: PathBuf,
    },

    /// The directory holds no tar shards.
    #[error("no tar shards in `{}` ({})", dir.display(), listing(found))]
    NoShards {
        /// The directory.
        dir: PathBuf,
        /// The first names in it.
        found: Vec<String>,
    },

    /// No shard belongs to the split.
    #[error("no `{split}` shards in `{spec}` ({})", listing(found))]
    NoSplit {
        /// The split asked for.
        split: String,
        /// Directory or pattern.
        spec: String,
        /// The shards that are there.
        found: Vec<String>,
    },

    /// A shard pattern that cannot be expanded.
    #[error("shard pattern `{pattern}`: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },

    /// It does not show how a dataset is to be read.
    #[error("format of `{}` is not known: {seen}", path.display())]
    UnknownFormat {
        /// The dataset.
        path: PathBuf,
        /// What was seen there.
        seen: String,
    },

    /// Of several files it is not clear which one is meant.
    #[error("several files of rows in `{}` ({})", dir.display(), listing(found))]
    SeveralFiles {
        /// The directory.
        dir: PathBuf,
        /// The files.
        found: Vec<String>,
    },

    /// A file is not what it should be.
    #[error("`{}`: {detail}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },

    /// A file could not be read.
    #[error("data file cannot be read: {0}")]
    Read(#[source] std::io::Error),

    /// Something at an address could not be read.
    #[error(transparent)]
    Remote(RemoteFault),

    /// All shards together hold no sample.
    #[error("source `{name}` holds no samples{}", problem_list(problems))]
    NoSamples {
        /// Name of the source.
        name: String,
        /// What is wrong with its shards.
        problems: Vec<ShardProblem>,
    },

    /// A mixture without sources, or with a weight that gives a source no share.
    #[error("weight {weight} of source `{name}`: {detail}")]
    Weight {
        /// Name of the source.
        name: String,
        /// Its weight.
        weight: f64,
        /// What is wrong.
        detail: String,
    },

    /// The batch sizes do not fit each other.
    #[error("global batch size {global} is no multiple of micro batch size {micro}")]
    BatchSizes {
        /// Samples per optimizer step.
        global: usize,
        /// Samples per forward pass.
        micro: usize,
    },

    /// The position to go on from is not in the epoch.
    #[error("cursor stands at position {position}, the epoch has {epoch_len}")]
    CursorOutside {
        /// Position in the cursor.
        position: u64,
        /// Samples in an epoch.
        epoch_len: u64,
    },

    /// The window to go on in has not as many rows as have been consumed of it.
    #[error("cursor stands behind {consumed} rows of a window that has {rows}")]
    CursorInWindow {
        /// Rows consumed, by the cursor.
        consumed: u64,
        /// Rows of the window.
        rows: u64,
    },

    /// More samples are bad than the configuration allows.
    #[error(
        "{skipped} of {total} samples had to be left out, at most {allowed} may be ({}), first: {}",
        counts(reasons),
        ids(first)
    )]
    TooManySkips {
        /// Distinct samples left out.
        skipped: usize,
        /// Samples in all sources.
        total: usize,
        /// How many may be left out.
        allowed: usize,
        /// Count per reason.
        reasons: BTreeMap<String, usize>,
        /// The first ones.
        first: Vec<SampleId>,
    },

    /// A whole epoch went by without one usable sample.
    #[error("none of the {total} samples can be used ({}), first: {}", counts(reasons), ids(first))]
    NothingUsable {
        /// Samples in all sources.
        total: usize,
        /// Count per reason.
        reasons: BTreeMap<String, usize>,
        /// The first ones.
        first: Vec<SampleId>,
    },

    /// Worker threads could not be started.
    #[error("data worker cannot be started: {0}")]
    Spawn(#[source] std::io::Error),

    /// Worker threads are gone although there is work; a bug.
    #[error("data workers stopped unexpectedly")]
    WorkersGone,
}

impl From<std::io::Error> for DataError {
    fn from(error: std::io::Error) -> Self {
        RemoteFault::of(&error).cloned().map_or(Self::Read(error), Self::Remote)
    }
}

impl DataError {
    /// What the user can do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } | Self::NoShards { .. } => Some(LAYOUT.into()),
            Self::NoSplit { split, found, .. } if found.iter().any(|name| is_shard(name)) => {
                Some(format!("the shards of a split have its name in theirs, as in `cc3m-{split}-0000.tar`"))
            }
            Self::NoSplit { .. } => Some("a split is a word in the names of files: `train`, `validation`, `test`".into()),
            Self::UnknownFormat { .. } => {
                let names: Vec<_> = Format::all().map(Format::name).collect();
                Some(format!("name it with `format` or `--format`: {}", names.join(", ")))
            }
            Self::Remote(fault) => Some(fault.hint.clone()),
            Self::SeveralFiles { .. } => Some("name those that are meant under `annotations`".into()),
            Self::BatchSizes { global, micro } => {
                Some(format!("`train.global_batch_size = {}` would fit", global.next_multiple_of((*micro).max(1))))
            }
            Self::CursorOutside { .. } | Self::CursorInWindow { .. } => {
                Some("the data changed since the checkpoint; put them back, or start a new run".into())
            }
            Self::TooManySkips { .. } | Self::NothingUsable { .. } => Some(
                "`mmtrain data check --config FILE --json` lists every bad sample; `data.max_skip_ratio` sets how many may be left out"
                    .into(),
            ),
            _ => None,
        }
    }
}

const LAYOUT: &str = "expected are WebDataset shards: `NAME-train-0000.tar`, … and `NAME-validation-0000.tar`, …, uncompressed, each sample a `KEY.jpg` and a `KEY.txt`, optionally a `KEY.json`";

fn is_shard(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|ext| ext == "tar")
}

/// `there are a, b, …` or `it is empty`.
fn listing(found: &[String]) -> String {
    const SHOWN: usize = 5;
    if found.is_empty() {
        return "nothing is there".into();
    }
    let more = if found.len() > SHOWN { ", …" } else { "" };
    let shown = &found[..found.len().min(SHOWN)];
    format!("there are `{}`{more}", shown.join("`, `"))
}

fn counts(reasons: &BTreeMap<String, usize>) -> String {
    let mut sorted = reasons.iter().collect::<Vec<_>>();
    sorted.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let each = sorted.into_iter().map(|(reason, n)| format!("{reason}: {n}"));
    each.collect::<Vec<_>>().join(", ")
}

fn ids(first: &[SampleId]) -> String {
    let each = first.iter().map(SampleId::to_string);
    each.collect::<Vec<_>>().join(", ")
}

fn problem_list(problems: &[ShardProblem]) -> String {
    problems.first().map_or(String::new(), |problem| format!(": {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_skips_names_counts_and_samples() {
        let id = SampleId { source: "cc3m".into(), shard: "a.tar".into(), key: "007".into(), index: 7 };
        let error = DataError::TooManySkips {
            skipped: 3,
            total: 100,
            allowed: 1,
            reasons: [("empty_caption".to_owned(), 2), ("too_long".to_owned(), 1)].into(),
            first: vec![id],
        };
        assert_eq!(
            error.to_string(),
            "3 of 100 samples had to be left out, at most 1 may be (empty_caption: 2, too_long: 1), first: cc3m/a.tar/007"
        );
    }

    #[test]
    fn batch_sizes_that_do_not_divide_come_with_one_that_does() {
        let error = DataError::BatchSizes { global: 10, micro: 4 };
        assert_eq!(error.hint().as_deref(), Some("`train.global_batch_size = 12` would fit"));
    }
}
