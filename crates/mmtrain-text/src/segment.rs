//! The pieces of a rendered conversation, each marked as learned or not.

use std::borrow::Cow;

use crate::MediaRef;

/// The smallest unit of a rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words; special tokens in them are not recognised.
    Text(String),
    /// The placeholders of a medium.
    Media(MediaRef),
    /// Begin-of-text, where the tokenizer has one.
    Bos,
    /// End of what the model says.
    Eos,
    /// A special token by its name, such as `<|im_start|>`.
    Special(Cow<'static, str>),
}

/// A piece of the rendered conversation, and whether the model is trained to say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What stands there.
    pub piece: Piece,
    /// Whether it is learned; media never are.
    pub supervised: bool,
}

impl Segment {
    /// A piece that is shown, not learned.
    pub fn given(piece: Piece) -> Self {
        Self { piece, supervised: false }
    }

    /// A piece that is learned.
    pub fn learned(piece: Piece) -> Self {
        Self { piece, supervised: true }
    }

    /// Words that are shown, not learned.
    pub(crate) fn text(content: impl Into<String>) -> Self {
        Self::given(Piece::Text(content.into()))
    }

    /// A special token that is shown, not learned.
    pub(crate) fn special(name: &'static str) -> Self {
        Self::given(Piece::Special(Cow::Borrowed(name)))
    }
}

/// Segments as a line, learned ones in brackets: `BOS<image 0>[a cat .][EOS]`.
#[cfg(test)]
pub(crate) fn show(segments: &[Segment]) -> String {
    let shown = segments.iter().map(|segment| {
        let piece = match &segment.piece {
            Piece::Text(text) => text.clone(),
            Piece::Media(medium) => format!("<{:?} {}>", medium.kind, medium.index).to_lowercase(),
            Piece::Bos => "BOS".into(),
            Piece::Eos => "EOS".into(),
            Piece::Special(name) => name.to_string(),
        };
        if segment.supervised { format!("[{piece}]") } else { piece }
    });
    shown.collect()
}
