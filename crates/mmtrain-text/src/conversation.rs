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

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words, as they stand in the data.
    Text(String),
    /// A medium, by its index in the sample's list of media.
    Media(usize),
}

/// What one speaker says before the next one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
}

impl Turn {
    /// The texts of the turn, trimmed and joined by a line break; media are left out.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.trim()),
            Part::Media(_) => None,
        });
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Indices of the media of the turn, in order.
    pub fn media(&self) -> Vec<usize> {
        let media = self.parts.iter().filter_map(|part| match part {
            Part::Media(index) => Some(*index),
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
        let shown = Turn { role: Role::User, parts: vec![Part::Media(0)] };
        let said = Turn { role: Role::Assistant, parts: vec![Part::Text(caption.into())] };
        Self { turns: vec![shown, said] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_turn_is_trimmed_and_leaves_media_out() {
        let turn = Turn {
            role: Role::User,
            parts: vec![
                Part::Text(" what ".into()),
                Part::Media(1),
                Part::Text("\n".into()),
                Part::Text("is it?".into()),
            ],
        };
        assert_eq!(turn.text(), "what\nis it?");
        assert_eq!(turn.media(), vec![1]);
    }
}
