//! Templates: a conversation as segments, each marked as learned or not.
//!
//! | template | training text (learned part in brackets) |
//! |---|---|
//! | `plain` | `BOS <image> [caption EOS]` |
//! | `article` | `BOS Input: <image>\nResponse:[ caption EOS]`, with `Instruction: …\n` in front where the user says something |
//! | `vicuna_v1` | `BOS system USER: question ASSISTANT:[ answer EOS]USER: …` |
//! | `llama2` | `BOS[INST] <<SYS>>\nsystem\n<</SYS>>\n\nquestion [/INST][ answer EOS]BOS[INST] …` |
//! | `llama3` | `BOS<\|start_header_id\|>user<\|end_header_id\|>\n\nquestion<\|eot_id\|>…assistant<\|end_header_id\|>\n\n[answer<\|eot_id\|>]` |
//! | `chatml` | `<\|im_start\|>user\nquestion<\|im_end\|>\n<\|im_start\|>assistant\n[answer<\|im_end\|>]\n` |
//! | `qwen2_vl` | as `chatml`, media between their own markers |
//! | `alpaca` | `BOS system\n\n### Instruction:\nquestion\n\n### Response:\n[answer EOS]\n\n### Instruction: …` |
//! | `instructblip` | `<image> BOS question[ answer EOS]` |
//!
//! Learned is what the assistant says and the token that ends it, nothing else: not the line break behind `ChatML`'s
//! `<|im_end|>`, no header, no medium. Words are trimmed at both ends of a turn. A turn with `supervised = false` is shown
//! and not learned.
//!
//! `plain` is `LLaVA`'s pretraining template (`preprocess_plain` in `llava/train/train.py`): what the
//! user says is thrown away. Deviation: `LLaVA` ends the caption with a line break and no end token; here
//! the end token is learned, so that generation knows when to stop.
//!
//! In `article`, `vicuna_v1`, `llama2` and `instructblip` the blank before the answer belongs to the answer. Byte-level
//! tokenizers put a blank in front of a word into the word's token, so the prompt `Response:` is what stood there in
//! training.

mod chat;
mod content;
mod dialogue;
mod single;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::{Conversation, Role, Segment, TextError, Turn};

pub use content::Placement;

/// How a conversation is written down for the model.
#[derive(Debug, Clone)]
pub struct Template {
    format: Format,
    system: Option<String>,
    placement: Placement,
}

/// A template that is known by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Picture, then caption.
    #[default]
    Plain,
    /// `Input: <image>`, then `Response: {caption}`.
    Article,
    /// `USER: … ASSISTANT: …`, of Vicuna and `LLaVA` 1.5.
    VicunaV1,
    /// `[INST] … [/INST] …`.
    Llama2,
    /// Headers and `<|eot_id|>`.
    Llama3,
    /// `<|im_start|>`, `<|im_end|>` and a line break, as Qwen writes it.
    Chatml,
    /// `ChatML` with the media markers of `Qwen2-VL` and Qwen2-Audio.
    Qwen2Vl,
    /// `### Instruction:`, `### Response:`.
    Alpaca,
    /// Media, instruction, answer.
    Instructblip,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Article,
        Self::VicunaV1,
        Self::Llama2,
        Self::Llama3,
        Self::Chatml,
        Self::Qwen2Vl,
        Self::Alpaca,
        Self::Instructblip,
    ];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Article => "article",
            Self::VicunaV1 => "vicuna_v1",
            Self::Llama2 => "llama2",
            Self::Llama3 => "llama3",
            Self::Chatml => "chatml",
            Self::Qwen2Vl => "qwen2_vl",
            Self::Alpaca => "alpaca",
            Self::Instructblip => "instructblip",
        }
    }

    /// The special tokens that it places by name; a tokenizer that is trained for it is given them.
    pub fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Self::Llama3 => &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
            Self::Chatml => &["<|im_start|>", "<|im_end|>"],
            Self::Qwen2Vl => &["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"],
            _ => &[],
        }
    }

    /// Standing orders where the conversation gives none.
    fn default_system(self) -> Option<&'static str> {
        match self {
            Self::VicunaV1 => Some(
                "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \
                 detailed, and polite answers to the user's questions.",
            ),
            Self::Chatml | Self::Qwen2Vl => Some("You are a helpful assistant."),
            Self::Alpaca => Some(
                "Below is an instruction that describes a task. Write a response that appropriately completes the \
                 request.",
            ),
            _ => None,
        }
    }

    /// Whether there is a place for standing orders.
    fn takes_system(self) -> bool {
        !matches!(self, Self::Plain | Self::Article | Self::Instructblip)
    }
}

impl From<Format> for Template {
    fn from(format: Format) -> Self {
        Self { format, system: None, placement: Placement::default() }
    }
}

impl Template {
    /// The name in configurations.
    pub fn name(&self) -> &str {
        self.format.name()
    }

    /// Puts `system` in front of conversations without a system turn, in place of the template's own words; an empty one
    /// leaves them without.
    pub fn with_system(self, system: impl Into<String>) -> Result<Self, TextError> {
        if !self.format.takes_system() {
            return Err(TextError::NoSystem { template: self.name().to_owned() });
        }
        Ok(Self { system: Some(system.into()), ..self })
    }

    /// Puts media where `placement` says.
    pub fn with_placement(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    /// The training text.
    pub fn render(&self, conversation: &Conversation) -> Result<Vec<Segment>, TextError> {
        self.write(&self.with_orders(conversation), false)
    }

    /// What stands before the answer to the last turn, for generation. Nothing of it is learned.
    ///
    /// `plain` lets the model go on from what the user says last, because in its training the answer follows the picture
    /// directly. `article` takes it as the instruction.
    pub fn render_prompt(&self, conversation: &Conversation) -> Result<Vec<Segment>, TextError> {
        let mut segments = self.write(&self.with_orders(conversation), true)?;
        segments.iter_mut().for_each(|segment| segment.supervised = false);
        Ok(segments)
    }

    fn write(&self, conversation: &Conversation, open: bool) -> Result<Vec<Segment>, TextError> {
        match self.format {
            Format::Plain | Format::Article | Format::Instructblip => single::write(self.format, conversation, open),
            Format::VicunaV1 | Format::Llama2 | Format::Alpaca => {
                dialogue::write(self.format, self.placement, conversation, open)
            }
            Format::Llama3 | Format::Chatml | Format::Qwen2Vl => {
                chat::write(self.format, self.placement, conversation, open)
            }
        }
    }

    /// The conversation with the standing orders that it lacks.
    fn with_orders<'a>(&self, conversation: &'a Conversation) -> Cow<'a, Conversation> {
        let first = conversation.turns.first();
        let orders = self.system.as_deref().or(self.format.default_system()).unwrap_or_default();
        if orders.is_empty() || first.is_none_or(|turn| turn.role == Role::System) {
            return Cow::Borrowed(conversation);
        }
        let turns = std::iter::once(Turn::said(Role::System, orders)).chain(conversation.turns.iter().cloned());
        Cow::Owned(Conversation { turns: turns.collect() })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join("`, `");
            format!("unknown template `{name}`, known are `{known}`")
        })
    }
}

/// The error for a conversation of another shape than `expected`.
fn mismatch(format: Format, expected: &'static str, conversation: &Conversation) -> TextError {
    TextError::Turns { template: format.name().to_owned(), expected, found: outline(conversation) }
}

/// The speakers of a conversation, for error messages: `user, assistant, user`.
fn outline(conversation: &Conversation) -> String {
    let roles = conversation.turns.iter().map(|turn| {
        let role = turn.role.name();
        match turn.media().len() {
            0 => role.to_owned(),
            n => format!("{role} with {n} media"),
        }
    });
    let roles: Vec<String> = roles.collect();
    if roles.is_empty() { "no turns".to_owned() } else { roles.join(", ") }
}
