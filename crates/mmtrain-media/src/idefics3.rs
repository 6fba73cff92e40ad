//! `Idefics3` and `SmolVLM`: an enlarged picture cut into tiles, then the whole picture in one.
//!
//! Follows `image_processing_pil_idefics3.py` of `transformers`. Its `get_number_of_image_patches` sometimes counts
//! other rows than are made; here both come from one function, and it is what is made that counts.

use crate::limits::MAX_PADDED_PIXELS;
use crate::resize::resize;
use crate::{Filter, MediaError, Normalise, Rgb8, Size};

/// No side is enlarged beyond this (`MAX_IMAGE_SIZE`).
const MAX_ENLARGED: u32 = 4096;

/// What `Idefics3` wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Idefics3 {
    /// Of a tile, in pixels (`max_image_size.longest_edge`).
    pub side: u32,
    /// To which the picture is resized before it is cut, in pixels (`size.longest_edge`).
    pub longest_edge: u32,
    /// Whether there are tiles beside the whole picture (`do_image_splitting`).
    pub splitting: Splitting,
    /// How it is resized.
    pub filter: Filter,
    /// How levels become values.
    pub normalise: Normalise,
}

/// Whether a picture is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splitting {
    /// Tiles, and the whole picture in one more.
    Tiles,
    /// Only the whole picture.
    Whole,
}

/// Tiles of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitLayout {
    /// Of a tile, in pixels.
    pub side: u32,
    /// Rows of tiles; 0 if there is only the whole picture.
    pub rows: u32,
    /// Tiles in a row; 0 if there is only the whole picture.
    pub cols: u32,
    /// Of the picture with the longest edge as configured.
    pub enlarged: Size,
    /// Of the picture that is cut: `enlarged`, each side rounded up to tiles.
    pub canvas: Size,
}

impl SplitLayout {
    /// Row by row, the whole picture last.
    pub fn tiles(&self) -> usize {
        1 + (self.rows * self.cols) as usize
    }
}

impl Idefics3 {
    /// Rows and columns; tiny pictures are enlarged, too.
    pub fn layout(&self, image: Size) -> Result<SplitLayout, MediaError> {
        self.check()?;
        image.check_pixels()?;
        let enlarged = below_upper_bound(rescale_to_longest(image, self.longest_edge));
        let canvas = match self.splitting {
            Splitting::Tiles => round_up(enlarged, self.side),
            Splitting::Whole => Size::square(self.side),
        };
        let (rows, cols) = match (canvas.height / self.side, canvas.width / self.side) {
            (1, 1) => (0, 0),
            grid => grid,
        };
        Ok(SplitLayout { side: self.side, rows, cols, enlarged, canvas })
    }

    /// `[rows * cols + 1, 3, side, side]`, the whole picture last. Every step rounds to 8 bits, as Pillow's do.
    pub(crate) fn values(&self, image: &Rgb8, layout: &SplitLayout) -> Vec<f32> {
        let canvas = resize(&resize(image, layout.enlarged, self.filter), layout.canvas, self.filter);
        let whole = resize(&canvas, Size::square(self.side), self.filter);
        let tiles = canvas.tiles(self.side).take(layout.tiles() - 1);
        let (tables, mut values) = (self.normalise.tables(), Vec::new());
        for tile in tiles.chain([whole]) {
            tables.append_planes(&tile, &mut values);
        }
        values
    }

    pub(crate) fn check(&self) -> Result<(), MediaError> {
        MediaError::check_side("max_image_size.longest_edge", self.side)?;
        if self.longest_edge == 0 || u64::from(self.longest_edge).pow(2) > MAX_PADDED_PIXELS {
            let edge = self.longest_edge;
            return Err(MediaError::processor(format!("`size.longest_edge` is {edge}, must be 1 to 11585 pixels")));
        }
        self.normalise.check()
    }
}

/// `_resize_output_size_rescale_to_max_len`: the free side is cut to an integer, then made even.
fn rescale_to_longest(image: Size, longest: u32) -> Size {
    let even = |free: f64| {
        let free = free as u32;
        (free + free % 2).max(1)
    };
    let aspect = image.aspect();
    if image.width >= image.height {
        Size::new(longest, even(f64::from(longest) / aspect))
    } else {
        Size::new(even(f64::from(longest) * aspect), longest)
    }
}

/// `_resize_output_size_scale_below_upper_bound`
fn below_upper_bound(size: Size) -> Size {
    let aspect = size.aspect();
    let bound = f64::from(MAX_ENLARGED);
    if size.width >= size.height && size.width > MAX_ENLARGED {
        Size::new(MAX_ENLARGED, ((bound / aspect) as u32).max(1))
    } else if size.height > size.width && size.height > MAX_ENLARGED {
        Size::new(((bound * aspect) as u32).max(1), MAX_ENLARGED)
    } else {
        size
    }
}

/// `resize_for_vision_encoder`: the longer side up to whole tiles, the other in proportion and up to whole tiles.
fn round_up(size: Size, side: u32) -> Size {
    let up = |length: u32| length.div_ceil(side) * side;
    let aspect = size.aspect();
    if size.width >= size.height {
        let width = up(size.width);
        Size::new(width, up((f64::from(width) / aspect) as u32))
    } else {
        let height = up(size.height);
        Size::new(up((f64::from(height) * aspect) as u32), height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, cases};
    use crate::{MediaLayout, MediaTokens, Processor, TokenGrid};

    #[test]
    fn rows_columns_and_tiles_are_those_of_transformers() {
        for case in cases::<Vec<Case>>("idefics3") {
            case.check_layouts(|size, layout, expected| {
                let MediaLayout::Split(grid) = layout.expect("usable") else { panic!("no tiles") };
                let answer = [grid.rows, grid.cols, grid.tiles() as u32].map(Some);
                assert_eq!(answer, expected, "{} {size}", case.name);
            });
        }
    }

    #[test]
    fn pixels_are_those_of_transformers() {
        let cases: Vec<Case> = cases("idefics3");
        assert_eq!(cases.len(), 6);
        for case in &cases {
            case.check_pictures(&Normalise::HALF);
        }
        cases[0].check_values("idefics3");
    }

    #[test]
    fn every_tile_costs_what_is_left_after_the_shuffle() {
        let json = r#"{"image_processor_type":"SmolVLMImageProcessor","size":{"longest_edge":2048},
            "max_image_size":{"longest_edge":512}}"#;
        let layout = Processor::from_hf(json).expect("readable").layout(Size::new(640, 480)).expect("usable");
        assert_eq!(layout.shape(), [13, 3, 512, 512]);
        assert_eq!(layout.tokens(MediaTokens::Grid(TokenGrid { patch_size: 16, merge: 4, extra: 0 })), 13 * 64);
    }

    #[test]
    fn sizes_without_sense_are_named() {
        let with = |side, longest_edge| {
            let splitting = Splitting::Tiles;
            Idefics3 { side, longest_edge, splitting, filter: Filter::Lanczos, normalise: Normalise::HALF }
        };
        let error = |processor: Idefics3| processor.check().expect_err("refused").to_string();
        assert!(error(with(0, 512)).contains("`max_image_size.longest_edge` is 0"));
        assert!(error(with(512, 0)).contains("`size.longest_edge` is 0"));
        assert!(error(with(512, 1 << 31)).contains("2147483648"));
        assert!(with(512, 512).layout(Size::new(0, 9)).is_err());
    }
}
