//! `LLaVA-NeXT`'s `AnyRes`: the whole picture in one tile, then the tiles of the resolution that suits it best.
//!
//! Follows `image_processing_pil_llava_next.py`, `select_best_resolution` in `image_processing_utils.py` and
//! `unpad_image` in `modeling_llava_next.py` of `transformers`.

use std::ops::Range;

use crate::limits::MAX_PADDED_PIXELS;
use crate::resize::resize;
use crate::{FeatureRows, Filter, MediaError, Normalise, Rgb8, Size, TokenGrid};

/// What `LLaVA-NeXT` wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyRes {
    /// Of a tile, in pixels.
    pub side: u32,
    /// `image_grid_pinpoints`: canvases to choose from, each a multiple of `side` both ways.
    pub pinpoints: Vec<Size>,
    /// How it is resized.
    pub filter: Filter,
    /// How levels become values.
    pub normalise: Normalise,
}

/// Tiles of a picture, and what of them shows the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyResLayout {
    /// Of a tile, in pixels.
    pub side: u32,
    /// Rows of tiles, without the base tile.
    pub rows: u32,
    /// Tiles in a row.
    pub cols: u32,
    /// Of the picture as it came; its aspect decides what is padding.
    pub image: Size,
    /// Of the picture on the canvas, in whose middle it lies.
    pub resized: Size,
}

impl AnyRes {
    /// The canvas that keeps most of the picture, and of those the one with the least padding.
    pub fn layout(&self, image: Size) -> Result<AnyResLayout, MediaError> {
        self.check()?;
        image.check_pixels()?;
        let canvas = self.best_resolution(image);
        Ok(AnyResLayout {
            side: self.side,
            rows: canvas.height / self.side,
            cols: canvas.width / self.side,
            image,
            resized: fit_into(image, canvas),
        })
    }

    /// `[1 + rows * cols, 3, side, side]`, the base tile first.
    pub(crate) fn values(&self, image: &Rgb8, layout: &AnyResLayout) -> Vec<f32> {
        let mut canvas = Rgb8::filled(layout.cols * self.side, layout.rows * self.side, [0; 3]);
        let resized = resize(image, layout.resized, self.filter);
        canvas.paste(&resized, (canvas.width - resized.width) / 2, (canvas.height - resized.height) / 2);
        let base = resize(image, Size::square(self.side), self.filter);
        let (tables, mut values) = (self.normalise.tables(), Vec::new());
        for tile in std::iter::once(base).chain(canvas.tiles(self.side)) {
            tables.append_planes(&tile, &mut values);
        }
        values
    }

    pub(crate) fn check(&self) -> Result<(), MediaError> {
        MediaError::check_side("size", self.side)?;
        self.normalise.check()?;
        if self.pinpoints.is_empty() {
            return Err(MediaError::processor("`image_grid_pinpoints` is empty"));
        }
        self.pinpoints.iter().try_for_each(|&canvas| self.check_pinpoint(canvas))
    }

    fn check_pinpoint(&self, canvas: Size) -> Result<(), MediaError> {
        let side = self.side;
        let whole = |length: u32| length > 0 && length.is_multiple_of(side);
        if !whole(canvas.width) || !whole(canvas.height) {
            return Err(MediaError::processor(format!(
                "`image_grid_pinpoints` has {canvas} (width x height), which is no multiple of the tile's {side} pixels"
            )));
        }
        if canvas.pixels() > MAX_PADDED_PIXELS {
            return Err(MediaError::processor(format!(
                "`image_grid_pinpoints` has {canvas}, at most {MAX_PADDED_PIXELS} pixels are made"
            )));
        }
        Ok(())
    }

    /// `select_best_resolution`; the first of equals.
    fn best_resolution(&self, image: Size) -> Size {
        let mut best = (self.pinpoints[0], 0, u64::MAX);
        for &canvas in &self.pinpoints {
            let (width, height) = (f64::from(image.width), f64::from(image.height));
            let scale = (f64::from(canvas.width) / width).min(f64::from(canvas.height) / height);
            let effective = ((width * scale) as u64 * (height * scale) as u64).min(image.pixels());
            let wasted = canvas.pixels() - effective;
            if effective > best.1 || (effective == best.1 && wasted < best.2) {
                best = (canvas, effective, wasted);
            }
        }
        best.0
    }
}

/// `get_patch_output_size`: as large as the canvas allows, the free side rounded up.
fn fit_into(image: Size, canvas: Size) -> Size {
    let scale_width = f64::from(canvas.width) / f64::from(image.width);
    let scale_height = f64::from(canvas.height) / f64::from(image.height);
    if scale_width < scale_height {
        let height = (f64::from(image.height) * scale_width).ceil() as u32;
        Size::new(canvas.width, height.min(canvas.height))
    } else {
        let width = (f64::from(image.width) * scale_height).ceil() as u32;
        Size::new(width.min(canvas.width), canvas.height)
    }
}

impl AnyResLayout {
    /// The base tile and those of the canvas.
    pub fn tiles(&self) -> usize {
        1 + (self.rows * self.cols) as usize
    }

    /// The rows and columns of the canvas' token grid that show picture and no padding.
    ///
    /// `per_side` is the number of tokens along a tile. The rounding is that of `unpad_image`, which works on
    /// tokens and the picture's own size: it is not where the pixels of [`resized`](Self::resized) end.
    pub fn unpadded(&self, per_side: usize) -> (Range<usize>, Range<usize>) {
        let (rows, cols) = (self.rows as usize * per_side, self.cols as usize * per_side);
        let (width, height) = (f64::from(self.image.width), f64::from(self.image.height));
        if self.image.aspect() > cols as f64 / rows as f64 {
            let kept = truncate_7(height * (cols as f64 / width));
            let padding = (rows - kept.min(rows)) / 2;
            (padding..rows - padding, 0..cols)
        } else {
            let kept = truncate_7(width * (rows as f64 / height));
            let padding = (cols - kept.min(cols)) / 2;
            (0..rows, padding..cols - padding)
        }
    }

    /// The base tile, then what is [`unpadded`](Self::unpadded) with a newline behind each row
    /// (`pack_image_features` of `modeling_llava_next.py`).
    pub fn rows(&self, tile: TokenGrid) -> FeatureRows {
        let (side, per_tile) = (tile.per_side(self.side), tile.per_tile(self.side));
        let (rows, cols) = self.unpadded(side);
        let mut placed = (0..per_tile as u32).map(Some).collect::<Vec<_>>();
        for row in rows {
            placed.extend(cols.clone().map(|col| Some(self.feature([row, col], side, per_tile) as u32)));
            placed.push(None);
        }
        FeatureRows { made: self.tiles() * per_tile, placed }
    }

    /// The number of the feature at a place of the canvas' token grid.
    fn feature(&self, [row, col]: [usize; 2], side: usize, per_tile: usize) -> usize {
        let tile = 1 + row / side * self.cols as usize + col / side;
        tile * per_tile + row % side * side + col % side
    }
}

/// Python's `int(round(x, 7))`: cut off, but for what is a rounding error below the next integer.
fn truncate_7(x: f64) -> usize {
    let nearest = x.round();
    if (nearest - x).abs() <= 0.5e-7 { nearest as usize } else { x as usize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, cases};
    use crate::{MediaLayout, MediaTokens, Processor};

    fn processor(side: u32, pinpoints: Vec<Size>) -> AnyRes {
        AnyRes { side, pinpoints, filter: Filter::Bicubic, normalise: Normalise::CLIP }
    }

    #[test]
    fn grids_and_token_counts_are_those_of_transformers() {
        for case in cases::<Vec<Case>>("anyres") {
            let tile = MediaTokens::Grid(TokenGrid::patches(case.patch_size));
            case.check_layouts(|size, layout, expected| {
                let layout = layout.expect("usable");
                let MediaLayout::AnyRes(grid) = &layout else { panic!("{layout:?}") };
                let answer = [grid.rows, grid.cols, layout.tokens(tile) as u32].map(Some);
                assert_eq!(answer, expected, "{} {size}", case.name);
            });
        }
    }

    #[test]
    fn pixels_are_those_of_transformers() {
        let cases: Vec<Case> = cases("anyres");
        assert_eq!(cases.len(), 3);
        for case in &cases {
            let Processor::AnyRes(processor) = case.processor() else { panic!("{}", case.name) };
            case.check_pictures(&processor.normalise);
        }
        cases[0].check_values("anyres");
    }

    #[test]
    fn a_rounding_error_below_an_integer_is_no_token_less() {
        assert_eq!([2.999_999_99, 2.999_999_9, 3.0, 3.999].map(truncate_7), [3, 2, 3, 3]);
    }

    #[test]
    fn a_line_keeps_no_row_of_its_canvas() {
        let layout = processor(24, vec![Size::new(48, 24)]).layout(Size::new(1000, 1)).expect("usable");
        assert_eq!(layout.unpadded(6), (3..3, 0..12));
        assert_eq!(layout.rows(TokenGrid::patches(4)).placed.len(), 36);
    }

    #[test]
    fn pinpoints_that_make_no_tiles_are_named() {
        let error = |side, pinpoints| processor(side, pinpoints).check().expect_err("refused").to_string();
        assert!(error(24, vec![]).contains("empty"));
        assert!(error(24, vec![Size::new(48, 36)]).contains("48x36"));
        assert!(error(24, vec![Size::new(0, 24)]).contains("0x24"));
        assert!(error(0, vec![Size::new(24, 24)]).contains("`size` is 0"));
        assert!(error(4096, vec![Size::new(4096 * 1000, 4096)]).contains("at most"));
    }
}
