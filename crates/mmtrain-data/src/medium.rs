//! A picture, clip or sound that is ready for the encoder.

use mmtrain_media::MediaValues;

/// A medium and its placeholders.
#[derive(Debug, Clone, PartialEq)]
pub struct Medium {
    /// First placeholder and length of each run of its placeholders, ascending; several where the tiles of a picture
    /// have text between them.
    pub spans: Vec<(usize, usize)>,
    /// The encoder's input.
    pub input: MediaValues,
}

impl Medium {
    /// How many placeholders it has.
    pub fn placeholders(&self) -> usize {
        self.spans.iter().map(|&(_, len)| len).sum()
    }

    /// The position behind its last placeholder.
    pub fn end(&self) -> usize {
        self.spans.last().map_or(0, |&(start, len)| start + len)
    }
}
