//! Processors that make fewer tokens of the same media, for rows that are too short for what was asked for.

use crate::{AnyRes, Idefics3, PixelRange, Processor, Qwen2Vl, Splitting};

/// What a processor has given up to make fewer tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shrunk {
    /// Resolution: patches of `Qwen2-VL`.
    Pixels,
    /// Frames of a clip.
    Frames,
    /// Tiles of the enlarged picture: `LLaVA-NeXT`, `Idefics3`.
    Tiles,
}

impl Shrunk {
    /// A stable `snake_case` name, for counting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pixels => "fewer_pixels",
            Self::Frames => "fewer_frames",
            Self::Tiles => "fewer_tiles",
        }
    }
}

impl Processor {
    /// The next smaller processor, where there is one: by a quarter of the pixels, or by the canvases of the most tiles.
    ///
    /// Its layouts are what the encoder takes anyway, so a model needs no other settings for them.
    pub fn smaller(&self) -> Option<(Self, Shrunk)> {
        match self {
            Self::Qwen2Vl(processor) => Some((Self::Qwen2Vl(processor.smaller()?), Shrunk::Pixels)),
            Self::AnyRes(processor) => Some((Self::AnyRes(processor.smaller()?), Shrunk::Tiles)),
            Self::Idefics3(processor) => Some((Self::Idefics3(processor.smaller()?), Shrunk::Tiles)),
            // One square is one square; tokens of Mllama's tiles do not stand in the sequence.
            Self::Square(_) | Self::Mllama(_) => None,
        }
    }
}

impl Qwen2Vl {
    fn smaller(&self) -> Option<Self> {
        let one_token = u64::from(self.patch_size * self.merge).pow(2);
        let (images, videos) = (self.images.smaller(one_token), self.videos.smaller(one_token));
        let changed = (images, videos) != (self.images, self.videos);
        changed.then(|| Self { images, videos, ..self.clone() })
    }
}

impl PixelRange {
    /// Three quarters of the pixels, at least what is made of tiny pictures.
    fn smaller(self, one_token: u64) -> Self {
        Self { max: (self.max / 4 * 3).max(self.min).max(one_token).min(self.max), ..self }
    }
}

impl AnyRes {
    /// Without the canvases that have the most tiles.
    fn smaller(&self) -> Option<Self> {
        let most = self.pinpoints.iter().map(|canvas| canvas.pixels()).max()?;
        let pinpoints = self.pinpoints.iter().copied().filter(|canvas| canvas.pixels() < most).collect::<Vec<_>>();
        (!pinpoints.is_empty()).then(|| Self { pinpoints, ..self.clone() })
    }
}

impl Idefics3 {
    /// A tile fewer along the longest edge, at last the whole picture alone.
    fn smaller(&self) -> Option<Self> {
        match self.splitting {
            Splitting::Whole => None,
            Splitting::Tiles if self.longest_edge > 2 * self.side => {
                let longest_edge = (self.longest_edge - 1) / self.side * self.side;
                Some(Self { longest_edge, ..self.clone() })
            }
            Splitting::Tiles => Some(Self { splitting: Splitting::Whole, ..self.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Filter, MediaTokens, Normalise, Size, TokenGrid};

    /// Tokens of a picture under ever smaller processors.
    fn ladder(processor: Processor, merge: u32) -> Vec<usize> {
        let tile = MediaTokens::Grid(TokenGrid { patch_size: 14, merge, extra: 0 });
        let all = std::iter::successors(Some(processor), |processor| Some(processor.smaller()?.0));
        all.map(|processor| processor.layout(Size::new(1000, 700)).expect("usable").tokens(tile)).collect()
    }

    #[test]
    fn every_family_comes_down_to_its_least() {
        let (filter, normalise) = (Filter::Bicubic, Normalise::CLIP);
        let range = PixelRange { min: 56 * 56, max: 1 << 20 };
        let qwen = Qwen2Vl { patch_size: 14, merge: 2, frames: 2, images: range, videos: range, filter, normalise };
        let tokens = ladder(Processor::Qwen2Vl(qwen), 2);
        assert_eq!((tokens[0], tokens.last()), (25 * 36, Some(&2)));
        assert!(tokens.is_sorted_by(|a, b| a >= b), "{tokens:?}");

        let pinpoints = [(28, 56), (56, 28), (56, 56), (84, 28), (28, 84)].map(|(w, h)| Size::new(w, h)).to_vec();
        let anyres = AnyRes { side: 28, pinpoints, filter, normalise };
        let tokens = ladder(Processor::AnyRes(anyres), 1);
        // A smaller canvas may hold as much of this picture as the one before.
        assert_eq!(tokens, [14, 10, 10]);

        let idefics = Idefics3 { side: 28, longest_edge: 112, splitting: Splitting::Tiles, filter, normalise };
        assert_eq!(ladder(Processor::Idefics3(idefics), 1), [13 * 4, 10 * 4, 5 * 4, 4].map(|n: usize| n));
    }

    #[test]
    fn one_square_has_nothing_to_give_up() {
        assert_eq!(Processor::Square(crate::ImageProcessor::clip(28)).smaller(), None);
    }
}
