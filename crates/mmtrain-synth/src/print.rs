//! Pictures with words: boards of a plain colour with lines of text, over a textured background.
//!
//! Words are dark on light, in any of many inks, as large as the picture allows for whatever may be written. Boards stand on a grid of
//! eight pixels of the font, so that each line lies in one row of an encoder's patches: how a letter looks is learned anew for each
//! place that it may have in a patch, and from words that lay anywhere a model of a few layers learned nothing in the time in which it
//! learns to read these.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::background;
use crate::font::{ADVANCE, HEIGHT, WIDTH, is_ink};
use crate::raster::to_bytes;
use crate::rng::{Domain, Stream};
use crate::{SceneKey, SynthError};

/// Small letters have hard edges, which lower qualities blur.
const JPEG_QUALITY: u8 = 95;
/// From the edge of a board to its words, and between two lines of it; these and the grid are scaled with the font.
const MARGIN: u32 = 1;
const LEADING: u32 = 1;
/// What places of boards are multiples of: the height of a line.
const GRID: u32 = HEIGHT + LEADING;
/// Brightness of the two colours of a board, at least this far apart.
const LIGHT: (f32, f32) = (0.80, 1.0);
const DARK: (f32, f32) = (0.0, 0.22);
/// What a dark colour has more of one part.
const TINT: f32 = 0.3;
/// Per-pixel noise, plus or minus.
const NOISE: f32 = 0.03;

/// Smallest side of a picture, which all that is written fits into.
pub(crate) const SMALLEST: u32 = 64;
/// Lines of text that stand together.
pub(crate) type Lines = Vec<String>;

/// A board in its place.
#[derive(Debug)]
struct Board<'a> {
    lines: &'a [String],
    left: u32,
    top: u32,
    scale: u32,
    ground: [f32; 3],
    ink: [f32; 3],
}

/// The picture as JPEG.
pub(crate) fn jpg(key: &SceneKey, boards: &[Lines], size: u32) -> Result<Vec<u8>, SynthError> {
    let mut jpg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpg, JPEG_QUALITY)
        .encode(&pixels(key, boards, size), size, size, ExtendedColorType::Rgb8)
        .map_err(|source| SynthError::Encode { split: key.split.name(), index: key.index, source })?;
    Ok(jpg)
}

/// `[size, size, 3]`; the boards stand below one another, in this order.
fn pixels(key: &SceneKey, boards: &[Lines], size: u32) -> Vec<u8> {
    let mut pixels = background::paint(&mut Stream::new(key, Domain::Background), size);
    let mut rng = Stream::new(key, Domain::Print);
    for board in placed(&mut rng, boards, size) {
        board.draw(&mut pixels, size);
    }
    let mut noise = vec![0; pixels.len()];
    rng.fill(&mut noise);
    for (value, noise) in pixels.iter_mut().zip(noise) {
        *value += (f32::from(noise) / 127.5 - 1.0) * NOISE;
    }
    to_bytes(&pixels)
}

/// Width and height of a board at a factor of the font.
fn board(lines: &[String], scale: u32) -> (u32, u32) {
    let columns = lines.iter().map(|line| line.chars().count() as u32 * ADVANCE).max().unwrap_or(0).saturating_sub(1);
    let rows = lines.len() as u32 * (HEIGHT + LEADING) - LEADING;
    ((columns + 2 * MARGIN) * scale, (rows + 2 * MARGIN) * scale)
}

/// Each board at a random place on the grid.
fn placed<'a>(rng: &mut Stream, boards: &'a [Lines], size: u32) -> Vec<Board<'a>> {
    let scale = scale(size);
    let step = GRID * scale;
    let rows = |lines: &Lines| board(lines, scale).1.div_ceil(step);
    let mut spare = (size / step).saturating_sub(boards.iter().map(rows).sum());
    let mut next = 0;
    let place = |lines: &'a Lines| {
        let down = rng.below(spare as usize + 1) as u32;
        spare -= down;
        let row = next + down;
        next = row + rows(lines);
        let columns = size.saturating_sub(board(lines, scale).0) / step;
        let column = rng.below(columns as usize + 1) as u32;
        let (ground, ink) = colours(rng);
        Board { lines, left: column * step, top: row * step, scale, ground, ink }
    };
    boards.iter().map(place).collect()
}

/// The factor of the font in a picture of this side.
fn scale(size: u32) -> u32 {
    (size / SMALLEST).max(1)
}

/// A light ground and a dark ink.
fn colours(rng: &mut Stream) -> ([f32; 3], [f32; 3]) {
    let light = [0; 3].map(|_| rng.between(LIGHT.0, LIGHT.1));
    let mut dark = [0; 3].map(|_| rng.between(DARK.0, DARK.1));
    dark[rng.below(3)] += rng.between(0.0, TINT);
    (light, dark)
}

impl Board<'_> {
    fn draw(&self, pixels: &mut [f32], size: u32) {
        let (width, height) = board(self.lines, self.scale);
        let mut put = |x: u32, y: u32, colour: [f32; 3]| {
            let (x, y) = (self.left + x, self.top + y);
            if x < size && y < size {
                let at = ((y * size + x) * 3) as usize;
                pixels[at..at + 3].copy_from_slice(&colour);
            }
        };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            put(x, y, self.ground);
        }
        for (row, line) in self.lines.iter().enumerate() {
            let top = (MARGIN + row as u32 * (HEIGHT + LEADING)) * self.scale;
            for (column, c) in line.chars().enumerate() {
                let left = (MARGIN + column as u32 * ADVANCE) * self.scale;
                for (x, y) in (0..HEIGHT * self.scale).flat_map(|y| (0..WIDTH * self.scale).map(move |x| (x, y))) {
                    if is_ink(c, x / self.scale, y / self.scale) {
                        put(left + x, top + y, self.ink);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Split;
    use crate::font::GLYPHS;
    use crate::reading::ReadingTruth;

    const SIZES: [u32; 4] = [64, 80, 96, 192];

    /// Luma of the decoded JPEG.
    fn seen(jpg: &[u8]) -> Vec<f32> {
        let picture = image::load_from_memory(jpg).expect("a picture").into_rgb8();
        picture.pixels().map(|p| f32::from(p[0]) * 0.299 + f32::from(p[1]) * 0.587 + f32::from(p[2]) * 0.114).collect()
    }

    /// The glyph whose ink and ground are told apart best by the pixels of a cell.
    fn best(luma: &[f32], size: u32, (left, top): (u32, u32), scale: u32) -> char {
        let cells = || (0..HEIGHT).flat_map(|row| (0..WIDTH).map(move |column| (column, row)));
        let levels: Vec<f32> = cells()
            .map(|(column, row)| {
                let places =
                    (0..scale * scale).map(|i| (left + column * scale + i % scale, top + row * scale + i / scale));
                places.map(|(x, y)| luma[(y * size + x) as usize]).sum::<f32>() / (scale * scale) as f32
            })
            .collect();
        let error = |c: char| {
            let ink: Vec<bool> = cells().map(|(column, row)| is_ink(c, column, row)).collect();
            let mean = |wanted: bool| {
                let of = levels.iter().zip(&ink).filter(|(_, ink)| **ink == wanted).map(|(level, _)| *level);
                of.clone().sum::<f32>() / of.count().max(1) as f32
            };
            let means = [mean(false), mean(true)];
            let spread =
                levels.iter().zip(&ink).map(|(level, ink)| (level - means[usize::from(*ink)]).powi(2)).sum::<f32>();
            (spread, c)
        };
        let (low, high) =
            levels.iter().fold((f32::MAX, f32::MIN), |(low, high), level| (low.min(*level), high.max(*level)));
        if high - low < 60.0 {
            return ' ';
        }
        GLYPHS.iter().map(|(c, _)| error(*c)).min_by(|a, b| a.0.total_cmp(&b.0)).expect("glyphs").1
    }

    #[test]
    fn every_drawn_text_is_read_back_by_its_glyphs() {
        let mut scales = BTreeMap::new();
        for index in 0..900 {
            let key = SceneKey { seed: 11, split: Split::Validation, index, objects: (1, 2) };
            let size = SIZES[index as usize % SIZES.len()];
            let boards = ReadingTruth::sample(&key).boards();
            let luma = seen(&jpg(&key, &boards, size).expect("a picture"));
            for board in placed(&mut Stream::new(&key, Domain::Print), &boards, size) {
                *scales.entry(board.scale).or_insert(0) += 1;
                for (row, line) in board.lines.iter().enumerate() {
                    let top = board.top + (MARGIN + row as u32 * (HEIGHT + LEADING)) * board.scale;
                    let read = (0..line.chars().count() as u32).map(|column| {
                        best(&luma, size, (board.left + (MARGIN + column * ADVANCE) * board.scale, top), board.scale)
                    });
                    assert_eq!(&read.collect::<String>(), line, "{index} at {size}, {}x", board.scale);
                }
            }
        }
        assert!(scales[&1] > 600 && scales[&3] > 200, "{scales:?}");
    }

    #[test]
    fn every_scene_fits_into_the_smallest_picture_and_no_board_covers_another() {
        for index in 0..3_000 {
            let key = SceneKey { seed: 12, split: Split::Train, index, objects: (1, 2) };
            let boards = ReadingTruth::sample(&key).boards();
            let mut free = 0;
            for placed in placed(&mut Stream::new(&key, Domain::Print), &boards, SMALLEST) {
                let (width, height) = board(placed.lines, placed.scale);
                assert!(placed.left + width <= SMALLEST && placed.top + height <= SMALLEST, "{placed:?}");
                assert!(placed.top >= free, "{placed:?}");
                free = placed.top + height;
            }
        }
    }
}
