//! Clotho-AQA: `file_name`, `QuestionText`, `answer` and `confidence`.
//!
//! Three people answered each question, each in a row of its own; `confidence` says how sure they were. All rows are read: where
//! people differ, so do the answers.

use mmtrain_text::{MediaKind, MediaRef, Part, Role, Turn};

use super::captions::name_at;
use super::{Parsed, Shape, truth, turns};
use crate::cell::Cell;
use crate::sample::Reject;

/// A question about a sound, which stands before it, and one answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClothoAqa;

impl Shape for ClothoAqa {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let question = turns::words(row.get("QuestionText"), "QuestionText")?;
        let answer = turns::words(row.get("answer"), "answer")?;
        let sound = name_at(row, "file_name", MediaKind::Audio)?;
        let parts = vec![Part::Media(MediaRef::audio(0)), Part::Text(format!("\n{}", question.trim()))];
        let said = vec![Turn::new(Role::User, parts), Turn::said(Role::Assistant, answer.trim())];
        turns::check(&said)?;
        Ok(Parsed { media: vec![sound], truth: truth(row), ..Parsed::said(said) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::media::named;
    use super::super::tests::{check_shape, reason_of};
    use super::*;

    #[test]
    fn a_row_is_a_question_about_a_sound_and_an_answer() {
        let row = r#"{"file_name": " Creek .wav", "QuestionText": " Is it outdoors? ", "answer": "yes ", "confidence": "maybe"}"#;
        check_shape(
            &ClothoAqa,
            row,
            "U: [audio 0]\nIs it outdoors? | A: yes",
            &[named(MediaKind::Audio, " Creek .wav")],
        );
    }

    #[test]
    fn what_cannot_be_used_has_a_reason() {
        assert_eq!(
            reason_of(&ClothoAqa, r#"{"file_name": "a.wav", "QuestionText": "b?", "answer": " "}"#),
            "empty_answer"
        );
        assert_eq!(reason_of(&ClothoAqa, r#"{"file_name": "a.wav", "answer": "yes"}"#), "bad_turns");
        assert_eq!(reason_of(&ClothoAqa, r#"{"QuestionText": "b?", "answer": "yes"}"#), "missing_media");
    }
}
