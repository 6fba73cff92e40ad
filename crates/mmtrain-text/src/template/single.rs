//! Templates of one question and one answer: `plain`, `article`, `instructblip`.

use super::content::is_learned;
use super::{Format, mismatch};
use crate::{Conversation, Piece, Role, Segment, TextError, Turn};

/// The conversation, or with `open` what stands before its answer.
pub(super) fn write(format: Format, conversation: &Conversation, open: bool) -> Result<Vec<Segment>, TextError> {
    let (user, assistant) = exchange(format, conversation, open)?;
    let mut segments = prompt(format, user, open);
    if let Some(assistant) = assistant {
        let (answer, supervised) = (assistant.text(), is_learned(assistant));
        if answer.is_empty() && supervised {
            return Err(TextError::EmptyAnswer);
        }
        let answer = if format == Format::Plain { answer } else { format!(" {answer}") };
        segments.push(Segment { piece: Piece::Text(answer), supervised });
        segments.push(Segment { piece: Piece::Eos, supervised });
    }
    Ok(segments)
}

fn prompt(format: Format, user: &Turn, open: bool) -> Vec<Segment> {
    let (words, bos) = (user.text(), Segment::given(Piece::Bos));
    let media = user.media().into_iter().map(|medium| Segment::given(Piece::Media(medium)));
    let words_if = |shown: bool| (shown && !words.is_empty()).then(|| Segment::text(words.as_str()));
    match format {
        Format::Article => {
            let instruction = (!words.is_empty()).then(|| Segment::text(format!("Instruction: {words}\n")));
            let head = std::iter::once(bos).chain(instruction).chain([Segment::text("Input: ")]);
            head.chain(media).chain([Segment::text("\nResponse:")]).collect()
        }
        Format::Instructblip => media.chain([bos]).chain(words_if(true)).collect(),
        _ => std::iter::once(bos).chain(media).chain(words_if(open)).collect(),
    }
}

/// The question and the answer, where the conversation is nothing else.
fn exchange(format: Format, conversation: &Conversation, open: bool) -> Result<(&Turn, Option<&Turn>), TextError> {
    match conversation.turns.as_slice() {
        [user] if open && user.role == Role::User => Ok((user, None)),
        [user, assistant]
            if !open
                && user.role == Role::User
                && assistant.role == Role::Assistant
                && assistant.media().is_empty() =>
        {
            Ok((user, Some(assistant)))
        }
        _ if open => Err(mismatch(format, "one user turn", conversation)),
        _ => Err(mismatch(format, "one user turn and one assistant turn of text", conversation)),
    }
}
