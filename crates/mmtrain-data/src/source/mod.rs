//! Sources of samples: Burn datasets that can name themselves and notice that their data changed.

use std::fmt;

use burn_dataset::Dataset;
use serde::Serialize;

use crate::sample::{RawSample, SampleId, SourceError};

mod shards;

mod window;

pub(crate) mod tar;

mod fingerprint;

mod group;

mod shard;

mod webdataset;

mod several;

mod view;

pub use several::Several;
pub use view::View;
pub use webdataset::WebDataset;
pub(crate) use window::Window;

/// Samples by index.
///
/// Any loop over a Burn [`Dataset`] can use a source; an `Err` of [`Dataset::get`] is a sample to leave
/// out, never a reason to stop.
pub trait Source: Dataset<RawSample, SourceError> {
    /// The name in configuration, metrics and sample ids.
    fn name(&self) -> &str;

    /// Changes when samples are added, removed, renamed or moved, or their content is another; in
    /// hexadecimal. Of large sources not every byte is looked at (`source/fingerprint.rs`).
    fn fingerprint(&self) -> &str;

    /// What is wrong with the files, beyond single samples.
    fn problems(&self) -> &[ShardProblem];

    /// The name of the sample at `index`, without reading it.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    fn id(&self, index: usize) -> SampleId;
}

/// A shard of which not everything could be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardProblem {
    /// File name of the shard.
    pub shard: String,
    /// Stable `snake_case` name of the fault, for counting; begins with `shard_`, of files of rows with `rows_`.
    pub reason: &'static str,
    /// How many samples are found in it; what there is of them is used.
    pub samples: usize,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for ShardProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, samples, detail, .. } = self;
        write!(f, "shard `{shard}`: {detail}; what it has of {samples} samples is used")
    }
}
