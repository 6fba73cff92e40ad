//! The conversation: turns of text and references to media.
//!
//! Every dataset format is read into this one shape; templates render it. Media are named by their
//! index in the sample's list of media, so that neither text nor template holds bytes.

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Standing orders, before the first question.
    System,
    /// Who asks; never learned.
    User,
    /// The model; what it says is learned.
    Assistant,
}

impl Role {
    /// The name that most templates and data sets give it: `user`.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What a medium is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A clip: frames in time.
    Video,
    /// A sound.
    Audio,
}

/// A medium of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MediaRef {
    /// What it is.
    pub kind: MediaKind,
    /// Index in the sample's list of media.
    pub index: usize,
}

impl MediaRef {
    /// The picture at `index`.
    pub fn image(index: usize) -> Self {
        Self { kind: MediaKind::Image, index }
    }

    /// The clip at `index`.
    pub fn video(index: usize) -> Self {
        Self { kind: MediaKind::Video, index }
    }

    /// The sound at `index`.
    pub fn audio(index: usize) -> Self {
        Self { kind: MediaKind::Audio, index }
    }
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words, as they stand in the data.
    Text(String),
    /// A medium.
    Media(MediaRef),
}

/// What one speaker says before the next one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
    /// Whether an assistant's words are learned, as they are unless the data say otherwise; nobody else's ever are.
    #[serde(default = "supervised")]
    pub supervised: bool,
}

fn supervised() -> bool {
    true
}

impl Turn {
    /// A turn as usual: learned if it is the assistant's.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, supervised: true }
    }

    /// A turn of words alone.
    pub fn said(role: Role, text: impl Into<String>) -> Self {
        Self::new(role, vec![Part::Text(text.into())])
    }

    /// The texts of the turn, trimmed and joined by a line break; media are left out.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.trim()),
            Part::Media(_) => None,
        });
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// The media of the turn, in order.
    pub fn media(&self) -> Vec<MediaRef> {
        let media = self.parts.iter().filter_map(|part| match part {
            Part::Media(medium) => Some(*medium),
            Part::Text(_) => None,
        });
        media.collect()
    }
}

/// Turns in the order in which they were spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns.
    pub turns: Vec<Turn>,
}

impl Conversation {
    /// A picture that the user shows (medium 0) and the caption that the assistant gives.
    pub fn caption(caption: impl Into<String>) -> Self {
        Self::described(MediaRef::image(0), caption)
    }

    /// A medium that the user shows and what the assistant says of it.
    pub fn described(medium: MediaRef, description: impl Into<String>) -> Self {
        let shown = Turn::new(Role::User, vec![Part::Media(medium)]);
        Self { turns: vec![shown, Turn::said(Role::Assistant, description)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_turn_is_trimmed_and_leaves_media_out() {
        let parts = vec![
            Part::Text(" what ".into()),
            Part::Media(MediaRef::video(1)),
            Part::Text("\n".into()),
            Part::Text("is it?".into()),
        ];
        let turn = Turn::new(Role::User, parts);
        assert_eq!(turn.text(), "what\nis it?");
        assert_eq!(turn.media(), [MediaRef::video(1)]);
    }
}
