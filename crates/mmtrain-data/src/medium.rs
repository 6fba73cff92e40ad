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
    /// Token ids of the question that an instructed Q-Former reads beside it; empty where there is none.
    pub instruction: Vec<u32>,
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
