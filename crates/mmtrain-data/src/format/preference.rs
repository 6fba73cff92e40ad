//! Preference data as TRL has them: `prompt`, `chosen` and `rejected` as words or messages, or `prompt`, `completion` and
//! `label` of one answer (KTO).
//!
//! `RLAIF-V`, `MMPR` and 2U1's rows are the same with `question` or `prompt` in words; a row of `RLHF-V` has them as JSON in
//! its column `text`. Without a prompt, `chosen` and `rejected` are whole conversations, which LLaMA-Factory's version 1 calls
//! `chosen_messages` and `rejected_messages`.

use std::borrow::Cow;

use mmtrain_text::Role;

use super::content::{self, Dialogue, as_messages};
use super::messages::{joined, messages_of};
use super::pair::pair;
use super::{Parsed, Placeholder, Shape, media, truth, turns};
use crate::Feedback;
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of two answers, or of one with a judgement.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preference {
    /// Where media stand; what no placeholder names is shown with the first question.
    pub placeholder: Placeholder,
}

impl Shape for Preference {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let words = words_of(row)?;
        let parsed = match row.get("label").as_bool() {
            Some(label) => self.judged(row, label)?,
            None => pair(self.side(row, &words, "chosen")?, self.side(row, &words, "rejected")?)?,
        };
        Ok(Parsed { truth: truth(row), ..parsed })
    }
}

impl Preference {
    fn judged(self, row: &Cell, label: bool) -> Result<Parsed, Reject> {
        let (said, media) = content::dialogue(&messages_of(row), media::of_row(row)?, self.placeholder)?;
        turns::check(&said)?;
        Ok(Parsed { feedback: Some(Feedback::Wanted(label)), media, ..Parsed::said(said) })
    }

    /// The conversation that ends in the answer under `key`.
    fn side(self, row: &Cell, words: &Cell, key: &'static str) -> Result<Dialogue, Reject> {
        let answer = answer_of(words, key);
        if answer.is_null() {
            return Err(Reject::new("empty_answer", format!("no `{key}`")));
        }
        let messages = match words.get_any(&["prompt", "question"]) {
            prompt if prompt.is_null() || is_whole(answer) => whole(words, key)?,
            prompt => joined(prompt, answer),
        };
        content::dialogue(&messages, media::of_row(row)?, self.placeholder)
    }
}

/// The row, or what the JSON in its column `text` says (`RLHF-V`).
fn words_of(row: &Cell) -> Result<Cow<'_, Cell>, Reject> {
    match (row.get("text"), row.get("chosen")) {
        (Cell::Text(json), Cell::Null) if row.get("label").is_null() => {
            let words = Cell::from_json(json.as_bytes());
            Ok(Cow::Owned(words.map_err(|error| Reject::new("bad_json", format!("`text`: {error}")))?))
        }
        _ => Ok(Cow::Borrowed(row)),
    }
}

/// `chosen` or `rejected`, under either of their names.
fn answer_of<'a>(words: &'a Cell, key: &str) -> &'a Cell {
    words.get_any(&[key, &format!("{key}_messages")])
}

/// Whether an answer is a conversation from its beginning.
fn is_whole(answer: &Cell) -> bool {
    let messages = turns::objects(answer);
    messages.first().is_some_and(|first| matches!(turns::role_of(first), Ok(Role::User | Role::System)))
}

/// Conversations that hold their prompt; of words, what both begin with is the prompt.
fn whole(words: &Cell, key: &'static str) -> Result<Cell, Reject> {
    let (Cell::Text(chosen), Cell::Text(rejected)) = (words.get("chosen"), words.get("rejected")) else {
        return Ok(as_messages(answer_of(words, key), Role::Assistant));
    };
    let (prompt, answer) = words.get(key).as_str().unwrap_or_default().split_at(common_prefix(chosen, rejected));
    if prompt.trim().is_empty() {
        return Err(Reject::new("prompts_differ", "no prompt, and both answers begin differently"));
    }
    Ok(joined(&Cell::Text(prompt.to_owned()), &Cell::Text(answer.to_owned())))
}

/// Bytes that two texts have in common in front, up to the last blank (TRL's `extract_prompt`).
fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.char_indices().zip(b.chars()).take_while(|((_, x), y)| x == y);
    let end = same.last().map_or(0, |((at, last), _)| at + last.len_utf8());
    if a[..end].ends_with(' ') { end - 1 } else { end }
}

#[cfg(test)]
mod tests {
    use mmtrain_text::MediaKind::Image;

    use super::super::media::named;
    use super::super::tests::{cell, check_pair, reason_of, written};
    use super::*;

    const KEEP: Preference = Preference { placeholder: Placeholder::Keep };

    #[track_caller]
    fn check(json: &str, chosen: &str, rejected: &str) {
        check_pair(&KEEP, &cell(json), 0, chosen, rejected);
    }

    #[test]
    fn rlhf_v_has_json_in_a_string_and_rlaif_v_columns() {
        let picture = r#""image": {"bytes": null, "path": "0.jpg"}"#;
        let row = format!(
            r#"{{"ds_name": "RLHF-V", {picture}, "text": "{{\"question\": \"What?\\nSay.\", \"chosen\": \"A cat.\", \"rejected\": \"A dog.\"}}",
                "origin_dataset": "x", "origin_split": "{{}}", "idx": 0, "image_path": "p"}}"#
        );
        check(&row, "U: [image 0]\nWhat?\nSay. | A: A cat.", "U: [image 0]\nWhat?\nSay. | A: A dog.");
        let row = format!(
            r#"{{"ds_name": "RLAIF-V", {picture}, "question": "What?", "chosen": "A cat.", "rejected": "A dog.",
                "origin_split": "{{}}", "idx": "17", "image_path": "p"}}"#
        );
        check(&row, "U: [image 0]\nWhat? | A: A cat.", "U: [image 0]\nWhat? | A: A dog.");
        assert_eq!(KEEP.parse(&cell(&row), 0).expect("parsed").media, [named(Image, "0.jpg")]);
        assert_eq!(reason_of(&KEEP, r#"{"text": "{"}"#), "bad_json");
    }

    #[test]
    fn mmpr_and_2u1_rows_may_have_their_placeholder() {
        check(
            r#"{"image": ["a.jpg", "b.jpg"], "question": "<image><image>\nWhich?", "chosen": "1", "rejected": "2"}"#,
            "U: [image 0][image 1]\nWhich? | A: 1",
            "U: [image 0][image 1]\nWhich? | A: 2",
        );
        check(
            r#"{"id": "1", "image": "a.jpg", "prompt": "<image>\nWhich?", "chosen": "1", "rejected": "2"}"#,
            "U: [image 0]\nWhich? | A: 1",
            "U: [image 0]\nWhich? | A: 2",
        );
    }

    #[test]
    fn trl_has_messages_words_and_both() {
        let typed = r#"{"images": ["a.jpg"],
            "prompt": [{"role": "user", "content": [{"type": "image", "text": null}, {"type": "text", "text": "How many?"}]}],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "Two."}]}],
            "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "Three."}]}]}"#;
        check(typed, "U: [image 0]How many? | A: Two.", "U: [image 0]How many? | A: Three.");
        let mixed = r#"{"prompt": [{"role": "user", "content": "How many?"}], "chosen": "Two.", "rejected": "Three."}"#;
        check(mixed, "U: How many? | A: Two.", "U: How many? | A: Three.");
        let single = r#"{"prompt": "How many?", "chosen": {"role": "assistant", "content": "Two."},
            "rejected": [{"role": "assistant", "content": "Three."}]}"#;
        check(single, "U: How many? | A: Two.", "U: How many? | A: Three.");
    }

    #[test]
    fn what_both_begin_with_is_the_prompt_and_not_learned() {
        let side = |answer: &str| {
            format!(
                r#"[{{"role": "user", "content": "q"}}, {{"role": "assistant", "content": "a"}},
                {{"role": "user", "content": "r"}}, {{"role": "assistant", "content": "{answer}"}}]"#
            )
        };
        let row = format!(r#"{{"chosen": {}, "rejected": {}}}"#, side("yes"), side("no"));
        check(&row, "U: q | a: a | U: r | A: yes", "U: q | a: a | U: r | A: no");
        let with_prompt = format!(r#"{{"prompt": "q", "chosen": {}, "rejected": {}}}"#, side("yes"), side("no"));
        check(&with_prompt, "U: q | a: a | U: r | A: yes", "U: q | a: a | U: r | A: no");
        check(
            r#"{"chosen": "The sky is blue.", "rejected": "The sky is green."}"#,
            "U: The sky is | A:  blue.",
            "U: The sky is | A:  green.",
        );
    }

    #[test]
    fn version_1_of_llama_factory_has_values_and_loss_weights() {
        let said = |answer: &str| {
            format!(
                r#"[{{"role": "user", "content": [{{"type": "image_url", "value": "1.jpg"}}, {{"type": "text", "value": "q"}}],
                "loss_weight": 0.0}}, {{"role": "assistant", "content": [{{"type": "text", "value": "{answer}"}}], "loss_weight": 1.0}}]"#
            )
        };
        let row = format!(r#"{{"chosen_messages": {}, "rejected_messages": {}}}"#, said("a"), said("b"));
        check(&row, "U: [image 0]q | A: a", "U: [image 0]q | A: b");
        let row = format!(r#"{{"messages": {}}}"#, said("a").replace("1.0", "0.0"));
        let messages = super::super::messages::Messages { placeholder: Placeholder::Keep };
        super::super::tests::check_shape(&messages, &row, "U: [image 0]q | a: a", &[named(Image, "1.jpg")]);
    }

    #[test]
    fn one_judged_answer_is_wanted_or_not() {
        for label in [true, false] {
            let row = format!(r#"{{"prompt": "q", "completion": "a", "label": {label}}}"#);
            let parsed = KEEP.parse(&cell(&row), 0).expect("parsed");
            assert_eq!(
                (written(&parsed.conversation).as_str(), parsed.feedback),
                ("U: q | A: a", Some(Feedback::Wanted(label)))
            );
        }
    }

    #[test]
    fn pairs_that_teach_nothing_have_a_reason() {
        let row = |prompt: &str, chosen: &str, rejected: &str| {
            reason_of(
                &KEEP,
                &format!(r#"{{"images": ["a"], "prompt": {prompt}, "chosen": {chosen}, "rejected": {rejected}}}"#),
            )
        };
        assert_eq!(row(r#""q""#, r#""same ""#, r#""same""#), "identical_answers");
        assert_eq!(row(r#""q""#, r#""a""#, r#"" ""#), "empty_answer");
        assert_eq!(row(r#""q""#, r#""a""#, "null"), "empty_answer");
        assert_eq!(row("null", r#""a""#, r#""b""#), "prompts_differ");
        let said = |question: &str| {
            format!(
                r#"[{{"role": "user", "content": {question}}}, {{"role": "assistant", "content": "{}"}}]"#,
                question.len()
            )
        };
        assert_eq!(row("null", &said(r#""q""#), &said(r#""other""#)), "prompts_differ");
        assert_eq!(row("null", &said(r#""q<image>""#), &said(r#""q<image><image>""#)), "media_mismatch");
        let shown = said(r#"[{"type": "image"}, "q"]"#);
        assert_eq!(row("null", &shown, &said(r#"["q", {"type": "image", "path": "b"}]"#)), "media_mismatch");
    }
}
