//! What a picture becomes, known from its size alone: tiles, grids, and how many tokens they cost.
//!
//! The loader asks before anything is decoded, the model asks with the pixels in hand; both ask the same functions.

use crate::anyres::AnyResLayout;
use crate::idefics3::SplitLayout;
use crate::limits::MAX_VALUES;
use crate::mllama::CanvasLayout;
use crate::qwen2_vl::GridLayout;
use crate::{MediaError, Size};

/// How a picture, or a clip, is laid out for the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLayout {
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

impl ImageLayout {
    /// Placeholders that the picture takes in `input_ids`, without markers such as `<row_1_col_1>`.
    ///
    /// `tile` is not looked at by [`Grid`](Self::Grid), whose processor knows its patches, nor by
    /// [`Canvas`](Self::Canvas), which is attended to and has one placeholder ([`CanvasLayout::attended`]).
    pub fn tokens(&self, tile: TokenGrid) -> usize {
        match self {
            Self::Square { side } => tile.per_tile(*side),
            Self::AnyRes(layout) => layout.tokens(tile),
            Self::Split(layout) => layout.tiles() * tile.per_tile(layout.side),
            Self::Canvas(_) => 1,
            Self::Grid(layout) => layout.tokens(),
        }
    }

    /// Of the values: `[tiles, 3, side, side]`, or `[patches, channels * frames * patch * patch]` of a grid.
    pub fn shape(&self) -> Vec<usize> {
        let tiles = |tiles: usize, side: u32| vec![tiles, 3, side as usize, side as usize];
        match self {
            Self::Square { side } => tiles(1, *side),
            Self::AnyRes(layout) => tiles(layout.tiles(), layout.side),
            Self::Split(layout) => tiles(layout.tiles(), layout.side),
            Self::Canvas(layout) => tiles(layout.tiles(), layout.side),
            Self::Grid(layout) => vec![layout.patches(), layout.patch_values()],
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

macro_rules! variant_of_layout {
    ($($variant:ident($layout:ty)),+) => {
        $(impl From<$layout> for ImageLayout {
            fn from(layout: $layout) -> Self {
                Self::$variant(layout)
            }
        })+
    };
}

variant_of_layout!(AnyRes(AnyResLayout), Split(SplitLayout), Canvas(CanvasLayout), Grid(GridLayout));
