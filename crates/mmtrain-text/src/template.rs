//! Templates: a conversation as segments, each marked as learned or not.
//!
//! | template | training text (learned part in brackets) |
//! |---|---|
//! | `plain` | `BOS <image> [caption EOS]` |
//! | `article` | `BOS Input: <image>\nResponse:[ caption EOS]`, with `Instruction: …\n` in front where the user says something |
//!
//! `plain` is `LLaVA`'s pretraining template (`preprocess_plain` in `llava/train/train.py`): what the
//! user says is thrown away. Deviation: `LLaVA` ends the caption with a line break and no end token; here
//! the end token is learned, so that generation knows when to stop.
//!
//! In `article` the blank after `Response:` belongs to the answer. Byte-level tokenizers put a blank in
//! front of a word into the word's token, so the prompt `Response:` is what stood there in training.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Conversation, MediaRef, Role, TextError, Turn};

/// The smallest unit of a rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words; special tokens in them are not recognised.
    Text(String),
    /// The placeholders of a medium.
    Media(MediaRef),
    /// Begin-of-text, where the tokenizer has one.
    Bos,
    /// End of what the model says.
    Eos,
}

/// A piece of the rendered conversation, and whether the model is trained to say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What stands there.
    pub piece: Piece,
    /// Whether it is learned; media never are.
    pub supervised: bool,
}

/// How a conversation is written down for the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Picture, then caption.
    #[default]
    Plain,
    /// `Input: <image>`, then `Response: {caption}`.
    Article,
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Article];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Article => "article",
        }
    }

    /// The training text of a conversation of one question and one answer.
    pub fn render(self, conversation: &Conversation) -> Result<Vec<Segment>, TextError> {
        let (user, assistant) = self.exchange(conversation)?;
        let answer = assistant.text();
        if answer.is_empty() {
            return Err(TextError::EmptyAnswer);
        }
        let mut segments = self.prompt_segments(&user.text(), &user.media(), false);
        segments.push(learned(Piece::Text(self.answer_text(&answer))));
        segments.push(learned(Piece::Eos));
        Ok(segments)
    }

    /// What stands before the answer, for generation; `media` are shown.
    ///
    /// `plain` lets the model go on from `prompt`, because in its training the answer follows the
    /// picture directly. `article` takes `prompt` as the instruction.
    pub fn render_prompt(self, prompt: &str, media: &[MediaRef]) -> Vec<Segment> {
        self.prompt_segments(prompt.trim(), media, true)
    }

    fn prompt_segments(self, prompt: &str, media: &[MediaRef], generating: bool) -> Vec<Segment> {
        let pictures = media.iter().map(|&medium| given(Piece::Media(medium)));
        let mut segments = vec![given(Piece::Bos)];
        match self {
            Self::Plain => {
                segments.extend(pictures);
                if generating && !prompt.is_empty() {
                    segments.push(text(prompt));
                }
            }
            Self::Article => {
                if !prompt.is_empty() {
                    segments.push(text(&format!("Instruction: {prompt}\n")));
                }
                segments.push(text("Input: "));
                segments.extend(pictures);
                segments.push(text("\nResponse:"));
            }
        }
        segments
    }

    fn answer_text(self, answer: &str) -> String {
        match self {
            Self::Plain => answer.to_owned(),
            Self::Article => format!(" {answer}"),
        }
    }

    /// The question and the answer, where the conversation is nothing else.
    fn exchange(self, conversation: &Conversation) -> Result<(&Turn, &Turn), TextError> {
        let mismatch = || TextError::Turns {
            template: self.name(),
            expected: "one user turn and one assistant turn of text",
            found: outline(conversation),
        };
        match conversation.turns.as_slice() {
            [user, assistant]
                if user.role == Role::User && assistant.role == Role::Assistant && assistant.media().is_empty() =>
            {
                Ok((user, assistant))
            }
            _ => Err(mismatch()),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join("`, `");
            format!("unknown template `{name}`, known are `{known}`")
        })
    }
}

/// The speakers of a conversation, for error messages: `user, assistant, user`.
fn outline(conversation: &Conversation) -> String {
    let roles = conversation.turns.iter().map(|turn| {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        match turn.media().len() {
            0 => role.to_owned(),
            n => format!("{role} with {n} media"),
        }
    });
    let roles: Vec<String> = roles.collect();
    if roles.is_empty() { "no turns".to_owned() } else { roles.join(", ") }
}

fn text(content: &str) -> Segment {
    given(Piece::Text(content.to_owned()))
}

fn given(piece: Piece) -> Segment {
    Segment { piece, supervised: false }
}

fn learned(piece: Piece) -> Segment {
    Segment { piece, supervised: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    /// Segments as a line: learned ones in brackets.
    fn show(segments: &[Segment]) -> String {
        let shown = segments.iter().map(|segment| {
            let piece = match &segment.piece {
                Piece::Text(text) => text.clone(),
                Piece::Media(medium) => format!("<{}>", medium.index),
                Piece::Bos => "BOS".into(),
                Piece::Eos => "EOS".into(),
            };
            if segment.supervised { format!("[{piece}]") } else { piece }
        });
        shown.collect()
    }

    fn turn(role: Role, parts: Vec<Part>) -> Turn {
        Turn::new(role, parts)
    }

    fn asked(question: &str) -> Conversation {
        let question = vec![Part::Media(MediaRef::image(0)), Part::Text(question.into())];
        let answer = vec![Part::Text("a cat .\n".into())];
        Conversation { turns: vec![turn(Role::User, question), turn(Role::Assistant, answer)] }
    }

    #[track_caller]
    fn check(template: Template, conversation: &Conversation, expected: &str) {
        let segments = template.render(conversation).expect("segments");
        assert_eq!(show(&segments), expected);
    }

    #[test]
    fn plain_throws_the_question_away() {
        check(Template::Plain, &asked("What?"), "BOS<0>[a cat .][EOS]");
    }

    #[test]
    fn article_without_and_with_an_instruction() {
        let expected = "BOSInput: <0>\nResponse:[ a cat .][EOS]";
        check(Template::Article, &Conversation::caption("a cat ."), expected);
        let expected = "BOSInstruction: What?\nInput: <0>\nResponse:[ a cat .][EOS]";
        check(Template::Article, &asked(" What? "), expected);
    }

    #[test]
    fn prompts_stop_where_the_model_speaks() {
        let show = |template: Template, prompt| show(&template.render_prompt(prompt, &[MediaRef::image(0)]));
        assert_eq!(show(Template::Plain, ""), "BOS<0>");
        assert_eq!(show(Template::Plain, "a photo of"), "BOS<0>a photo of");
        assert_eq!(show(Template::Article, ""), "BOSInput: <0>\nResponse:");
        let expected = "BOSInstruction: What?\nInput: <0>\nResponse:";
        assert_eq!(show(Template::Article, "What?"), expected);
    }

    #[test]
    fn other_shapes_are_refused_with_both_sides_named() {
        let mut conversation = asked("What?");
        conversation.turns.swap(0, 1);
        let error = Template::Plain.render(&conversation).expect_err("swapped");
        assert_eq!(
            error.to_string(),
            "template `plain` wants one user turn and one assistant turn of text, the conversation has assistant, user with 1 media"
        );
        assert!(Template::Article.render(&Conversation::default()).is_err());
    }

    #[test]
    fn an_answer_of_blanks_is_empty() {
        let error = Template::Plain.render(&Conversation::caption(" \n"));
        assert_eq!(error.expect_err("empty").reason(), "empty_caption");
    }

    #[test]
    fn names_parse_back() {
        for template in Template::ALL {
            assert_eq!(template.to_string().parse(), Ok(template));
        }
        assert!("chat".parse::<Template>().is_err_and(|error| error.contains("plain")));
    }
}
