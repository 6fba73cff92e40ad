//! What a picture, clip or sound becomes, known from its size alone: tiles, grids, and which tokens they cost.
//!
//! The loader asks before anything is decoded how many placeholders there are, the model asks with the pixels in hand
//! which features stand at them; both answers are [`MediaLayout::rows`].

use crate::anyres::AnyResLayout;
use crate::idefics3::SplitLayout;
use crate::limits::MAX_VALUES;
use crate::mllama::CanvasLayout;
use crate::qwen2_vl::GridLayout;
use crate::{MediaError, Size};

/// How a picture, a clip or a sound is laid out for the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaLayout {
    /// The whole picture in one square.
    Square {
        /// In pixels.
        side: u32,
    },
    /// `LLaVA-NeXT`: the whole picture in one tile, then tiles of an enlarged one.
    AnyRes(AnyResLayout),
    /// `Idefics3`, `SmolVLM`: tiles of an enlarged picture, then the whole one.
    Split(SplitLayout),
    /// Mllama: tiles of a canvas on which the picture lies.
    Canvas(CanvasLayout),
    /// `Qwen2-VL`: rows of patches at the picture's own resolution.
    Grid(GridLayout),
    /// A clip whose frames are single pictures to the encoder.
    Frames {
        /// In pixels.
        side: u32,
        /// How many.
        frames: u32,
    },
    /// A clip whose frames are canvases of one tile to Mllama.
    CanvasFrames {
        /// In pixels.
        side: u32,
        /// How many.
        frames: u32,
        /// Tiles that the model has room for; those behind the first are zeros, after normalising.
        max_tiles: u32,
    },
    /// A log-mel spectrogram.
    Sound(SoundLayout),
}

/// A spectrogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundLayout {
    /// Mel bands.
    pub mels: u32,
    /// Frames of the whole chunk.
    pub frames: u32,
    /// Frames that hold sound; the rest is padding.
    pub valid_frames: u32,
}

/// Which tokens stand in the decoder's sequence for a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaTokens {
    /// One that says where it is; the decoder attends to its features.
    Marker,
    /// A token per patch, or per square of patches, of each tile.
    Grid(TokenGrid),
    /// As many for each tile, however large it is: those of learned queries.
    PerTile(usize),
    /// As many for each medium.
    PerMedium(usize),
    /// As many for each clip, frames pooled: so many for frames, then one per patch (Video-ChatGPT).
    PooledFrames {
        /// Tokens for frames.
        frames: usize,
        /// Of a frame, and of any picture.
        tile: TokenGrid,
    },
    /// A token for so many frames of sound.
    Sound {
        /// Halvings of the frames, each rounded as the encoder does: the first up, the others down.
        halvings: u32,
    },
}

/// How an encoder with its connector turns a tile into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenGrid {
    /// Side of a patch, in pixels.
    pub patch_size: u32,
    /// Patches a side that become one token: 1, or the factor of a pixel shuffle.
    pub merge: u32,
    /// Tokens of a tile besides its grid: 1 for a class token that is kept.
    pub extra: u32,
}

/// Which feature stands at each placeholder of a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRows {
    /// Features that encoder and connector make of the medium.
    pub made: usize,
    /// For each placeholder, the number of its feature; none for the learned newline of `LLaVA-NeXT`.
    pub placed: Vec<Option<u32>>,
}

impl FeatureRows {
    /// All of them in their order.
    fn all(made: usize) -> Self {
        Self::first(made, made)
    }

    /// The first `count` of them.
    fn first(count: usize, made: usize) -> Self {
        Self { made, placed: (0..count.min(made) as u32).map(Some).collect() }
    }
}

impl TokenGrid {
    /// A token per patch, no other.
    pub fn patches(patch_size: u32) -> Self {
        Self { patch_size, merge: 1, extra: 0 }
    }

    /// Tokens along a side of `side` pixels; a rest that fills no patch is dropped, as a convolution does.
    pub fn per_side(&self, side: u32) -> usize {
        (side / self.patch_size.max(1) / self.merge.max(1)) as usize
    }

    /// Tokens of a whole tile of `side` pixels.
    pub fn per_tile(&self, side: u32) -> usize {
        self.per_side(side).pow(2) + self.extra as usize
    }
}

impl MediaLayout {
    /// Placeholders that the medium takes in `input_ids`, without markers such as `<row_1_col_1>`.
    pub fn tokens(&self, tokens: MediaTokens) -> usize {
        self.rows(tokens).placed.len()
    }

    /// The features that stand at the placeholders.
    pub fn rows(&self, tokens: MediaTokens) -> FeatureRows {
        match (tokens, self) {
            (MediaTokens::Marker, _) => FeatureRows { made: 0, placed: vec![None] },
            (MediaTokens::Grid(tile), Self::Grid(layout)) => {
                FeatureRows::all(layout.patches() / (tile.merge as usize).pow(2).max(1))
            }
            (MediaTokens::Grid(tile), Self::AnyRes(layout)) => layout.rows(tile),
            (MediaTokens::Grid(tile), _) => FeatureRows::all(self.tiles() * tile.per_tile(self.side())),
            (MediaTokens::PooledFrames { frames, tile }, Self::Frames { side, .. }) => {
                FeatureRows::all(frames + tile.per_tile(*side))
            }
            (MediaTokens::PooledFrames { tile, .. }, _) => self.rows(MediaTokens::Grid(tile)),
            (MediaTokens::Sound { halvings }, Self::Sound(sound)) => sound.rows(halvings),
            (MediaTokens::PerTile(count), _) => FeatureRows::all(self.tiles() * count),
            (MediaTokens::PerMedium(count), _) => FeatureRows::all(count),
            (MediaTokens::Sound { .. }, _) => FeatureRows::all(0),
        }
    }

    /// Inputs of the encoder: squares of pixels, or chunks of sound; 1 for a grid of patches.
    pub fn tiles(&self) -> usize {
        match self {
            Self::Square { .. } | Self::Grid(_) | Self::Sound(_) => 1,
            Self::AnyRes(layout) => layout.tiles(),
            Self::Split(layout) => layout.tiles(),
            Self::Canvas(layout) => layout.max_tiles as usize,
            Self::Frames { frames, .. } => *frames as usize,
            Self::CanvasFrames { frames, max_tiles, .. } => *frames as usize * *max_tiles as usize,
        }
    }

    /// Of a tile, in pixels; 0 where there are none.
    pub(crate) fn side(&self) -> u32 {
        match self {
            Self::Square { side } | Self::Frames { side, .. } | Self::CanvasFrames { side, .. } => *side,
            Self::AnyRes(layout) => layout.side,
            Self::Split(layout) => layout.side,
            Self::Canvas(layout) => layout.side,
            Self::Grid(_) | Self::Sound(_) => 0,
        }
    }

    /// Of the values: `[tiles, 3, side, side]`, `[patches, channels * frames * patch * patch]` of a grid, or
    /// `[mels, frames]` of a sound.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Grid(layout) => vec![layout.patches(), layout.patch_values()],
            Self::Sound(sound) => vec![sound.mels as usize, sound.frames as usize],
            // Of a canvas only the tiles with picture are made; the encoder adds the zeros.
            Self::Canvas(layout) => vec![layout.tiles(), 3, layout.side as usize, layout.side as usize],
            Self::CanvasFrames { side, frames, .. } => vec![*frames as usize, 3, *side as usize, *side as usize],
            _ => vec![self.tiles(), 3, self.side() as usize, self.side() as usize],
        }
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.shape().iter().product()
    }

    /// Refuses what would not fit into memory in any sensible run; `image` is what it was asked for.
    pub(crate) fn checked(self, image: Size) -> Result<Self, MediaError> {
        let values = self.shape().iter().try_fold(1_u64, |product, &n| product.checked_mul(n as u64));
        match values {
            Some(values) if values <= MAX_VALUES => Ok(self),
            _ => Err(MediaError::size(
                image,
                format!("it would become {:?} float32 values, at most {MAX_VALUES} are made", self.shape()),
            )),
        }
    }
}

impl SoundLayout {
    /// Tokens that the encoder makes of so many frames.
    fn tokens_of(frames: u32, halvings: u32) -> usize {
        (1..halvings).fold(frames.div_ceil(2), |tokens, _| tokens / 2) as usize
    }

    fn rows(self, halvings: u32) -> FeatureRows {
        FeatureRows::first(Self::tokens_of(self.valid_frames, halvings), Self::tokens_of(self.frames, halvings))
    }
}

macro_rules! variant_of_layout {
    ($($variant:ident($layout:ty)),+) => {
        $(impl From<$layout> for MediaLayout {
            fn from(layout: $layout) -> Self {
                Self::$variant(layout)
            }
        })+
    };
}

variant_of_layout!(
    AnyRes(AnyResLayout),
    Split(SplitLayout),
    Canvas(CanvasLayout),
    Grid(GridLayout),
    Sound(SoundLayout)
);

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: TokenGrid = TokenGrid { patch_size: 14, merge: 1, extra: 0 };

    #[test]
    fn each_tile_has_the_tokens_of_its_queries() {
        let frames = MediaLayout::Frames { side: 28, frames: 3 };
        assert_eq!(frames.tokens(MediaTokens::PerTile(32)), 96);
        assert_eq!(frames.tokens(MediaTokens::Grid(TILE)), 12);
        assert_eq!(frames.tokens(MediaTokens::PooledFrames { frames: 100, tile: TILE }), 100 + 4);
        assert_eq!(frames.tokens(MediaTokens::Marker), 1);
    }

    #[test]
    fn a_sound_has_tokens_where_it_is_heard_only() {
        let sound = MediaLayout::Sound(SoundLayout { mels: 80, frames: 3000, valid_frames: 101 });
        let rows = sound.rows(MediaTokens::Sound { halvings: 2 });
        assert_eq!((rows.made, rows.placed.len()), (750, 25));
        assert_eq!(sound.tokens(MediaTokens::Sound { halvings: 1 }), 51);
        assert_eq!(sound.tokens(MediaTokens::PerTile(32)), 32);
    }
}
