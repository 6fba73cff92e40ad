//! End to end, through the binary.

mod bad_input;
mod bad_weights;
mod best;
mod commands;
mod configs;
mod connectors;
mod corruption;
mod families;
#[cfg(feature = "fetch")]
mod fetch;
mod from_block;
mod grid;
mod guard;
mod inspect;
mod lora;
mod mixed_parts;
mod pretrain;
mod qlora;
mod quantize;
mod recipes;
mod resume;
#[cfg(feature = "serve")]
mod serve;
mod sounds;
mod stages;
mod support;
mod talk;
