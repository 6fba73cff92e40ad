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
mod format;
mod portable;
mod single;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::jinja::ChatTemplate;
use crate::{Conversation, MediaKind, Piece, Role, Segment, TextError, TextTokenizer, Turn, encode};

pub use content::Placement;
pub(crate) use content::{is_learned, media_in_front};
pub use format::Format;

/// How a conversation is written down for the model.
#[derive(Debug, Clone)]
pub struct Template {
    writing: Writing,
    system: Option<String>,
    placement: Placement,
}

#[derive(Debug, Clone)]
enum Writing {
    Known(Format),
    Jinja(Arc<ChatTemplate>),
}

impl From<Format> for Template {
    fn from(format: Format) -> Self {
        Self { writing: Writing::Known(format), system: None, placement: Placement::default() }
    }
}

impl Template {
    /// The chat template that comes with `tokenizer`.
    pub fn of_tokenizer(tokenizer: &TextTokenizer) -> Result<Self, TextError> {
        let source = tokenizer.chat_template().ok_or(TextError::NoChatTemplate)?;
        Self::jinja("chat", source, tokenizer)
    }

    /// A chat template in Jinja for the special tokens of `tokenizer`; `name` stands in messages.
    pub fn jinja(name: &str, source: &str, tokenizer: &TextTokenizer) -> Result<Self, TextError> {
        let template = Arc::new(ChatTemplate::new(name, source, tokenizer)?);
        Ok(Self { writing: Writing::Jinja(template), system: None, placement: Placement::default() })
    }

    /// The name in configurations and messages.
    pub fn name(&self) -> &str {
        match &self.writing {
            Writing::Known(format) => format.name(),
            Writing::Jinja(template) => template.name(),
        }
    }

    /// Whether media of this kind stand as the template has them. Those that a chat template knows nothing of stand where the
    /// conversation has them, with nothing around them.
    pub fn writes(&self, kind: MediaKind) -> bool {
        match &self.writing {
            Writing::Known(_) => true,
            Writing::Jinja(template) => template.writes(kind),
        }
    }

    /// Puts `system` in front of conversations without a system turn, in place of the template's own words; an empty one
    /// leaves them without.
    pub fn with_system(self, system: impl Into<String>) -> Result<Self, TextError> {
        if matches!(self.writing, Writing::Known(format) if !format.takes_system()) {
            return Err(TextError::NoSystem { template: self.name().to_owned() });
        }
        Ok(Self { system: Some(system.into()), ..self })
    }

    /// Puts media where `placement` says.
    #[must_use]
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
        let mut conversation = self.with_orders(conversation).into_owned();
        // So that an earlier answer may be empty, as a model's can be.
        if matches!(self.writing, Writing::Known(_)) {
            for turn in &mut conversation.turns {
                turn.supervised = false;
            }
        }
        let mut segments = self.write(&conversation, true)?;
        for segment in &mut segments {
            segment.supervised = false;
        }
        Ok(segments)
    }

    /// Whether it says what is learned, and every token that it writes is one of the tokenizer's.
    pub fn check(&self, tokenizer: &TextTokenizer) -> Result<(), TextError> {
        self.check_tokens(&self.probe()?, tokenizer)
    }

    /// Whether every token of its prompts is one of the tokenizer's.
    pub fn check_prompts(&self, tokenizer: &TextTokenizer) -> Result<(), TextError> {
        let asked = Conversation { turns: vec![Turn::said(Role::User, "a")] };
        self.check_tokens(&self.render_prompt(&asked)?, tokenizer)
    }

    fn check_tokens(&self, segments: &[Segment], tokenizer: &TextTokenizer) -> Result<(), TextError> {
        encode(segments, tokenizer, &[]).map(|_| ()).map_err(|error| match error {
            TextError::NoSpecialToken { token } => TextError::TemplateToken { template: self.name().to_owned(), token },
            other => other,
        })
    }

    /// The tokens at which generation stops: that which ends an answer, and end-of-text.
    pub fn stop_ids(&self, tokenizer: &TextTokenizer) -> Vec<u32> {
        let end = self.end_of_answer().and_then(|name| tokenizer.token_to_id(&name));
        let mut ids = end.into_iter().chain(tokenizer.eos_id().ok()).collect::<Vec<_>>();
        ids.dedup();
        ids
    }

    /// The last special token that is learned; of a template that does not say what is learned the one behind an answer.
    fn end_of_answer(&self) -> Option<String> {
        let name = |segment: &Segment| match &segment.piece {
            Piece::Special(name) => Some(name.to_string()),
            _ => None,
        };
        if let Ok(segments) = self.probe() {
            return segments.iter().rev().filter(|segment| segment.supervised).find_map(name);
        }
        let Writing::Jinja(template) = &self.writing else { return None };
        let segments = template.render_unlearned(&answered(), self.placement, false).ok()?;
        let answer = segments
            .iter()
            .rposition(|segment| matches!(&segment.piece, Piece::Text(text) if text.contains(ANSWER)))?;
        segments[answer + 1..].iter().find_map(name)
    }

    /// The shortest conversation, written down.
    fn probe(&self) -> Result<Vec<Segment>, TextError> {
        self.render(&answered())
    }

    fn write(&self, conversation: &Conversation, open: bool) -> Result<Vec<Segment>, TextError> {
        let format = match &self.writing {
            Writing::Known(format) => *format,
            Writing::Jinja(template) if open => return template.render_unlearned(conversation, self.placement, true),
            Writing::Jinja(template) => return template.render(conversation, self.placement),
        };
        match format {
            Format::Plain | Format::Article | Format::Instructblip => single::write(format, conversation, open),
            Format::VicunaV1 | Format::Llama2 | Format::Alpaca => {
                dialogue::write(format, self.placement, conversation, open)
            }
            Format::Llama3 | Format::Chatml | Format::Qwen2Vl => {
                chat::write(format, self.placement, conversation, open)
            }
        }
    }

    /// The conversation with the standing orders that it lacks.
    fn with_orders<'a>(&self, conversation: &'a Conversation) -> Cow<'a, Conversation> {
        let first = conversation.turns.first();
        let default = match &self.writing {
            Writing::Known(format) => format.default_system(),
            Writing::Jinja(_) => None,
        };
        let orders = self.system.as_deref().or(default).unwrap_or_default();
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

/// What [`answered`] answers: words that no template contains.
const ANSWER: &str = "mmtrain probe of an answer";

/// A question and its answer.
fn answered() -> Conversation {
    Conversation { turns: vec![Turn::said(Role::User, "a"), Turn::said(Role::Assistant, ANSWER)] }
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
