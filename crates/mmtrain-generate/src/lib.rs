//! What a model says: generation with a key/value cache, and evaluation of what is generated.
//!
//! Reading order:
//!
//! - [`prompt`]: what the model goes on from
//! - [`sampling`]: the next token from a row of logits
//! - [`generate`](mod@generate): prompts to tokens
//! - [`eval`]: captions against their targets and scenes
//! - [`answers`]: answers to questions
//! - [`error`]: what a request can get wrong

pub mod prompt;

pub mod sampling;

pub mod generate;

pub mod eval;

pub mod answers;

pub mod error;

#[cfg(test)]
mod fixtures;

pub use answers::{AnswerReport, Answered, answer_eval, asks};
pub use error::GenerateError;
pub use eval::{CaptionReport, Example, SceneGroup, caption_eval};
pub use generate::{GenerateOptions, Generated, generate};
pub use prompt::Prompt;
pub use sampling::SamplingConfig;
