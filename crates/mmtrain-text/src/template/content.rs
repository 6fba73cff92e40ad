//! What a turn says and shows, as templates write it.

use serde::{Deserialize, Serialize};

use crate::{MediaKind, MediaRef, Part, Piece, Role, Segment, TextError, Turn};

/// Where media stand that the data put among words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Where the data have them.
    #[default]
    Keep,
    /// In front of the words of their turn, as `LLaVA` puts them.
    Front,
}

/// What stands around a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    /// `LLaVA`'s: nothing, and a line break behind media in front of a turn's words.
    LineBreak,
    /// Of `Qwen2-VL` and Qwen2-Audio: begin and end.
    Qwen,
}

/// Segments in the making; texts of one kind side by side are one segment.
#[derive(Debug)]
pub(super) struct Writer {
    segments: Vec<Segment>,
    markup: Markup,
    placement: Placement,
    sounds: usize,
}

impl Writer {
    pub(super) fn new(markup: Markup, placement: Placement) -> Self {
        Self { segments: Vec::new(), markup, placement, sounds: 0 }
    }

    pub(super) fn finish(self) -> Vec<Segment> {
        self.segments
    }

    /// Words of the template or of a turn.
    pub(super) fn text(&mut self, text: &str, supervised: bool) {
        if text.is_empty() {
            return;
        }
        match self.segments.last_mut() {
            Some(Segment { piece: Piece::Text(last), supervised: same }) if *same == supervised => last.push_str(text),
            _ => self.segments.push(Segment { piece: Piece::Text(text.to_owned()), supervised }),
        }
    }

    pub(super) fn given(&mut self, text: &str) {
        self.text(text, false);
    }

    pub(super) fn special(&mut self, name: &'static str, supervised: bool) {
        self.segments.push(Segment { supervised, ..Segment::special(name) });
    }

    pub(super) fn piece(&mut self, piece: Piece, supervised: bool) {
        self.segments.push(Segment { piece, supervised });
    }

    /// The words and media of a turn. An assistant's answer that is to be learned must have words.
    pub(super) fn turn(&mut self, turn: &Turn, before: &str) -> Result<(), TextError> {
        let parts = content(turn, self.placement);
        let supervised = is_learned(turn);
        if supervised && !parts.iter().any(|part| matches!(part, Part::Text(_))) {
            return Err(TextError::EmptyAnswer);
        }
        self.text(before, supervised);
        let in_front = parts.iter().take_while(|part| matches!(part, Part::Media(_))).count();
        for (at, part) in parts.iter().enumerate() {
            match part {
                Part::Text(text) => self.text(text, supervised),
                Part::Media(medium) => self.medium(*medium),
            }
            if self.markup == Markup::LineBreak && at < in_front && wants_line_break(parts.get(at + 1)) {
                self.given("\n");
            }
        }
        Ok(())
    }

    /// A medium with what stands around it.
    pub(super) fn medium(&mut self, medium: MediaRef) {
        let media = Segment::given(Piece::Media(medium));
        if self.markup == Markup::LineBreak {
            return self.segments.push(media);
        }
        if medium.kind == MediaKind::Audio {
            self.sounds += 1;
            self.given(&format!("Audio {}: ", self.sounds));
        }
        let (begin, end) = qwen_markers(medium.kind);
        self.segments.extend([Segment::special(begin), media, Segment::special(end)]);
        if medium.kind == MediaKind::Audio {
            self.given("\n");
        }
    }
}

/// Begin and end of a medium in the chat templates of `Qwen2-VL` and Qwen2-Audio.
pub(super) fn qwen_markers(kind: MediaKind) -> (&'static str, &'static str) {
    match kind {
        MediaKind::Image | MediaKind::Video => ("<|vision_start|>", "<|vision_end|>"),
        MediaKind::Audio => ("<|audio_bos|>", "<|audio_eos|>"),
    }
}

/// Whether the words of a turn are learned.
pub(crate) fn is_learned(turn: &Turn) -> bool {
    turn.role == Role::Assistant && turn.supervised
}

fn wants_line_break(next: Option<&Part>) -> bool {
    match next {
        Some(Part::Text(text)) => !text.starts_with(char::is_whitespace),
        Some(Part::Media(_)) => true,
        None => false,
    }
}

/// The parts of a turn without white space at its ends, media where `placement` puts them; no text is empty.
pub(crate) fn content(turn: &Turn, placement: Placement) -> Vec<Part> {
    let mut parts = match placement {
        Placement::Keep => turn.parts.clone(),
        Placement::Front => media_in_front(turn),
    };
    while let Some(Part::Text(text)) = parts.first_mut() {
        *text = text.trim_start().to_owned();
        if !text.is_empty() {
            break;
        }
        parts.remove(0);
    }
    while let Some(Part::Text(text)) = parts.last_mut() {
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        parts.pop();
    }
    parts.retain(|part| *part != Part::Text(String::new()));
    parts
}

/// `LLaVA`'s `preprocess_multimodal`: placeholders are cut out of the words and put in front. Deviation: several stay several.
pub(crate) fn media_in_front(turn: &Turn) -> Vec<Part> {
    let words = turn.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Media(_) => None,
    });
    let words = words.collect::<String>().trim().to_owned();
    turn.media().into_iter().map(Part::Media).chain([Part::Text(words)]).collect()
}
