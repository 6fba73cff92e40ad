//! A picture, clip or sound that is ready for the encoder.

use mmtrain_media::{MediaLayout, MediaTokens, MediaValues};
use mmtrain_text::Placeholders;

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

    /// The same where `start` tokens stand before its sample.
    #[must_use]
    pub fn behind(mut self, start: usize) -> Self {
        self.spans.iter_mut().for_each(|(first, _)| *first += start);
        self
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

/// How the placeholders of a medium stand in the text.
pub fn placeholders(layout: &MediaLayout, tokens: MediaTokens) -> Placeholders {
    let count = layout.tokens(tokens);
    match layout {
        MediaLayout::Split(split) if !matches!(tokens, MediaTokens::Marker | MediaTokens::PerMedium(_)) => {
            let (rows, cols) = (split.rows as usize, split.cols as usize);
            Placeholders::Tiles { rows, cols, per_tile: count / split.tiles() }
        }
        _ => Placeholders::Run(count),
    }
}

#[cfg(test)]
mod tests {
    use mmtrain_media::{Size, SplitLayout, TokenGrid};

    use super::*;

    #[test]
    fn a_split_picture_has_its_placeholders_tile_by_tile() {
        let square = Size::square(8);
        let split = MediaLayout::Split(SplitLayout { side: 8, rows: 2, cols: 3, enlarged: square, canvas: square });
        let grid = MediaTokens::Grid(TokenGrid::patches(4));
        assert_eq!(placeholders(&split, grid), Placeholders::Tiles { rows: 2, cols: 3, per_tile: 4 });
        assert_eq!(placeholders(&split, MediaTokens::Marker), Placeholders::Run(1));
        assert_eq!(placeholders(&split, MediaTokens::PerMedium(5)), Placeholders::Run(5));
        assert_eq!(placeholders(&MediaLayout::Square { side: 8 }, grid), Placeholders::Run(4));
    }
}
