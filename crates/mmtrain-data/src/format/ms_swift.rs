//! Rows as ms-swift has them: `messages` with `images`, `videos`, `audios` and `objects`, and the dialects that it turns into
//! them: `query`, `response` and `history`; a `conversation` of `human` and `assistant`; `alpaca`.
//!
//! A pair has `rejected_response` (the answer in place of the last one) or `rejected_messages`; `label` judges one answer.
//! `loss` of a message says whether it is learned. One answer alone is text to go on with.

use mmtrain_text::Role;

use super::content::{self, Dialogue, as_messages, message};
use super::pair::pair;
use super::{Parsed, Placeholder, Shape, grounding, media, truth, turns};
use crate::Feedback;
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of ms-swift.
#[derive(Debug, Clone, Copy, Default)]
pub struct MsSwift {
    /// Where media stand.
    pub placeholder: Placeholder,
}

impl Shape for MsSwift {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let messages = messages_of(row)?;
        let chosen = self.side(row, &messages)?;
        if let Some(rejected) = rejected_of(row, &messages)? {
            return Ok(Parsed { truth: truth(row), ..pair(chosen, self.rejected_side(row, &rejected)?)? });
        }
        let (said, media) = chosen;
        turns::check(&said)?;
        let feedback = row.get("label").as_bool().map(Feedback::Wanted);
        Ok(Parsed { feedback, media, truth: truth(row), ..Parsed::said(said) })
    }
}

impl MsSwift {
    fn side(self, row: &Cell, messages: &[Cell]) -> Result<Dialogue, Reject> {
        let mut dialogue = content::dialogue(&Cell::List(messages.to_vec()), media::of_row(row)?, self.placeholder)?;
        grounding::fill(&mut dialogue.0, row.get("objects"))?;
        Ok(dialogue)
    }

    /// Both answers have the same media; other ones (`rejected_images`) are a mismatch.
    fn rejected_side(self, row: &Cell, messages: &[Cell]) -> Result<Dialogue, Reject> {
        let others = row.get("rejected_images");
        if !others.items().is_empty() && others != row.get("images") {
            return Err(Reject::new("media_mismatch", "`rejected_images` are not `images`"));
        }
        self.side(row, messages)
    }
}

/// The messages of the worse answer, where there is one.
fn rejected_of(row: &Cell, messages: &[Cell]) -> Result<Option<Vec<Cell>>, Reject> {
    match (row.get("rejected_messages"), row.get("rejected_response")) {
        (Cell::List(rejected), _) => Ok(Some(rejected.clone())),
        (Cell::Null, Cell::Null) => Ok(None),
        (_, rejected) => {
            let Some((_, before)) = messages.split_last() else {
                return Err(Reject::new("bad_turns", "no turns"));
            };
            let answer = as_messages(rejected, Role::Assistant);
            Ok(Some([before, answer.items()].concat()))
        }
    }
}

/// The messages of a row in any dialect.
fn messages_of(row: &Cell) -> Result<Vec<Cell>, Reject> {
    let mut messages = match row.get_any(&["messages", "conversations", "conversation"]) {
        Cell::Null => exchanges(row)?,
        list => turns::objects(list).iter().flat_map(spoken).collect(),
    };
    let has_system = messages.first().is_some_and(|first| matches!(turns::role_of(first), Ok(Role::System)));
    match row.get("system") {
        Cell::Text(system) if !system.is_empty() && !has_system => {
            messages.insert(0, message("system", Cell::Text(system.clone())));
        }
        _ => {}
    }
    Ok(messages)
}

/// A message, or the two of `{"human": …, "assistant": …}`.
fn spoken(item: &Cell) -> Vec<Cell> {
    match (item.get("human"), item.get("assistant")) {
        (Cell::Null, Cell::Null) => vec![item.clone()],
        (question, answer) => vec![message("user", question.clone()), message("assistant", answer.clone())],
    }
}

/// `history`, then `query` or `instruction` and `input`, then `response` or `output`.
fn exchanges(row: &Cell) -> Result<Vec<Cell>, Reject> {
    let mut messages = Vec::new();
    for pair in row.get("history").items() {
        let [question, answer] = pair.items() else {
            return Err(Reject::new("bad_turns", "`history` is no list of questions and answers"));
        };
        messages.extend([message("user", question.clone()), message("assistant", answer.clone())]);
    }
    let asked = [row.get_any(&["query", "instruction"]), row.get("input")];
    let asked = asked.iter().filter_map(|cell| cell.as_str()).filter(|text| !text.is_empty()).collect::<Vec<_>>();
    if !asked.is_empty() {
        messages.push(message("user", Cell::Text(asked.join("\n"))));
    }
    let answer = row.get_any(&["response", "output"]);
    if !answer.is_null() {
        messages.push(message("assistant", answer.clone()));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use mmtrain_text::MediaKind::Image;

    use super::super::media::named;
    use super::super::tests::{cell, check_pair, check_shape, reason_of};
    use super::*;

    const KEEP: MsSwift = MsSwift { placeholder: Placeholder::Keep };

    #[test]
    fn messages_say_whether_they_are_learned() {
        let row = r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "<image><image>Differences?"},
            {"role": "assistant", "content": "a", "loss": false}, {"role": "user", "content": "More?"},
            {"role": "assistant", "content": "b", "loss": true}], "images": ["d/1.jpg", "d/2.jpg"], "videos": [], "audios": []}"#;
        let media = ["d/1.jpg", "d/2.jpg"].map(|name| named(Image, name));
        check_shape(&KEEP, row, "S: s | U: [image 0][image 1]Differences? | a: a | U: More? | A: b", &media);
    }

    #[test]
    fn names_and_boxes_stand_in_the_text() {
        let row = |objects: &str| {
            format!(
                r#"{{"messages": [{{"role": "user", "content": "<image>Find <ref-object>"}}, {{"role": "assistant",
                "content": "<bbox>"}}], "images": ["1.jpg"], "objects": {objects}}}"#
            )
        };
        let real =
            r#"{"ref": ["a dog"], "bbox": [[331.5, 761.4, 853.5, 1594.8]], "bbox_type": "real", "image_id": [0]}"#;
        let media = [named(Image, "1.jpg")];
        check_shape(&KEEP, &row(real), "U: [image 0]Find a dog | A: [(332,761),(854,1595)]", &media);
        let norm1 = r#"{"ref": ["a dog"], "bbox": [[0.1, 0.25, 0.5, 1]], "bbox_type": "norm1"}"#;
        check_shape(&KEEP, &row(norm1), "U: [image 0]Find a dog | A: [(100,250),(500,1000)]", &media);
        for bad in [r#"{"ref": ["a"], "bbox": []}"#, r#"{"ref": ["a"], "bbox": [[1, 2, 3]]}"#, r#"{"ref": [1]}"#] {
            assert_eq!(reason_of(&KEEP, &row(bad)), "bad_objects");
        }
    }

    #[test]
    fn a_rejected_response_takes_the_place_of_the_last_answer() {
        let messages = r#""messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}]"#;
        let row = cell(&format!(r#"{{{messages}, "rejected_response": "bad"}}"#));
        check_pair(&KEEP, &row, 0, "U: q | A: good", "U: q | A: bad");
        let row = cell(&format!(
            r#"{{{messages}, "rejected_messages": [{{"role": "user", "content": "q"}}, {{"role": "assistant", "content": "bad"}}]}}"#
        ));
        check_pair(&KEEP, &row, 0, "U: q | A: good", "U: q | A: bad");
        assert_eq!(reason_of(&KEEP, &format!(r#"{{{messages}, "rejected_response": "good"}}"#)), "identical_answers");
        let other = r#""messages": [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "good"}],
            "images": ["a"], "rejected_images": ["b"], "rejected_response": "bad""#;
        assert_eq!(reason_of(&KEEP, &format!("{{{other}}}")), "media_mismatch");
        let judged = KEEP.parse(&cell(&format!(r#"{{{messages}, "label": true}}"#)), 0).expect("parsed");
        assert_eq!(judged.feedback, Some(Feedback::Wanted(true)));
    }

    #[test]
    fn other_dialects_say_the_same() {
        let expected = "S: s | U: q | A: a | U: r | A: b";
        for row in [
            r#"{"system": "s", "query": "r", "response": "b", "history": [["q", "a"]]}"#,
            r#"{"system": "s", "conversation": [{"human": "q", "assistant": "a"}, {"human": "r", "assistant": "b"}]}"#,
            r#"{"system": "s", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"},
                {"from": "user", "value": "r"}, {"from": "assistant", "value": "b"}]}"#,
            r#"{"system": "s", "instruction": "r", "input": "", "output": "b", "history": [["q", "a"]]}"#,
        ] {
            check_shape(&KEEP, row, expected, &[]);
        }
    }

    #[test]
    fn one_answer_alone_is_text_and_tools_are_rejected() {
        check_shape(
            &KEEP,
            r#"{"messages": [{"role": "assistant", "content": "I love music."}]}"#,
            "A: I love music.",
            &[],
        );
        let tool =
            r#"{"tools": "[]", "messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "x"}]}"#;
        assert_eq!(reason_of(&KEEP, tool), "tools_not_supported");
        let unused =
            r#"{"tools": "[]", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#;
        check_shape(&KEEP, unused, "U: q | A: a", &[]);
    }
}
