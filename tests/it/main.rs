//! End to end, through the binary.

mod bad_input;
mod bad_weights;
mod bench;
mod best;
mod commands;
mod configs;
mod connectors;
mod corruption;
mod doctor;
mod families;
#[cfg(feature = "fetch")]
mod fetch;
mod from_block;
mod grid;
mod guard;
mod inspect;
mod lora;
#[cfg(all(feature = "fetch", feature = "serve", not(feature = "remote")))]
mod messages;
mod mixed_parts;
mod plan;
mod pretrain;
mod qlora;
mod quantize;
mod recipes;
mod resume;
#[cfg(all(feature = "fetch", feature = "serve"))]
mod secrets;
#[cfg(feature = "serve")]
mod serve;
mod sounds;
mod sources;
mod stages;
mod stops;
mod strange;
mod support;
mod talk;
mod terminal;
