//! A medium and what is said of it: one caption a row, or several in any of the ways in which datasets have them.

use mmtrain_text::{Conversation, MediaKind, MediaRef};

use super::{Captions, NamedMedium, Parsed, Shape, truth};
use crate::cell::Cell;
use crate::sample::Reject;

/// Finds the medium of a row.
pub trait MediumOf: Send + Sync {
    /// The medium, or why there is none.
    fn medium(&self, row: &Cell) -> Result<NamedMedium, Reject>;
}

impl<F: Fn(&Cell) -> Result<NamedMedium, Reject> + Send + Sync> MediumOf for F {
    fn medium(&self, row: &Cell) -> Result<NamedMedium, Reject> {
        self(row)
    }
}

/// Rows of captions: `caption`, `caption_1` to `caption_5`, or a list of them.
#[derive(Debug, Clone)]
pub struct Captioned<M> {
    /// What the captions are of.
    pub medium: M,
    /// Which of several captions are used.
    pub captions: Captions,
}

impl<M: MediumOf> Shape for Captioned<M> {
    fn samples_in(&self, row: &Cell) -> Option<usize> {
        match (self.captions, captions(row)) {
            (Captions::First, _) | (_, Found::One(_)) => None,
            (Captions::All, Found::Several(list)) => Some(list.len()),
        }
    }

    fn parse(&self, row: &Cell, nth: usize) -> Result<Parsed, Reject> {
        let caption = match captions(row) {
            Found::One(cell) => cell,
            Found::Several(list) => list.get(nth).copied().unwrap_or(&Cell::Null),
        };
        let caption = text_of(caption)?;
        let medium = self.medium.medium(row)?;
        let shown = MediaRef { kind: medium.kind, index: 0 };
        let conversation = Conversation::described(shown, caption);
        Ok(Parsed { conversation, feedback: None, media: vec![medium], truth: truth(row) })
    }
}

/// The words of a caption, trimmed.
fn text_of(caption: &Cell) -> Result<String, Reject> {
    match caption {
        Cell::Text(text) if text.trim().is_empty() => {
            Err(Reject::new("empty_caption", "the caption is empty or blank"))
        }
        Cell::Text(text) => Ok(text.trim().to_owned()),
        other => Err(Reject::new("missing_caption", format!("{} where a caption was expected", other.kind()))),
    }
}

enum Found<'a> {
    One(&'a Cell),
    Several(Vec<&'a Cell>),
}

/// The captions of a row, whatever their column is called.
fn captions(row: &Cell) -> Found<'_> {
    const KEYS: [&str; 5] = ["caption", "captions", "sentence", "sentences", "text"];
    match row.get_any(&KEYS) {
        Cell::List(list) => Found::Several(list.iter().collect()),
        Cell::Null => numbered(row),
        one => Found::One(one),
    }
}

/// `caption_1`, `caption_2` and so on, as far as they go, up to 64.
fn numbered(row: &Cell) -> Found<'_> {
    let numbered = (1..=64).map(|n| row.get(&format!("caption_{n}"))).take_while(|cell| !cell.is_null());
    let list: Vec<_> = numbered.collect();
    if list.is_empty() { Found::One(&Cell::Null) } else { Found::Several(list) }
}

/// The name under `key`, kept to the letter.
pub(super) fn name_at(row: &Cell, key: &'static str, kind: MediaKind) -> Result<NamedMedium, Reject> {
    match row.get(key).to_id() {
        Some(name) if !name.is_empty() => Ok(super::media::named(kind, name)),
        _ => Err(Reject::new("missing_media", format!("`{key}` is {}, not a name", row.get(key).kind()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cell, check_shape, written};
    use super::*;

    fn shape(captions: Captions) -> impl Shape {
        Captioned { medium: |row: &Cell| name_at(row, "file", MediaKind::Audio), captions }
    }

    #[test]
    fn several_captions_are_as_many_samples_or_the_first() {
        let all = shape(Captions::All);
        for json in [
            r#"{"file": "a", "caption_1": " one ", "caption_2": "two", "caption_4": "not reached"}"#,
            r#"{"file": "a", "captions": ["one", "two"]}"#,
            r#"{"file": "a", "caption": ["one", "two"]}"#,
        ] {
            let row = cell(json);
            assert_eq!((all.samples_in(&row), shape(Captions::First).samples_in(&row)), (Some(2), None));
            let said = [0, 1].map(|nth| written(&all.parse(&row, nth).expect("a sample").conversation));
            assert_eq!(said, ["U: [audio 0] | A: one", "U: [audio 0] | A: two"]);
        }
    }

    #[test]
    fn one_caption_a_row_needs_no_counting() {
        let row = r#"{"file": " a b .wav", "caption": "rain"}"#;
        assert_eq!(shape(Captions::All).samples_in(&cell(row)), None);
        let medium = super::super::media::named(MediaKind::Audio, " a b .wav");
        check_shape(&shape(Captions::All), row, "U: [audio 0] | A: rain", &[medium]);
    }

    #[test]
    fn captions_and_names_that_are_not_there_have_reasons() {
        let reason = |json| super::super::tests::reason_of(&shape(Captions::All), json);
        assert_eq!(reason(r#"{"file": "a", "caption": " "}"#), "empty_caption");
        assert_eq!(reason(r#"{"file": "a", "caption_1": ""}"#), "empty_caption");
        assert_eq!(reason(r#"{"file": "a"}"#), "missing_caption");
        assert_eq!(reason(r#"{"file": "a", "captions": []}"#), "missing_caption");
        assert_eq!(reason(r#"{"caption": "x"}"#), "missing_media");
    }
}
