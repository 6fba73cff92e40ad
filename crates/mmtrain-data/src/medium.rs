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
    /// Seconds from one group of frames of a clip to the next, which Qwen2.5-VL counts in positions.
    pub group_seconds: f64,
}

impl Medium {
    /// Without an instruction, its frames a second apart.
    pub fn new(spans: Vec<(usize, usize)>, input: MediaValues) -> Self {
        Self { spans, input, instruction: Vec::new(), group_seconds: 1.0 }
    }

    /// How many placeholders it has.
    pub fn placeholders(&self) -> usize {
        self.spans.iter().map(|&(_, len)| len).sum()
    }

    /// The position behind its last placeholder.
    pub fn end(&self) -> usize {
        self.spans.last().map_or(0, |&(start, len)| start + len)
    }
}
