//! Datasets to host batches: sources, order, preparation, collation, prefetch.
//!
//! ```text
//! Source::get ─▶ RawSample ─ Preparer ─▶ Prepared | Skip ─ collate ─▶ HostBatch ─ StepLoader ─▶ StepBatch
//! ```
//!
//! What a step holds is a pure function of (data, configuration, [`Cursor`]): threads change *when* a
//! batch is ready, never *what* is in it. A sample that cannot be used is a [`Skip`], counted and named,
//! with a ceiling that turns too many of them into an error.
//!
//! - [`sample`]: what a source yields, and what is left out.
//! - [`medium`]: a picture, clip or sound that is ready for the encoder.
//! - [`source`]: the trait of sources; `WebDataset` tars read by offset.
//! - [`table`]: sources of rows: files of rows ([`rows`], of [`cell`]s), what a row says ([`mod@format`]), where its media
//!   lie ([`store`]).
//! - [`mod@open`]: datasets by format, and which format a directory has.
//! - [`remote`]: data at addresses, read over the network.
//! - [`order`]: the seekable permutation of an epoch.
//! - [`mixture`]: several sources with weights as one epoch.
//! - [`prepare`]: raw sample to token ids, labels and pixels.
//! - [`Shown`]: whether media are shown whole.
//! - [`intake`]: what the encoder takes, and how media become that.
//! - [`fit`]: what is done with samples that are longer than a row.
//! - [`pack`]: which samples share a row, and which rows a micro-batch.
//! - [`mod@collate`]: prepared samples to padded rows.
//! - [`pool`]: worker threads whose results come in order.
//! - [`loader`]: optimizer steps, endless and resumable.
//! - [`pass`]: one ordered pass, for evaluation and checks.
//! - [`mod@check`], [`mod@stats`]: what a dataset holds and what is wrong with it ([`histogram`], [`hints`]).
//! - [`error`]: what stops a run.

pub mod sample;

pub mod medium;

pub mod source;

pub mod cell;

pub mod rows;

pub mod format;

pub mod store;

pub mod table;

pub mod open;

pub mod remote;

pub mod order;

pub mod mixture;

pub mod prepare;

pub mod intake;

pub mod fit;

pub mod fork;

pub mod pack;

pub mod collate;

pub mod pool;

mod content;

mod place;

mod panics;

mod reading;

mod opened;

mod facts;

mod rejected;

mod settle;

mod shown;

mod elsewhere;

mod wanted;

mod ledger;

mod windows;

pub mod loader;

pub mod pass;

pub mod check;

pub mod stats;

pub mod histogram;

pub mod hints;

pub mod error;

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod mutated;

pub use check::{CheckReport, check};
pub use collate::{AblatedRow, HostBatch, HostFork, HostMedium, collate, collate_rows};
pub use content::file_fingerprint;
pub use error::DataError;
pub use facts::{Examined, MediumFacts};
pub use fit::{Fitted, TooLong};
pub use fork::{Ablated, Fork, PairKey};
pub use histogram::Histogram;
pub use intake::{Clips, Intake};
pub use loader::{LoaderConfig, StepBatch, StepLoader, StepsAhead};
pub use medium::{Medium, placeholders};
pub use mixture::Mixture;
pub use mmtrain_media::DiskCache;
pub use open::{Format, OpenOptions, detect, open};
pub use order::{Cursor, permute};
pub use pack::{Bucketing, Packing};
pub use pass::Pass;
pub use place::Place;
pub use prepare::{Prepared, Preparer, Wanted};
pub use remote::{Remote, RemoteSettings};
pub use sample::{Feedback, MediaContent, RawMedium, RawSample, Reject, SampleId, Skip, SourceError};
pub use shown::Shown;
pub use source::{ShardProblem, Source, WebDataset};
pub use stats::{DataStats, stats};
pub use table::Table;
