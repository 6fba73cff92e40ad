//! Templates of questions and answers in turn: `vicuna_v1`, `llama2`, `alpaca`.
//!
//! Texts follow `llava/conversation.py` and `LLaMA-Factory`'s `template.py`.

use super::content::{Markup, Placement, Writer, is_learned};
use super::{Format, mismatch};
use crate::{Conversation, Piece, Role, Segment, TextError, Turn};

/// What stands around standing orders, questions and answers.
pub(super) struct Marks {
    pub(super) before_system: &'static str,
    /// Between standing orders and the first question.
    pub(super) after_system: &'static str,
    /// Before a question without standing orders in front.
    pub(super) before: &'static str,
    pub(super) after: &'static str,
    /// Before every question but the first.
    pub(super) between: &'static str,
    pub(super) before_answer: &'static str,
    /// Before the end of the sequence.
    pub(super) after_answer: &'static str,
}

impl Marks {
    pub(super) fn of(format: Format) -> Self {
        match format {
            Format::Llama2 => Self {
                before_system: "[INST] <<SYS>>\n",
                after_system: "\n<</SYS>>\n\n",
                before: "[INST] ",
                after: " [/INST]",
                between: "",
                before_answer: " ",
                after_answer: " ",
            },
            Format::Alpaca => Self {
                before_system: "",
                after_system: "\n\n### Instruction:\n",
                before: "### Instruction:\n",
                after: "\n\n### Response:\n",
                between: "\n\n",
                before_answer: "",
                after_answer: "",
            },
            _ => Self {
                before_system: "",
                after_system: " USER: ",
                before: "USER: ",
                after: " ASSISTANT:",
                between: "",
                before_answer: " ",
                after_answer: "",
            },
        }
    }
}

/// The conversation, or with `open` what stands before the answer to its last question.
pub(super) fn write(
    format: Format,
    placement: Placement,
    conversation: &Conversation,
    open: bool,
) -> Result<Vec<Segment>, TextError> {
    let (system, exchanges) = take_apart(format, conversation, open)?;
    let mut writer = Writer::new(Markup::LineBreak, placement);
    for (at, (user, assistant)) in exchanges.into_iter().enumerate() {
        let system = system.filter(|_| at == 0);
        question(&mut writer, format, at, system, user)?;
        if let Some(assistant) = assistant {
            answer(&mut writer, format, assistant)?;
        }
    }
    Ok(writer.finish())
}

fn question(
    writer: &mut Writer,
    format: Format,
    at: usize,
    system: Option<&Turn>,
    user: &Turn,
) -> Result<(), TextError> {
    if at == 0 || format == Format::Llama2 {
        writer.piece(Piece::Bos, false);
    }
    let marks = Marks::of(format);
    if at > 0 {
        writer.given(marks.between);
    }
    match system {
        Some(system) => {
            writer.turn(system, marks.before_system)?;
            writer.given(marks.after_system);
        }
        None => writer.given(marks.before),
    }
    writer.turn(user, "")?;
    writer.given(marks.after);
    Ok(())
}

fn answer(writer: &mut Writer, format: Format, assistant: &Turn) -> Result<(), TextError> {
    let (supervised, marks) = (is_learned(assistant), Marks::of(format));
    writer.turn(assistant, marks.before_answer)?;
    writer.text(marks.after_answer, supervised);
    writer.piece(Piece::Eos, supervised);
    Ok(())
}

type Exchange<'a> = (&'a Turn, Option<&'a Turn>);

/// Standing orders, if any, and pairs of question and answer; with `open` the last question has no answer yet.
fn take_apart(
    format: Format,
    conversation: &Conversation,
    open: bool,
) -> Result<(Option<&Turn>, Vec<Exchange<'_>>), TextError> {
    let (system, turns) = match conversation.turns.split_first() {
        Some((first, rest)) if first.role == Role::System => (Some(first), rest),
        _ => (None, conversation.turns.as_slice()),
    };
    let mut in_turn = turns.iter().zip([Role::User, Role::Assistant].into_iter().cycle());
    let in_turn = in_turn.all(|(turn, expected)| turn.role == expected);
    if !in_turn || turns.is_empty() || (turns.len() % 2 == 1) != open {
        return Err(mismatch(format, expected(open), conversation));
    }
    Ok((system, turns.chunks(2).map(|pair| (&pair[0], pair.get(1))).collect()))
}

fn expected(open: bool) -> &'static str {
    if open {
        "user and assistant in turn, the user first and last, at most one system turn before them"
    } else {
        "user and assistant in turn, the user first, the assistant last, at most one system turn before them"
    }
}
