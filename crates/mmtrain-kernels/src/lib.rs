//! Operations of a transformer in one pass over memory, with backward passes of their own.
//!
//! Each is a function of tensors. In f32 in host memory it is a kernel: on all cores, in the widest instructions that the
//! machine has, and one node of the tape. Everything else (other number types, a GPU, where fusion does it) takes plain tensor
//! operations, which every kernel is tested against, gradients too. The bits of a result depend on its inputs, and on
//! neither the number of threads nor whether a tape is kept.
//!
//! - [`linear`], [`gated_linear`], [`by_table`]: products with weights
//! - [`rms_norm`], [`layer_norm`]
//! - [`activation()`], [`gated`]
//! - [`rotate`]: rotary positions
//! - [`attention()`]; [`attention_weights`], [`scores_gradient`] for where it does not take tensors
//! - [`cross_entropy()`]: the loss of the next token
//! - [`adamw()`]: an update
//! - [`product`]: of matrices, for whoever has one that is no tensor
//! - [`tape`]: for whoever has one more operation with a backward pass of its own
//!
//! Inside: `host` (values of tensors), `rows` (tasks on all cores), `lanes`
//! and `curve` (arithmetic).

mod activation;
mod adamw;
mod attention;
mod cross_entropy;
mod curve;
mod host;
mod lanes;
mod layer_norm;
mod linear;
pub mod product;
mod rms_norm;
mod rope;
mod rows;
pub mod tape;
mod weights;

#[cfg(test)]
mod check;

pub use activation::{Act, activation, gated};
pub use adamw::{Moving, Rates, adamw};
pub use attention::{Seen, attention, takes_attention};
pub use cross_entropy::{Scored, cross_entropy};
pub use layer_norm::layer_norm;
pub use linear::{by_table, gated_linear, linear};
pub use rms_norm::rms_norm;
pub use rope::rotate;
pub use weights::{attention_weights, scores_gradient};
