//! Every reader of outside bytes as a function of bytes, and seeded damage for them.
//!
//! ```text
//! fuzz/corpus/TARGET ─ seeds ─▶ Mutator ─▶ Target::read(bytes) ─ Trial: no panic escapes, no second passes, memory stays ─▶ Outcome
//! libFuzzer (fuzz/) ──────────────────────▶ the same functions
//! ```
//!
//! A target does with the bytes what the program does: it writes a file where that reads one, confines a panic where that
//! confines it, and goes on to what is done with what was read. It may assert what a reader promises.
//!
//! - [`target`]: a reader, and the list of all.
//! - [`mutate`]: damage as a function of a seed.
//! - [`trial`]: one input after the other, with a limit on time and on memory.
//! - [`panics`]: which panics there were, and whose.
//! - [`memory`]: the most that the process had in memory.
//! - [`corpus`]: the committed seeds and what was found once.
//!
//! Nothing here is part of the program.

pub mod corpus;
mod desk;
pub mod memory;
pub mod mutate;
pub mod panics;
mod readers;
pub mod target;
pub mod trial;

pub use mutate::Mutator;
pub use target::{Target, targets};
pub use trial::{Finding, Outcome, Trial};
