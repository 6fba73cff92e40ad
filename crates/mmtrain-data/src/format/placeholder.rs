//! `<image>`, `<video>` and `<audio>` among words become the media of the row.
//!
//! In a row without media they are words like any others. Otherwise there is one of a medium's kind for each of them, in
//! their order; a row whose counts differ is rejected (`media_mismatch`). `LLaVA-Video` writes `<image>` for its clips, and
//! some sets write `<video>` for pictures: where all media are of one kind, which has no placeholder of its own, those of
//! the other kinds are its.

use mmtrain_text::{MediaKind, MediaRef, Part, Role, Turn};

use super::{NamedMedium, Placeholder};
use crate::sample::Reject;

const MARKS: [(&str, MediaKind); 3] =
    [("<image>", MediaKind::Image), ("<video>", MediaKind::Video), ("<audio>", MediaKind::Audio)];

/// Puts the row's media where the turns have placeholders.
pub(super) fn place(turns: &mut [Turn], media: &[NamedMedium], rule: Placeholder) -> Result<(), Reject> {
    if media.is_empty() {
        return Ok(());
    }
    let mut split: Vec<Vec<Piece>> = turns.iter().map(split_turn).collect();
    if let Some(kind) = only_kind(media) {
        adopt(&mut split, kind);
    }
    if rule == Placeholder::Front {
        merge_surplus(&mut split, media);
    }
    check_counts(&split, media)?;
    let mut numbers = Numbers::default();
    for (turn, pieces) in turns.iter_mut().zip(split) {
        turn.parts = pieces.into_iter().filter_map(|piece| numbers.part(piece, media)).collect();
        if rule == Placeholder::Front {
            put_in_front(turn);
        }
    }
    Ok(())
}

/// The same; where there is no placeholder at all, the media are shown with the first question.
pub(super) fn place_or_show(turns: &mut [Turn], media: &[NamedMedium], rule: Placeholder) -> Result<(), Reject> {
    let marked = turns.iter().flat_map(split_turn).any(|piece| matches!(piece, Piece::Mark(_)));
    match turns.iter_mut().find(|turn| turn.role == Role::User) {
        Some(question) if !marked && !media.is_empty() => {
            let shown = media.iter().enumerate().map(|(index, medium)| MediaRef { kind: medium.kind, index });
            question.parts.splice(0..0, shown.map(Part::Media).collect::<Vec<_>>());
            put_in_front(question);
            Ok(())
        }
        _ => place(turns, media, rule),
    }
}

/// A part of a turn before its media have numbers.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Mark(MediaKind),
    Media(MediaRef),
}

fn split_turn(turn: &Turn) -> Vec<Piece> {
    let pieces = turn.parts.iter().flat_map(|part| match part {
        Part::Text(text) => split_text(text),
        Part::Media(medium) => vec![Piece::Media(*medium)],
    });
    pieces.collect()
}

fn split_text(mut text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while let Some((at, mark, kind)) = first_mark(text) {
        pieces.push(Piece::Text(text[..at].to_owned()));
        pieces.push(Piece::Mark(kind));
        text = &text[at + mark.len()..];
    }
    pieces.push(Piece::Text(text.to_owned()));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    pieces
}

fn first_mark(text: &str) -> Option<(usize, &'static str, MediaKind)> {
    let mark_at = |at: usize| MARKS.iter().find(|(mark, _)| text[at..].starts_with(mark));
    text.match_indices('<').find_map(|(at, _)| mark_at(at).map(|&(mark, kind)| (at, mark, kind)))
}

/// The kind of all media, where they are of one.
fn only_kind(media: &[NamedMedium]) -> Option<MediaKind> {
    let first = media.first()?.kind;
    media.iter().all(|medium| medium.kind == first).then_some(first)
}

/// Placeholders of other kinds are of `kind`, the only one that the row has, if it has none of its own.
fn adopt(turns: &mut [Vec<Piece>], kind: MediaKind) {
    if count(turns, kind) > 0 {
        return;
    }
    for piece in turns.iter_mut().flatten() {
        if let Piece::Mark(other) = piece {
            *other = kind;
        }
    }
}

/// `LLaVA` cuts all placeholders out of a turn and puts one in front. That is done where it makes the counts fit.
fn merge_surplus(turns: &mut [Vec<Piece>], media: &[NamedMedium]) {
    for (_, kind) in MARKS {
        let have = media.iter().filter(|medium| medium.kind == kind).count();
        let is_of = |piece: &Piece| matches!(piece, Piece::Mark(of) if *of == kind);
        let turns_with_it = turns.iter().filter(|pieces| pieces.iter().any(is_of)).count();
        if count(turns, kind) > have && turns_with_it == have {
            for pieces in turns.iter_mut() {
                let mut seen = false;
                pieces.retain(|piece| !is_of(piece) || !std::mem::replace(&mut seen, true));
            }
        }
    }
}

fn count(turns: &[Vec<Piece>], kind: MediaKind) -> usize {
    turns.iter().flatten().filter(|piece| matches!(piece, Piece::Mark(of) if *of == kind)).count()
}

fn check_counts(turns: &[Vec<Piece>], media: &[NamedMedium]) -> Result<(), Reject> {
    for (mark, kind) in MARKS {
        let (said, have) = (count(turns, kind), media.iter().filter(|medium| medium.kind == kind).count());
        if said != have {
            let detail = format!("{said} `{mark}` in the text, {have} such media in the row");
            return Err(Reject::new("media_mismatch", detail));
        }
    }
    Ok(())
}

/// Gives out the media of each kind in their order.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Of each kind, where to look for the next one.
    next: [usize; MARKS.len()],
}

impl Numbers {
    /// Index of the next medium of a kind.
    pub(super) fn next(&mut self, kind: MediaKind, media: &[NamedMedium]) -> Option<usize> {
        let next = &mut self.next[kind as usize];
        let index = *next + media.get(*next..)?.iter().position(|medium| medium.kind == kind)?;
        *next = index + 1;
        Some(index)
    }

    fn part(&mut self, piece: Piece, media: &[NamedMedium]) -> Option<Part> {
        match piece {
            Piece::Text(text) => Some(Part::Text(text)),
            Piece::Media(medium) => Some(Part::Media(medium)),
            Piece::Mark(kind) => self.next(kind, media).map(|index| Part::Media(MediaRef { kind, index })),
        }
    }
}

/// Media, a line break, and the words without white space around them (`preprocess_multimodal` in `llava/train/train.py`).
pub(super) fn put_in_front(turn: &mut Turn) {
    let media = turn.media();
    if media.is_empty() {
        return;
    }
    let words = turn.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Media(_) => None,
    });
    let words = words.collect::<String>().trim().to_owned();
    turn.parts = media.into_iter().map(Part::Media).collect();
    if !words.is_empty() {
        turn.parts.push(Part::Text(format!("\n{words}")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::media::named;
    use super::*;

    fn media(kinds: &[MediaKind]) -> Vec<NamedMedium> {
        kinds.iter().map(|&kind| named(kind, "m")).collect()
    }

    /// A turn as text, media as `[kind index]`.
    fn written(turn: &Turn) -> String {
        let parts = turn.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Media(medium) => format!("[{:?} {}]", medium.kind, medium.index),
        });
        parts.collect()
    }

    fn placed(texts: &[&str], kinds: &[MediaKind], rule: Placeholder) -> Result<Vec<String>, Reject> {
        let mut turns: Vec<_> = texts.iter().map(|text| Turn::said(Role::User, *text)).collect();
        place(&mut turns, &media(kinds), rule)?;
        Ok(turns.iter().map(written).collect())
    }

    use MediaKind::{Audio, Image, Video};
    use Placeholder::{Front, Keep};

    #[track_caller]
    fn check(texts: &[&str], kinds: &[MediaKind], rule: Placeholder, expected: &[&str]) {
        assert_eq!(placed(texts, kinds, rule).expect("placed"), expected);
    }

    #[test]
    fn media_stand_where_their_placeholders_stood_or_in_front() {
        check(&["what is\n<image> it?"], &[Image], Keep, &["what is\n[Image 0] it?"]);
        check(&["what is\n<image> it? "], &[Image], Front, &["[Image 0]\nwhat is\n it?"]);
        check(&["<image>"], &[Image], Front, &["[Image 0]"]);
        check(&["a", "<image>b<image>"], &[Image, Image], Keep, &["a", "[Image 0]b[Image 1]"]);
        check(&["<image>b<image>"], &[Image, Image], Front, &["[Image 0][Image 1]\nb"]);
    }

    #[test]
    fn kinds_are_numbered_each_in_its_order() {
        check(
            &["<video><image>", "<audio><image>"],
            &[Image, Image, Video, Audio],
            Keep,
            &["[Video 2][Image 0]", "[Audio 3][Image 1]"],
        );
    }

    #[test]
    fn the_only_kind_takes_the_placeholders_of_another() {
        check(&["<image>\nwhy?"], &[Video], Keep, &["[Video 0]\nwhy?"]);
        check(&["<video>\nwhat?"], &[Image], Keep, &["[Image 0]\nwhat?"]);
        assert_eq!(placed(&["<image>"], &[Video, Audio], Keep).expect_err("differs").reason, "media_mismatch");
    }

    #[test]
    fn without_media_placeholders_are_words() {
        check(&["a tag <image> in html"], &[], Keep, &["a tag <image> in html"]);
    }

    #[test]
    fn counts_that_differ_are_a_mismatch_with_both_numbers() {
        let reject = placed(&["<image><image>"], &[Image], Keep).expect_err("two of one");
        assert_eq!(reject.detail, "2 `<image>` in the text, 1 such media in the row");
        assert_eq!(placed(&["what?"], &[Image], Front).expect_err("none of one").reason, "media_mismatch");
        check(&["<image> or <image>?"], &[Image], Front, &["[Image 0]\nor ?"]);
    }

    #[test]
    fn media_that_no_placeholder_names_are_shown_with_the_first_question() {
        let mut turns = [Turn::said(Role::System, "s"), Turn::said(Role::User, "what?")];
        place_or_show(&mut turns, &media(&[Image, Video]), Keep).expect("placed");
        assert_eq!(written(&turns[1]), "[Image 0][Video 1]\nwhat?");
        let mut turns = [Turn::said(Role::User, "what? <image>")];
        place_or_show(&mut turns, &media(&[Image]), Keep).expect("placed");
        assert_eq!(written(&turns[0]), "what? [Image 0]");
    }
}
