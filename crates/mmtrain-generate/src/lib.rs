//! What a model says: generation with a key/value cache, and evaluation of what is generated.
//!
//! Reading order:
//!
//! - [`prompt`]: what the model goes on from
//! - [`sampling`]: the next token from a row of logits
//! - `cohort`: sequences of one length and their cache
//! - `sequence`: one answer in the making
//! - [`engine`]: sequences that join and leave while others are on their way
//! - [`generate`](mod@generate): prompts to tokens
//! - [`stream`]: tokens to text, as they come, up to a stop string
//! - [`session`]: a conversation whose next turn goes on from the cache of the last
//! - [`messages`]: conversations as JSON messages
//! - [`eval`]: captions against their targets and scenes
//! - [`answers`]: answers to questions
//! - [`error`]: what a request can get wrong

pub mod prompt;

pub mod sampling;
mod seen;

mod cohort;

mod sequence;

pub mod engine;

pub mod generate;

pub mod stream;

pub mod session;

pub mod messages;

pub mod eval;

pub mod answers;

pub mod error;

#[cfg(test)]
mod fixtures;

pub use answers::{AnswerReport, Answered, answer_eval, asks};
pub use engine::Engine;
pub use error::GenerateError;
pub use eval::{CaptionReport, Example, TruthGroup, caption_eval};
pub use generate::{GenerateOptions, Generated, generate, unheard};
pub use messages::{Asked, AskedMedium, Location, Wishes, read_messages};
pub use prompt::Prompt;
pub use sampling::SamplingConfig;
pub use session::Session;
pub use stream::TextStream;
