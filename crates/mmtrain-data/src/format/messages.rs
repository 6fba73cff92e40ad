//! Conversations as `transformers`, TRL and `OpenAI` have them: `messages` with text or typed content, TRL's `prompt` and
//! `completion`, and plain `text`.

use mmtrain_text::Role;

use super::content::{self, as_messages};
use super::{Parsed, Placeholder, Shape, media, truth, turns};
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Messages {
    /// Where media stand.
    pub placeholder: Placeholder,
}

impl Shape for Messages {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let (said, media) = content::dialogue(&messages_of(row), media::of_row(row)?, self.placeholder)?;
        turns::check(&said)?;
        Ok(Parsed { media, truth: truth(row), ..Parsed::said(said) })
    }
}

/// The messages of a row, a prompt and its completion as one list.
pub(super) fn messages_of(row: &Cell) -> Cell {
    let whole = row.get_any(&["messages", "conversations", "conversation"]);
    match (whole, row.get("completion"), row.get("text")) {
        (Cell::Null, Cell::Null, text @ Cell::Text(_)) => as_messages(text, Role::Assistant),
        (Cell::Null, completion, _) => joined(row.get("prompt"), completion),
        (whole, ..) => whole.clone(),
    }
}

/// A prompt and what follows it as one list of messages.
pub(super) fn joined(prompt: &Cell, answer: &Cell) -> Cell {
    let mut messages = as_messages(prompt, Role::User).items().to_vec();
    messages.extend_from_slice(as_messages(answer, Role::Assistant).items());
    Cell::List(messages)
}

#[cfg(test)]
mod tests {
    use mmtrain_text::MediaKind::{Audio, Image, Video};

    use super::super::media::named;
    use super::super::tests::{check_shape, reason_of};
    use super::super::{MediaPlace, NamedMedium};
    use super::*;

    const KEEP: Messages = Messages { placeholder: Placeholder::Keep };

    #[test]
    fn items_stand_for_the_media_of_columns_and_nulls_are_passed_over() {
        let row = r#"{"images": [{"bytes": null, "path": "a.jpg"}, "b.jpg"], "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "image", "text": null}, {"type": "text", "text": "or"}, {"type": "image"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "The first."}]}]}"#;
        let media = ["a.jpg", "b.jpg"].map(|name| named(Image, name));
        check_shape(&KEEP, row, "S: Be brief. | U: [image 0]or[image 1] | A: The first.", &media);
    }

    #[test]
    fn items_may_bring_their_files() {
        let row = r#"{"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}},
                {"type": "video", "video": ["1.jpg", "2.jpg"], "fps": 2.0},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {"image": "file:///x/c.png", "min_pixels": 3136}, {"type": "audio", "audio_url": "d.mp3"}, "What?"]},
            {"role": "assistant", "content": "That."}]}"#;
        let frames = ["1.jpg", "2.jpg"].map(|name| MediaPlace::Named(name.into())).to_vec();
        let media = [
            named(Image, "data:image/jpeg;base64,AAAA"),
            NamedMedium { kind: Video, at: MediaPlace::Frames(frames) },
            named(Audio, "data:audio/wav;base64,UklGRg=="),
            named(Image, "file:///x/c.png"),
            named(Audio, "d.mp3"),
        ];
        check_shape(&KEEP, row, "U: [image 0][video 1][audio 2][image 3][audio 4]What? | A: That.", &media);
    }

    #[test]
    fn media_without_items_stand_at_placeholders_or_with_the_first_question() {
        let row = |text: &str| {
            format!(
                r#"{{"videos": ["d/1.mp4"], "audios": ["d/1.wav"], "messages": [{{"role": "user", "content": "{text}"}},
                {{"role": "assistant", "content": "A goal."}}]}}"#
            )
        };
        let media = [named(Video, "d/1.mp4"), named(Audio, "d/1.wav")];
        check_shape(
            &KEEP,
            &row("What <video><audio>happens?"),
            "U: What [video 0][audio 1]happens? | A: A goal.",
            &media,
        );
        check_shape(&KEEP, &row("What?"), "U: [video 0][audio 1]\nWhat? | A: A goal.", &media);
        let front = Messages { placeholder: Placeholder::Front };
        check_shape(
            &front,
            &row("What <video><audio>happens?"),
            "U: [video 0][audio 1]\nWhat happens? | A: A goal.",
            &media,
        );
    }

    #[test]
    fn weights_of_nothing_are_not_learned() {
        let row = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0},
            {"role": "user", "content": "r"}, {"role": "assistant", "content": "b", "weight": 1}]}"#;
        check_shape(&KEEP, row, "U: q | a: a | U: r | A: b", &[]);
    }

    #[test]
    fn prompts_completions_and_plain_text_are_read() {
        check_shape(&KEEP, r#"{"prompt": "The sky is", "completion": " blue."}"#, "U: The sky is | A:  blue.", &[]);
        let row = r#"{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}],
            "images": []}"#;
        check_shape(&KEEP, row, "U: q | A: a", &[]);
        check_shape(&KEEP, r#"{"text": "once upon a time"}"#, "A: once upon a time", &[]);
        let columns = r#"{"messages": {"role": ["user", "assistant"], "content": ["q", "a"]}}"#;
        check_shape(&KEEP, columns, "U: q | A: a", &[]);
    }

    #[test]
    fn what_cannot_be_used_has_a_reason() {
        let reason = |media: &str, content: &str| {
            let row = format!(
                r#"{{"images": {media}, "messages": [{{"role": "user", "content": {content}}},
                {{"role": "assistant", "content": "a"}}]}}"#
            );
            reason_of(&KEEP, &row)
        };
        assert_eq!(reason("[]", r#"[{"type": "image"}]"#), "media_mismatch");
        assert_eq!(reason(r#"["a", "b"]"#, r#"[{"type": "image"}]"#), "media_mismatch");
        assert_eq!(reason(r#"["a"]"#, r#""<image><image>""#), "media_mismatch");
        assert_eq!(reason("[]", r#"[{"type": "file", "file": "x"}]"#), "bad_turns");
        assert_eq!(reason("[]", r#"[{"type": "image", "image": 7}]"#), "bad_media");
        assert_eq!(reason_of(&KEEP, r#"{"messages": [{"role": "tool", "content": "x"}]}"#), "tools_not_supported");
        let calls = r#"{"messages": [{"role": "assistant", "content": null, "tool_calls": [{"id": 1}]}]}"#;
        assert_eq!(reason_of(&KEEP, calls), "tools_not_supported");
        assert_eq!(reason_of(&KEEP, "{}"), "bad_turns");
    }
}
