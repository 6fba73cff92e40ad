//! From the text that a chat template makes to segments.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::shield::{BREAK, ESCAPE, LEARN_FROM, LEARN_TO, MEDIUM, SHOWN, Shield, unescape};
use crate::{MediaKind, MediaRef, Piece, Segment};

/// The text of a template with what is needed to read it.
pub(super) struct Rendered<'a> {
    pub(super) text: &'a str,
    /// Byte ranges that are learned, ascending.
    pub(super) learned: &'a [Range<usize>],
    pub(super) shield: &'a Shield,
    pub(super) placeholders: &'a BTreeMap<String, Vec<MediaKind>>,
}

/// Byte ranges between the marks of generation tags, but for those with words that are shown only.
pub(super) fn learned_marks(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut from = None;
    for (at, mark) in text.match_indices([LEARN_FROM, LEARN_TO]) {
        match from.take() {
            None if mark.starts_with(LEARN_FROM) => from = Some(at),
            Some(start) => ranges.push(start..at),
            None => {}
        }
    }
    ranges.retain(|range| !text[range.clone()].contains(SHOWN));
    ranges
}

impl Rendered<'_> {
    /// Pieces in order; placeholder tokens take the next of `media` of their kind, and all of these must be written.
    pub(super) fn segments(&self, media: Vec<MediaRef>) -> Result<Vec<Segment>, String> {
        let mut reader = Reader { segments: Vec::new(), media };
        let mut at = 0;
        for (token, range) in self.shield.find(self.text) {
            self.words(at..range.start, &mut reader)?;
            let supervised = self.is_learned(range.start);
            match self.placeholders.get(token) {
                Some(kinds) => reader.placeholder(token, kinds)?,
                None => reader.push(Piece::Special(Cow::Owned(token.to_owned())), supervised),
            }
            at = range.end;
        }
        self.words(at..self.text.len(), &mut reader)?;
        match reader.media.as_slice() {
            [] => Ok(reader.segments),
            left => Err(format!("it writes no placeholder for {} of the media", left.len())),
        }
    }

    /// Text without special tokens, cut where the learned part begins or ends.
    fn words(&self, range: Range<usize>, reader: &mut Reader) -> Result<(), String> {
        let edges = self.learned.iter().flat_map(|learned| [learned.start, learned.end]);
        let edges = edges.filter(|edge| range.contains(edge)).chain([range.end]);
        let mut start = range.start;
        for edge in edges {
            reader.text(&self.text[start..edge], self.is_learned(start))?;
            start = edge;
        }
        Ok(())
    }

    fn is_learned(&self, at: usize) -> bool {
        let behind = self.learned.partition_point(|range| range.end <= at);
        self.learned.get(behind).is_some_and(|range| range.contains(&at))
    }
}

struct Reader {
    segments: Vec<Segment>,
    /// Media that are not written yet.
    media: Vec<MediaRef>,
}

impl Reader {
    fn push(&mut self, piece: Piece, supervised: bool) {
        self.segments.push(Segment { piece, supervised });
    }

    fn placeholder(&mut self, token: &str, kinds: &[MediaKind]) -> Result<(), String> {
        let next = self.media.iter().position(|medium| kinds.contains(&medium.kind));
        let next = next.ok_or_else(|| format!("it writes `{token}` more often than there are media for it"))?;
        let medium = self.media.remove(next);
        self.push(Piece::Media(medium), false);
        Ok(())
    }

    /// Words with their marks taken out.
    fn text(&mut self, text: &str, supervised: bool) -> Result<(), String> {
        let mut words = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                BREAK | SHOWN | LEARN_FROM | LEARN_TO => {}
                ESCAPE => words.extend(chars.next().and_then(unescape)),
                MEDIUM => {
                    let name = chars.by_ref().take_while(|&c| c != MEDIUM).collect::<String>();
                    self.words(std::mem::take(&mut words), supervised);
                    self.in_place(&name)?;
                }
                c => words.push(c),
            }
        }
        self.words(words, supervised);
        Ok(())
    }

    fn words(&mut self, words: String, supervised: bool) {
        if !words.is_empty() {
            self.push(Piece::Text(words), supervised);
        }
    }

    fn in_place(&mut self, name: &str) -> Result<(), String> {
        let kind = match name.chars().next() {
            Some('v') => MediaKind::Video,
            Some('a') => MediaKind::Audio,
            _ => MediaKind::Image,
        };
        let index = name.get(1..).and_then(|index| index.parse().ok()).unwrap_or(usize::MAX);
        let medium = MediaRef { kind, index };
        let at = self.media.iter().position(|&left| left == medium);
        let at = at.ok_or_else(|| "it takes words with media apart".to_owned())?;
        self.media.remove(at);
        self.push(Piece::Media(medium), false);
        Ok(())
    }
}
