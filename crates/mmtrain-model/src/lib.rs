//! Encoders, connectors and decoders as Burn modules, and the way in from Hugging Face checkpoints.
//!
//! Reading order:
//!
//! - [`config`]: sizes and switches of each part, read from `config.json` or from a run's TOML
//! - [`encoder`], [`connector`], [`decoder`]: the three parts
//! - [`vlm`]: the three parts as one model; [`media`]: what stands where in a batch
//! - [`projection`], [`norm`], [`attention`], [`rope`]: what encoder and decoder share
//! - [`lora`]: low-rank adapters; [`quantized`]: weights in a byte or half a byte
//! - [`params`]: parameters by their `transformers` names
//! - [`weights`]: safetensors in and out; [`precision`]: number types of parameters
//! - [`flops`]: what shapes cost
//! - [`init`]: random weights, a pure function of seed and parameter name
//! - [`device`]: CPU or GPU, chosen at run time

pub mod config;

pub mod connector;
pub mod decoder;
pub mod encoder;
pub mod media;
pub mod vlm;

pub mod attention;
mod few_rows;
pub mod lora;
pub mod norm;
pub mod projection;
pub mod quantized;
pub mod rope;
mod shares;

pub mod device;
pub mod error;
pub mod flops;
pub mod init;
pub mod params;
pub mod precision;
pub mod weights;

pub use error::ModelError;
pub use vlm::Vlm;
