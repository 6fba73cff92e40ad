//! Training: objectives, the block-wise driver, the optimizer, the loop and checkpoints.
//!
//! Reading order:
//!
//! - [`trainer`]: the loop, and what happens around a step
//! - [`tape`], [`driver`], [`objective`]: forward and backward of one micro-batch, block by block
//! - [`preference`]: answers that are compared, and the reference model
//! - [`features`]: what a frozen encoder made, kept on disk
//! - [`ranks`], [`gather`]: micro-batches over cores, and the sum of their gradients
//! - [`clip`], [`optimizer`], [`schedule`]: from gradients to an update
//! - [`guard`]: steps whose numbers went wrong
//! - [`verify`]: what changed in the first step, and what did not
//! - [`evaluate`], [`best`]: held-out loss, and the best evaluation
//! - [`checkpoint`]: directories that are complete or do not exist
//! - [`metrics`], [`quarantine`]: what a run leaves to read
//! - [`survey`]: what state a run is in, and what to do next
//! - [`memory`], [`machine`]: what a run needs, and what there is
//! - [`stop`], [`watchdog`], [`error`]

pub mod trainer;

pub mod tape;

pub mod driver;

pub mod objective;

pub mod preference;

pub mod features;

pub mod gather;

pub mod ranks;

pub mod clip;

pub mod optimizer;

pub mod best;

pub mod schedule;

pub mod guard;

pub mod verify;

pub mod evaluate;

pub mod checkpoint;

pub mod metrics;

mod lines;

pub mod quarantine;

pub mod survey;

pub mod memory;

pub mod forecast;

pub mod machine;

pub mod stop;

pub mod watchdog;

pub mod error;

pub use error::TrainError;
pub use stop::Stop;
