//! Mllama: a picture on the canvas of tiles that suits it best, padded with zeros.
//!
//! Follows `image_processing_pil_mllama.py` of `transformers`.

use crate::resize::resize;
use crate::{Filter, MediaError, Normalise, Rgb8, Size};

/// More tiles than any checkpoint has, few enough for all arrangements to be tried.
const MOST_TILES: u32 = 64;

/// What Mllama wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Mllama {
    /// Of a tile, in pixels.
    pub side: u32,
    /// Most tiles of a canvas (`max_image_tiles`).
    pub max_tiles: u32,
    /// How it is resized.
    pub filter: Filter,
    /// How levels become values; the padding is level 0.
    pub normalise: Normalise,
}

/// Tiles of a canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanvasLayout {
    /// Of a tile, in pixels.
    pub side: u32,
    /// Rows of tiles.
    pub rows: u32,
    /// Tiles in a row.
    pub cols: u32,
    /// Of the picture, whose corner is the canvas' upper left.
    pub resized: Size,
    /// Tiles that the model has room for; what is beyond [`tiles`](Self::tiles) is zeros, after normalising.
    pub max_tiles: u32,
}

impl CanvasLayout {
    /// Tiles of the canvas.
    pub fn tiles(&self) -> usize {
        (self.rows * self.cols) as usize
    }

    /// 1 and up: where (`rows`, `cols`) stands among the arrangements of at most `max_tiles`; 0 is no picture.
    pub fn aspect_ratio_id(&self) -> u32 {
        let place = arrangements(self.max_tiles).position(|grid| grid == (self.rows, self.cols));
        place.map_or(0, |place| place as u32 + 1)
    }

    /// `[max_tiles]`: 1 for a tile of the canvas, 0 beyond.
    pub fn aspect_ratio_mask(&self) -> Vec<u8> {
        (0..self.max_tiles as usize).map(|tile| u8::from(tile < self.tiles())).collect()
    }
}

impl Mllama {
    /// The canvas that enlarges the picture least, or else shrinks it least; of equals the one with fewest tiles.
    pub fn layout(&self, image: Size) -> Result<CanvasLayout, MediaError> {
        self.check()?;
        image.check_pixels()?;
        let (rows, cols) = self.best_canvas(image);
        let resized = self.fit_to_canvas(image, Size::new(cols * self.side, rows * self.side));
        Ok(CanvasLayout { side: self.side, rows, cols, resized, max_tiles: self.max_tiles })
    }

    /// `[rows * cols, 3, side, side]`
    pub(crate) fn values(&self, image: &Rgb8, layout: &CanvasLayout) -> Vec<f32> {
        let mut canvas = Rgb8::filled(layout.cols * self.side, layout.rows * self.side, [0; 3]);
        canvas.paste(&resize(image, layout.resized, self.filter), 0, 0);
        let (tables, mut values) = (self.normalise.tables(), Vec::new());
        canvas.tiles(self.side).for_each(|tile| tables.append_planes(&tile, &mut values));
        values
    }

    pub(crate) fn check(&self) -> Result<(), MediaError> {
        MediaError::check_side("size", self.side)?;
        self.normalise.check()?;
        match self.max_tiles {
            1..=MOST_TILES => Ok(()),
            tiles => Err(MediaError::processor(format!("`max_image_tiles` is {tiles}, must be 1 to {MOST_TILES}"))),
        }
    }

    /// Rows and columns by `get_optimal_tiled_canvas`.
    fn best_canvas(&self, image: Size) -> (u32, u32) {
        let scale = |(rows, cols): (u32, u32)| {
            let height = f64::from(rows * self.side) / f64::from(image.height);
            let width = f64::from(cols * self.side) / f64::from(image.width);
            height.min(width)
        };
        // Enlarging comes first, the least of it; then shrinking, the least of it. Of equals the first has fewest tiles:
        // the smaller of two numbers of rows with the smaller of two numbers of columns is an arrangement, too.
        let better = |new: f64, best: f64| if best >= 1.0 { (1.0..best).contains(&new) } else { new > best };
        let grids = arrangements(self.max_tiles);
        grids.reduce(|best, grid| if better(scale(grid), scale(best)) { grid } else { best }).unwrap_or((1, 1))
    }

    /// `get_image_size_fit_to_canvas`: not smaller than a tile, not larger than the canvas.
    fn fit_to_canvas(&self, image: Size, canvas: Size) -> Size {
        let width = image.width.clamp(self.side, canvas.width);
        let height = image.height.clamp(self.side, canvas.height);
        let scale_width = f64::from(width) / f64::from(image.width);
        let scale_height = f64::from(height) / f64::from(image.height);
        let scaled = |side: u32, scale: f64, most: u32| ((f64::from(side) * scale).floor() as u32).max(1).min(most);
        if scale_width < scale_height {
            Size::new(width, scaled(image.height, scale_width, height))
        } else {
            Size::new(scaled(image.width, scale_height, width), height)
        }
    }
}

/// (rows, columns) of at most `max_tiles` tiles, in the order of `get_all_supported_aspect_ratios`.
fn arrangements(max_tiles: u32) -> impl Iterator<Item = (u32, u32)> {
    (1..=max_tiles).flat_map(move |rows| (1..=max_tiles / rows).map(move |cols| (rows, cols)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, cases};
    use crate::{MediaLayout, MediaTokens, Processor, TokenGrid};

    fn processor(case: &Case) -> Mllama {
        let Processor::Mllama(processor) = case.processor() else { panic!("{}", case.name) };
        processor
    }

    #[test]
    fn canvases_ids_and_masks_are_those_of_transformers() {
        for case in cases::<Vec<Case>>("mllama") {
            case.check_layouts(|size, layout, expected| {
                let MediaLayout::Canvas(canvas) = layout.expect("usable") else { panic!("no canvas") };
                let resized = canvas.resized;
                let mut answer =
                    vec![canvas.rows, canvas.cols, resized.height, resized.width, canvas.aspect_ratio_id()];
                answer.extend(canvas.aspect_ratio_mask().into_iter().map(u32::from));
                assert_eq!(answer.into_iter().map(Some).collect::<Vec<_>>(), expected, "{} {size}", case.name);
            });
        }
    }

    #[test]
    fn pixels_are_those_of_transformers() {
        let cases: Vec<Case> = cases("mllama");
        assert_eq!(cases.len(), 4);
        for case in &cases {
            case.check_pictures(&processor(case).normalise);
        }
        cases[0].check_values("mllama");
    }

    #[test]
    fn all_tiles_are_attended_to_for_one_placeholder() {
        let case = cases::<Vec<Case>>("mllama").remove(3);
        let layout = MediaLayout::from(processor(&case).layout(Size::new(500, 300)).expect("usable"));
        let tile = TokenGrid { patch_size: 14, merge: 1, extra: 1 };
        assert_eq!(layout.rows(MediaTokens::Grid(tile)).made, 4 * 1601);
        assert_eq!(layout.tokens(MediaTokens::Marker), 1);
    }

    #[test]
    fn numbers_of_tiles_without_sense_are_named() {
        for max_tiles in [0, 65, u32::MAX] {
            let broken = Mllama { side: 4, max_tiles, filter: Filter::Bilinear, normalise: Normalise::HALF };
            let error = broken.layout(Size::new(3, 3)).expect_err("refused").to_string();
            assert!(error.contains(&format!("`max_image_tiles` is {max_tiles}")), "{error}");
        }
    }
}
