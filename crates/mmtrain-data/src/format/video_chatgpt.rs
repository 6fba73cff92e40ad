//! `VideoInstruct100K.json` of Video-ChatGPT: `q`, `a` and `video_id`.
//!
//! As its own conversion has it (`scripts/convert_instruction_json_to_training_format.py`), the clip stands behind the
//! question in rows of even number, from 0, and before it in the others; [`Numbered`] tells rows their number.

use mmtrain_text::{MediaKind, MediaRef, Part, Role, Turn};

use super::media::named;
use super::{NamedMedium, Parsed, Placeholder, Shape, llava, truth, turns};
use crate::ShardProblem;
use crate::cell::Cell;
use crate::rows::{RowPlace, Rows};
use crate::sample::Reject;

/// The column that [`Numbered`] adds.
pub(super) const NUMBER: &str = "__row__";

/// Questions and answers about clips.
#[derive(Debug, Clone, Copy, Default)]
pub struct VideoChatGpt {
    /// Where the clip stands; with [`Placeholder::Front`] always before the question.
    pub placeholder: Placeholder,
}

impl Shape for VideoChatGpt {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let question = turns::words(row.get("q"), "q")?;
        let mut answer = turns::words(row.get("a"), "a")?;
        llava::remove_noise(&mut answer);
        let clip = clip(row)?;
        let shown = Part::Media(MediaRef::video(0));
        let is_even = row.get(NUMBER).as_int().is_some_and(|number| number % 2 == 0);
        let behind = is_even && self.placeholder == Placeholder::Keep;
        let parts = if behind {
            vec![Part::Text(format!("{question}\n")), shown]
        } else {
            vec![shown, Part::Text(format!("\n{question}"))]
        };
        let said = vec![Turn::new(Role::User, parts), Turn::said(Role::Assistant, answer)];
        turns::check(&said)?;
        Ok(Parsed { media: vec![clip], truth: truth(row), ..Parsed::said(said) })
    }
}

/// Ids are `ActivityNet`'s and may begin with `-`; files have one of several extensions, of which `.mp4` is tried first.
fn clip(row: &Cell) -> Result<NamedMedium, Reject> {
    match row.get("video_id").as_str() {
        Some(id) if !id.is_empty() => Ok(named(MediaKind::Video, format!("{id}.mp4"))),
        _ => Err(Reject::new("missing_media", format!("`video_id` is {}, not a name", row.get("video_id").kind()))),
    }
}

/// Rows that know their number in their file.
pub struct Numbered(pub Box<dyn Rows>);

impl Rows for Numbered {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn row(&self, index: usize) -> Result<Cell, Reject> {
        let mut row = self.0.row(index)?;
        if let Cell::Struct(fields) = &mut row {
            fields.push((NUMBER.to_owned(), Cell::Int(self.0.place(index).row as i64)));
        }
        Ok(row)
    }

    fn place(&self, index: usize) -> RowPlace<'_> {
        self.0.place(index)
    }

    fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    fn problems(&self) -> &[ShardProblem] {
        self.0.problems()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Json, check_shape, reason_of, written};
    use super::*;

    const KEEP: VideoChatGpt = VideoChatGpt { placeholder: Placeholder::Keep };

    #[test]
    fn the_clip_stands_behind_the_question_in_even_rows_and_before_it_in_odd_ones() {
        let row = r#"{"q": "What is the man doing?", "a": "He swims.", "video_id": "v_k_ZXmr8pmrs"}"#;
        let rows = Numbered(Json::boxed(&[row, row]));
        let said = |shape: VideoChatGpt| {
            [0, 1].map(|index| {
                let parsed = shape.parse(&rows.row(index).expect("a row"), 0).expect("parsed");
                written(&parsed.conversation)
            })
        };
        let (before, behind) = (
            "U: [video 0]\nWhat is the man doing? | A: He swims.",
            "U: What is the man doing?\n[video 0] | A: He swims.",
        );
        assert_eq!(said(KEEP), [behind, before]);
        assert_eq!(said(VideoChatGpt { placeholder: Placeholder::Front }), [before, before]);
        check_shape(&KEEP, row, before, &[named(MediaKind::Video, "v_k_ZXmr8pmrs.mp4")]);
    }

    #[test]
    fn ids_may_begin_with_a_dash_and_noise_is_removed() {
        let row = r#"{"q": "Who?", "a": "She.QA_GT_caption_based_noisy", "video_id": "-AbC_1"}"#;
        let front = VideoChatGpt { placeholder: Placeholder::Front };
        check_shape(&front, row, "U: [video 0]\nWho? | A: She.", &[named(MediaKind::Video, "-AbC_1.mp4")]);
    }

    #[test]
    fn what_cannot_be_used_has_a_reason() {
        assert_eq!(reason_of(&KEEP, r#"{"q": "a?", "a": " ", "video_id": "v"}"#), "empty_answer");
        assert_eq!(reason_of(&KEEP, r#"{"q": "a?", "a": "b"}"#), "missing_media");
        assert_eq!(reason_of(&KEEP, r#"{"q": 1, "a": "b", "video_id": "v"}"#), "bad_turns");
    }
}
