//! `Qwen-VL`'s rows: `conversations` whose text names its pictures, `Picture 1: <img>a.jpg</img>`; Qwen-Audio's
//! `<audio>a.wav</audio>` alike.
//!
//! `Picture 1:` is text and stays, as do `<ref>` and `<box>` with their thousandths.

use mmtrain_text::{MediaKind, MediaRef, Part, Turn};

use super::media::named;
use super::turns::{self, Opening};
use super::{NamedMedium, Parsed, Shape, truth};
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of `Qwen-VL`.
#[derive(Debug, Clone, Copy, Default)]
pub struct QwenVl;

impl Shape for QwenVl {
    fn parse(&self, row: &Cell, _: usize) -> Result<Parsed, Reject> {
        let mut media = Vec::new();
        let said = turns::objects(row.get_any(&["conversations", "messages"]));
        let said = said.iter().map(turns::said).collect::<Result<Vec<_>, _>>()?;
        let mut said = turns::without_loose_ends(said, Opening::Question);
        said.iter_mut().try_for_each(|turn| take_media(turn, &mut media))?;
        turns::check(&said)?;
        Ok(Parsed { media, truth: truth(row), ..Parsed::said(said) })
    }
}

const MARKS: [(&str, &str, MediaKind); 2] =
    [("<img>", "</img>", MediaKind::Image), ("<audio>", "</audio>", MediaKind::Audio)];

/// Names between marks become media.
fn take_media(turn: &mut Turn, media: &mut Vec<NamedMedium>) -> Result<(), Reject> {
    let text = turns::texts_mut(turn).map(std::mem::take).collect::<String>();
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while let Some((at, (open, close, kind))) = first_mark(rest) {
        let behind = &rest[at + open.len()..];
        let named_file = behind.split_once(close).filter(|(name, _)| !name.is_empty());
        let unclosed = || Reject::new("bad_media", format!("`{open}` without a name and `{close}`"));
        let (name, after) = named_file.ok_or_else(unclosed)?;
        parts.push(Part::Text(rest[..at].to_owned()));
        parts.push(Part::Media(MediaRef { kind, index: media.len() }));
        media.push(named(kind, name));
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    parts.retain(|part| *part != Part::Text(String::new()));
    turn.parts = parts;
    Ok(())
}

fn first_mark(text: &str) -> Option<(usize, (&'static str, &'static str, MediaKind))> {
    let mark_at = |at: usize| MARKS.iter().find(|(open, ..)| text[at..].starts_with(open));
    text.match_indices('<').find_map(|(at, _)| mark_at(at).map(|mark| (at, *mark)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_shape, reason_of};
    use super::*;

    #[test]
    fn pictures_are_named_in_the_text_and_boxes_stay() {
        let row = r#"{"id": "identity_0", "conversations": [
            {"from": "user", "value": "Picture 1: <img>a.jpg</img>\nPicture 2: <img>https://x.org/b.jpg</img>\nWhere is the dog?"},
            {"from": "assistant", "value": "<ref>the dog</ref><box>(221,423),(569,886)</box>"}]}"#;
        let expected = "U: Picture 1: [image 0]\nPicture 2: [image 1]\nWhere is the dog? | \
            A: <ref>the dog</ref><box>(221,423),(569,886)</box>";
        let media = ["a.jpg", "https://x.org/b.jpg"].map(|name| named(MediaKind::Image, name));
        check_shape(&QwenVl, row, expected, &media);
    }

    #[test]
    fn sounds_are_too_and_marks_have_to_be_closed() {
        let row = r#"{"conversations": [{"from": "user", "value": "Audio 1: <audio>a.flac</audio>\nWhat?"},
            {"from": "assistant", "value": "Rain."}]}"#;
        check_shape(&QwenVl, row, "U: Audio 1: [audio 0]\nWhat? | A: Rain.", &[named(MediaKind::Audio, "a.flac")]);
        assert_eq!(reason_of(&QwenVl, &row.replace("</audio>", "")), "bad_media");
        assert_eq!(reason_of(&QwenVl, &row.replace("a.flac", "")), "bad_media");
    }
}
