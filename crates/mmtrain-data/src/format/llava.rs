//! The `LLaVA` family: `id`, `image` or `video`, and `conversations` of `from` and `value` or `role` and `content`.
//!
//! So are `LLaVA-Pretrain` (558k, 595k), `llava_instruct_150k` and its parts, `mix665k`, `ShareGPT4V`, `LLaVA-NeXT`,
//! `LLaVA-Video`, `VideoLLaMA2`, 2U1's rows and `InternVL`'s. As in `LLaVA`, an answer in front of the first question is
//! dropped; so is a question behind the last answer, which is given and never learned. Two turns of one speaker in a row are
//! rejected (`LLaVA` stops the run there), not merged. Ids may be anything or absent, since a sample is named by its place.

use mmtrain_text::{Conversation, MediaKind, Turn};

use super::turns::{self, Opening};
use super::{NamedMedium, Parsed, Placeholder, Shape, media, placeholder, truth};
use crate::cell::Cell;
use crate::sample::Reject;

/// Literal noise in answers of `VideoInstruct` and what was made of it; `LLaVA-NeXT` removes it as well.
const NOISE: &str = "QA_GT_caption_based_noisy";

/// Rows of the family.
#[derive(Debug, Clone, Copy, Default)]
pub struct Llava {
    /// Where media stand.
    pub placeholder: Placeholder,
}

impl Shape for Llava {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let media = media::of_row(row)?;
        let said = turns_of(row, &media, self.placeholder)?;
        Ok(Parsed { media, truth: truth(row), ..Parsed::said(said) })
    }
}

/// What JSON says of media that lie beside it, as `WebDataset`'s members do; nothing, where it has no `conversations`.
pub(crate) fn conversation(json: &[u8], kinds: &[MediaKind]) -> Result<Option<Conversation>, Reject> {
    let row = Cell::from_json(json).map_err(|error| Reject::new("bad_json", error.to_string()))?;
    if row.get_any(&["conversations", "messages"]).is_null() {
        return Ok(None);
    }
    let media: Vec<_> = kinds.iter().map(|&kind| media::named(kind, "")).collect();
    Ok(Some(Conversation { turns: turns_of(&row, &media, Placeholder::Keep)? }))
}

fn turns_of(row: &Cell, media: &[NamedMedium], rule: Placeholder) -> Result<Vec<Turn>, Reject> {
    let messages = turns::objects(row.get_any(&["conversations", "messages", "conversation"]));
    let said = messages.iter().map(turns::said).collect::<Result<Vec<_>, _>>()?;
    let mut said = turns::without_loose_ends(said, Opening::DropAnswer);
    if said.is_empty() {
        turns::check(&said)?;
    }
    for turn in &mut said {
        turns::texts_mut(turn).for_each(remove_noise);
    }
    placeholder::place(&mut said, media, rule)?;
    turns::check(&said)?;
    Ok(said)
}

/// Removes [`NOISE`].
pub(super) fn remove_noise(text: &mut String) {
    if text.contains(NOISE) {
        *text = text.replace(NOISE, "");
    }
}

#[cfg(test)]
mod tests {
    use super::super::media::named;
    use super::super::tests::{check_shape, reason_of};
    use super::*;

    const KEEP: Llava = Llava { placeholder: Placeholder::Keep };

    #[test]
    fn rows_of_the_pretraining_sets_have_the_placeholder_before_or_behind_the_prompt() {
        let row = r#"{"id": "GCC_train_002582585", "image": "GCC_train_002582585.jpg", "conversations": [
            {"from": "human", "value": "Provide a brief description of the given image.\n<image>"},
            {"from": "gpt", "value": "a red boat on the lake ."}]}"#;
        let picture = named(MediaKind::Image, "GCC_train_002582585.jpg");
        check_shape(
            &KEEP,
            row,
            "U: Provide a brief description of the given image.\n[image 0] | A: a red boat on the lake .",
            std::slice::from_ref(&picture),
        );
        let front = Llava { placeholder: Placeholder::Front };
        let expected = "U: [image 0]\nProvide a brief description of the given image. | A: a red boat on the lake .";
        check_shape(&front, row, expected, &[picture]);
    }

    #[test]
    fn ids_may_be_numbers_null_or_absent() {
        for id in [r#""id": 7,"#, r#""id": null,"#, r#""id": "a","#, ""] {
            let row = format!(
                r#"{{{id} "image": "00453/004539375.jpg", "conversations": [
                {{"from": "human", "value": "<image>\nWhat?"}}, {{"from": "gpt", "value": "Dogs."}}]}}"#
            );
            let picture = named(MediaKind::Image, "00453/004539375.jpg");
            check_shape(&KEEP, &row, "U: [image 0]\nWhat? | A: Dogs.", &[picture]);
        }
    }

    #[test]
    fn text_rows_may_start_with_an_answer_end_with_a_question_and_speak_of_tags() {
        let row = r#"{"id": "wgByO4Y_0", "model": "", "conversations": [
            {"from": "gpt", "value": "lost"}, {"from": "human", "value": "What is <image> in HTML?"},
            {"from": "gpt", "value": "Not a tag; <video> is."}, {"from": "human", "value": "Thanks."}]}"#;
        check_shape(&KEEP, row, "U: What is <image> in HTML? | A: Not a tag; <video> is.", &[]);
    }

    #[test]
    fn several_pictures_clips_and_the_other_spelling_are_understood() {
        let row = r#"{"image": ["a.jpg", "b.jpg"], "conversations": [
            {"role": "user", "content": "<image> or <image>?"}, {"role": "assistant", "content": "The first."}]}"#;
        let pictures = ["a.jpg", "b.jpg"].map(|name| named(MediaKind::Image, name));
        check_shape(&KEEP, row, "U: [image 0] or [image 1]? | A: The first.", &pictures);

        let row = r#"{"id": "1006-8968804598", "data_source": "0_30_s_nextqa", "video": "NextQA/NExTVideo/1006/8968804598.mp4",
            "conversations": [{"from": "human", "value": "<image>\nWhy?"}, {"from": "gpt", "value": "To play."}]}"#;
        let clip = named(MediaKind::Video, "NextQA/NExTVideo/1006/8968804598.mp4");
        check_shape(&KEEP, row, "U: [video 0]\nWhy? | A: To play.", &[clip]);

        let row = r#"{"id": 0, "video": "images/12.jpg",
            "conversations": [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "A cup."}]}"#;
        check_shape(&KEEP, row, "U: [image 0]\nWhat? | A: A cup.", &[named(MediaKind::Image, "images/12.jpg")]);
    }

    #[test]
    fn literal_noise_is_removed_from_answers() {
        let row = r#"{"conversations": [{"from": "human", "value": "q"},
            {"from": "gpt", "value": "A man.QA_GT_caption_based_noisy"}]}"#;
        check_shape(&KEEP, row, "U: q | A: A man.", &[]);
        let only = row.replace("A man.", "");
        assert_eq!(reason_of(&KEEP, &only), "empty_answer");
    }

    #[test]
    fn the_truth_of_synthetic_rows_is_kept() {
        let row = r#"{"scene": {"objects": []}, "conversations": [{"from": "human", "value": "q"},
            {"from": "gpt", "value": "a"}]}"#;
        let parsed = KEEP.parse(&Cell::from_json(row.as_bytes()).expect("json"), 0).expect("parsed");
        assert_eq!(parsed.truth, Some(serde_json::json!({"scene": {"objects": []}})));
    }

    #[test]
    fn what_cannot_be_used_has_a_reason() {
        let with =
            |image: &str, turns: &str| reason_of(&KEEP, &format!(r#"{{"image": {image}, "conversations": {turns}}}"#));
        let asked = r#"[{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "a"}]"#;
        assert_eq!(with(r#"["a.jpg", "b.jpg"]"#, asked), "media_mismatch");
        assert_eq!(with("7", asked), "bad_media");
        assert_eq!(with("null", r#"[{"from": "human", "value": "q"}, {"from": "human", "value": "r"}]"#), "bad_turns");
        assert_eq!(with("null", r#"[{"from": "bing", "value": "q"}]"#), "unknown_role");
        assert_eq!(with("null", r#"[{"from": "human", "value": ["q"]}]"#), "bad_turns");
        assert_eq!(with("null", "null"), "bad_turns");
    }
}
