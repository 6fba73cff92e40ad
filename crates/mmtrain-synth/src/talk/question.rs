//! One question with everything that asking and checking it needs.

use super::expected::Expected;

/// What a question is about; a conversation has each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Shape,
    Color,
    Size,
    Position,
    Box,
    /// Left or right of.
    Sideways,
    /// Above or below.
    Upright,
    Count,
    /// How many of something that is not there.
    CountNone,
    /// Something that is there.
    Present,
    /// Something that is not.
    Absent,
}

/// A question that can be asked about something, with what is right and what is not.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) topic: Topic,
    /// Ways to ask it, all with the same meaning.
    pub(crate) wordings: Vec<String>,
    /// What a right answer says.
    pub(crate) expected: Expected,
    /// The right answer in a word or a short phrase.
    pub(crate) short: String,
    /// The right answer as a sentence.
    pub(crate) long: String,
    /// False answers in the form of `long`.
    pub(crate) wrong: Vec<String>,
}
