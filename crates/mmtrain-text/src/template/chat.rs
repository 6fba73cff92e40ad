//! Templates that head every turn with its speaker, in any order: `llama3`, `chatml`, `qwen2_vl`.

use super::content::{Markup, Placement, Writer, is_learned};
use super::{Format, mismatch};
use crate::{Conversation, Piece, Role, Segment, TextError};

/// The conversation, or with `open` what stands before the answer to its last turn.
pub(super) fn write(
    format: Format,
    placement: Placement,
    conversation: &Conversation,
    open: bool,
) -> Result<Vec<Segment>, TextError> {
    check(format, conversation, open)?;
    let markup = if format == Format::Qwen2Vl { Markup::Qwen } else { Markup::LineBreak };
    let mut writer = Writer::new(markup, placement);
    if format == Format::Llama3 {
        writer.piece(Piece::Bos, false);
    }
    for turn in &conversation.turns {
        head(&mut writer, format, turn.role);
        writer.turn(turn, "")?;
        end(&mut writer, format, is_learned(turn));
    }
    if open {
        head(&mut writer, format, Role::Assistant);
    }
    Ok(writer.finish())
}

fn head(writer: &mut Writer, format: Format, role: Role) {
    if format == Format::Llama3 {
        writer.special("<|start_header_id|>", false);
        writer.given(role.name());
        writer.special("<|end_header_id|>", false);
        writer.given("\n\n");
    } else {
        writer.special("<|im_start|>", false);
        writer.given(&format!("{}\n", role.name()));
    }
}

fn end(writer: &mut Writer, format: Format, supervised: bool) {
    if format == Format::Llama3 {
        writer.special("<|eot_id|>", supervised);
    } else {
        writer.special("<|im_end|>", supervised);
        writer.given("\n");
    }
}

fn check(format: Format, conversation: &Conversation, open: bool) -> Result<(), TextError> {
    let roles = || conversation.turns.iter().map(|turn| turn.role);
    match open {
        false if !roles().any(|role| role == Role::Assistant) => {
            Err(mismatch(format, "at least one assistant turn", conversation))
        }
        true if roles().next_back().is_none_or(|role| role == Role::Assistant) => {
            Err(mismatch(format, "a last turn that waits for an answer", conversation))
        }
        _ => Ok(()),
    }
}
