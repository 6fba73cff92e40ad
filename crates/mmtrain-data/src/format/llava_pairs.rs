//! Preference data in `LLaVA`'s spelling: POVID's two conversations, and the two outputs of `LLaVA-Human-Preference-10K`.

use mmtrain_text::{Role, Turn};

use super::content::Dialogue;
use super::pair::pair;
use super::turns::{self, Opening};
use super::{Parsed, Placeholder, Shape, media, placeholder, truth};
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of `conversations` and `rejected_conversations` (POVID), or of `conversations`, `output_1`, `output_2` and
/// `preference` (1 or 2).
#[derive(Debug, Clone, Copy, Default)]
pub struct LlavaPairs {
    /// Where media stand.
    pub placeholder: Placeholder,
}

impl Shape for LlavaPairs {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let (chosen, rejected) = match row.get("rejected_conversations") {
            Cell::Null => outputs(row)?,
            rejected => (said(row.get("conversations"))?, said(rejected)?),
        };
        let parsed = pair(self.side(row, chosen)?, self.side(row, rejected)?)?;
        Ok(Parsed { truth: truth(row), ..parsed })
    }
}

impl LlavaPairs {
    fn side(self, row: &Cell, said: Vec<Turn>) -> Result<Dialogue, Reject> {
        let media = media::of_row(row)?;
        let mut said = turns::without_loose_ends(said, Opening::DropAnswer);
        placeholder::place_or_show(&mut said, &media, self.placeholder)?;
        Ok((said, media))
    }
}

/// The conversation with the preferred output, and with the other one.
fn outputs(row: &Cell) -> Result<(Vec<Turn>, Vec<Turn>), Reject> {
    let mut prompt = said(row.get("conversations"))?;
    if prompt.last().is_some_and(|last| last.role == Role::Assistant) {
        prompt.pop();
    }
    let with = |key: &str| -> Result<Vec<Turn>, Reject> {
        let mut side = prompt.clone();
        side.push(turns::said(row.get(key))?);
        Ok(side)
    };
    match row.get("preference").to_id().as_deref() {
        Some("1") => Ok((with("output_1")?, with("output_2")?)),
        Some("2") => Ok((with("output_2")?, with("output_1")?)),
        other => Err(Reject::new("unrated", format!("`preference` is {}, not 1 or 2", other.unwrap_or("nothing")))),
    }
}

/// The turns of a list, which may lie in another list.
fn said(messages: &Cell) -> Result<Vec<Turn>, Reject> {
    match messages.items() {
        [inner @ Cell::List(_)] => said(inner),
        _ => turns::objects(messages).iter().map(turns::said).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cell, check_pair, reason_of};
    use super::*;

    const KEEP: LlavaPairs = LlavaPairs { placeholder: Placeholder::Keep };

    fn talk(answers: &[&str]) -> String {
        let turns = answers.iter().enumerate().map(|(at, answer)| {
            let mark = if at == 0 { "<image>\\n" } else { "" };
            format!(r#"{{"from": "human", "value": "{mark}q{at}"}}, {{"from": "gpt", "value": "{answer}"}}"#)
        });
        format!("[{}]", turns.collect::<Vec<_>>().join(", "))
    }

    fn povid(chosen: &str, rejected: &str) -> String {
        format!(
            r#"{{"id": "1", "image": "./data/coco/COCO_train2014_000000000009.jpg", "conversations": {chosen},
            "rejected_conversations": {rejected}}}"#
        )
    }

    #[test]
    fn povid_has_two_conversations_that_may_differ_in_every_answer() {
        let row = povid(&talk(&["a", "b"]), &talk(&["a", "c"]));
        check_pair(
            &KEEP,
            &cell(&row),
            0,
            "U: [image 0]\nq0 | a: a | U: q1 | A: b",
            "U: [image 0]\nq0 | a: a | U: q1 | A: c",
        );
        let row = povid(&talk(&["a", "b"]), &talk(&["x", "y"]));
        check_pair(
            &KEEP,
            &cell(&row),
            0,
            "U: [image 0]\nq0 | A: a | U: q1 | A: b",
            "U: [image 0]\nq0 | A: x | U: q1 | A: y",
        );
        assert_eq!(reason_of(&KEEP, &povid(&talk(&["a"]), &talk(&["a"]))), "identical_answers");
        assert_eq!(reason_of(&KEEP, &povid(&talk(&["a"]), &talk(&["a", "b"]))), "prompts_differ");
        assert_eq!(reason_of(&KEEP, &povid(&talk(&["a"]), &talk(&["b"]).replace("q0", "other"))), "prompts_differ");
        assert_eq!(
            reason_of(&KEEP, &povid(&talk(&["a"]), &talk(&["b"]).replace("<image>", "<image><image>"))),
            "media_mismatch"
        );
    }

    #[test]
    fn the_preferred_output_is_the_better_answer() {
        let row = |conversations: &str, preference: &str| {
            format!(
                r#"{{"image": "a.jpg", "conversations": {conversations}, "preference": {preference},
                "output_1": {{"from": "gpt", "value": "one"}}, "output_2": {{"from": "gpt", "value": "two"}}}}"#
            )
        };
        let (one, two) = ("U: [image 0]\nq0 | A: one", "U: [image 0]\nq0 | A: two");
        check_pair(&KEEP, &cell(&row(&talk(&["old"]), "1")), 0, one, two);
        check_pair(&KEEP, &cell(&row(&format!("[{}]", talk(&["old"])), "2")), 0, two, one);
        assert_eq!(reason_of(&KEEP, &row(&talk(&["old"]), "0")), "unrated");
    }
}
