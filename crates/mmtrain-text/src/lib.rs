//! From a conversation to token ids and labels: tokenizer, templates, label masks.
//!
//! ```text
//! Conversation ─ Template::render ─▶ [Segment { piece, supervised }] ─ encode ─▶ Encoded { input_ids, labels, media }
//! ```
//!
//! - [`conversation`]: who said what, and where the media are.
//! - [`segment`]: pieces of a rendered conversation, each marked as learned or not.
//! - [`template`]: the conversation as segments.
//! - [`placeholders`]: how many placeholders a medium has, and the markers around them.
//! - [`mod@encode`]: segments to ids and labels.
//! - [`tokenizer`]: Hugging Face `tokenizer.json`, with special tokens that data text can never reach.
//! - [`instruction`]: the tokenizer of what a Q-Former is asked.
//! - [`special`]: which ids begin, end, pad and stand for a picture.
//! - [`train`]: the small byte-level BPE of the quickstart.
//!
//! Nothing here knows pixels or tensors.

mod chat_template;
pub mod conversation;
pub mod encode;
pub mod error;
mod guard;
pub mod instruction;
mod jinja;
pub mod placeholders;
pub mod segment;
pub mod special;
pub mod template;
pub mod tokenizer;
pub mod train;
mod within;

pub use conversation::{Conversation, MediaKind, MediaRef, Part, Role, Turn};
pub use encode::{Encoded, IGNORE_INDEX, encode};
pub use error::TextError;
pub use instruction::InstructionTokenizer;
pub use placeholders::{MediaSpans, Placeholders};
pub use segment::{Piece, Segment};
pub use template::{Format, Placement, Template};
pub use tokenizer::TextTokenizer;
