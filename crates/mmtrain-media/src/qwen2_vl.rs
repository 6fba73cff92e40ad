//! `Qwen2-VL`: a picture or clip at its own resolution, as rows of patches in the order that the merger wants.
//!
//! Follows `image_processing_pil_qwen2_vl.py` and `video_processing_qwen2_vl.py` of `transformers`.

use crate::limits::MAX_PADDED_PIXELS;
use crate::normalise::Tables;
use crate::resize::resize;
use crate::{Filter, MediaError, Normalise, Rgb8, Size};

/// Longer side over shorter side that is still accepted.
const MAX_ASPECT: u32 = 200;

/// What `Qwen2-VL` wants to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Qwen2Vl {
    /// Side of a patch, in pixels.
    pub patch_size: u32,
    /// Patches a side that become one token (`merge_size`).
    pub merge: u32,
    /// Frames of a patch (`temporal_patch_size`); a picture is repeated.
    pub frames: u32,
    /// Of a picture.
    pub images: PixelRange,
    /// Of a frame.
    pub videos: PixelRange,
    /// How it is resized.
    pub filter: Filter,
    /// How levels become values.
    pub normalise: Normalise,
}

/// Pixels after resizing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelRange {
    /// What has fewer is enlarged (`min_pixels`, or `size.shortest_edge`).
    pub min: u64,
    /// What has more is shrunk (`max_pixels`, or `size.longest_edge`).
    pub max: u64,
}

/// A grid of patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridLayout {
    /// Groups of frames.
    pub time: u32,
    /// Rows of patches.
    pub height: u32,
    /// Patches in a row.
    pub width: u32,
    /// Side of a patch, in pixels.
    pub patch_size: u32,
    /// Patches a side that become one token.
    pub merge: u32,
    /// Frames of a patch.
    pub frames: u32,
}

impl GridLayout {
    /// `image_grid_thw` or `video_grid_thw`: `[time, height, width]` in patches.
    pub fn thw(&self) -> [u32; 3] {
        [self.time, self.height, self.width]
    }

    /// Rows of values.
    pub fn patches(&self) -> usize {
        self.thw().iter().map(|&n| n as usize).product()
    }

    /// Values in a row: channels, frames, rows, columns of a patch.
    pub fn patch_values(&self) -> usize {
        3 * self.frames as usize * (self.patch_size as usize).pow(2)
    }

    /// Placeholders, one for each square of `merge x merge` patches.
    pub fn tokens(&self) -> usize {
        self.patches() / (self.merge as usize).pow(2)
    }

    /// Of the picture that is cut into patches.
    pub fn resized(&self) -> Size {
        Size::new(self.width * self.patch_size, self.height * self.patch_size)
    }
}

impl Qwen2Vl {
    /// The grid of a picture.
    pub fn layout(&self, image: Size) -> Result<GridLayout, MediaError> {
        self.grid(image, 1, self.images)
    }

    /// The grid of a clip of `frames` pictures; the last one is repeated up to whole groups.
    pub fn video_layout(&self, image: Size, frames: usize) -> Result<GridLayout, MediaError> {
        let too_many = || MediaError::video(format!("{frames} frames are more than can be counted"));
        match u32::try_from(frames).map_err(|_| too_many())? {
            0 => Err(MediaError::video("a clip has at least one frame")),
            frames => self.grid(image, frames.div_ceil(self.frames.max(1)), self.videos),
        }
    }

    fn grid(&self, image: Size, time: u32, range: PixelRange) -> Result<GridLayout, MediaError> {
        self.check()?;
        image.check_pixels()?;
        let resized = smart_resize(image, self.patch_size * self.merge, range)?;
        Ok(GridLayout {
            time,
            height: resized.height / self.patch_size,
            width: resized.width / self.patch_size,
            patch_size: self.patch_size,
            merge: self.merge,
            frames: self.frames,
        })
    }

    /// `[time * height * width, 3 * frames * patch * patch]`; `pictures` are of one size, at least one.
    pub(crate) fn values(&self, pictures: &[&Rgb8], layout: &GridLayout) -> Vec<f32> {
        let resized: Vec<Rgb8> = pictures.iter().map(|p| resize(p, layout.resized(), self.filter)).collect();
        let tables = self.normalise.tables();
        let mut values = Vec::with_capacity(layout.patches() * layout.patch_values());
        for time in 0..layout.time {
            let group = (time * layout.frames..(time + 1) * layout.frames).map(|i| i as usize);
            let group: Vec<&Rgb8> = group.map(|i| &resized[i.min(resized.len() - 1)]).collect();
            for (row, col) in merge_order(layout) {
                append_patch(&group, &tables, (row, col), layout.patch_size, &mut values);
            }
        }
        values
    }

    pub(crate) fn check(&self) -> Result<(), MediaError> {
        for (key, value, most) in [
            ("patch_size", self.patch_size, 256),
            ("merge_size", self.merge, 16),
            ("temporal_patch_size", self.frames, 16),
        ] {
            if !(1..=most).contains(&value) {
                return Err(MediaError::processor(format!("`{key}` is {value}, must be 1 to {most}")));
            }
        }
        self.normalise.check()?;
        self.images.check()?;
        self.videos.check()
    }
}

impl PixelRange {
    /// Of a frame in a clip of `frames`, which share `total` pixels: each may have its part of them for every frame of
    /// a patch, but no more than the range says, and in any case 5 % more than its least (`fetch_video` of
    /// `qwen_vl_utils`).
    #[must_use]
    pub fn of_clip(self, frames: u64, total: u64) -> Self {
        let share = total.saturating_mul(2) / frames.max(1);
        let least = (self.min as f64 * 1.05) as u64;
        Self { min: self.min, max: self.max.min(share).max(least) }
    }

    fn check(self) -> Result<(), MediaError> {
        let Self { min, max } = self;
        if min == 0 || min > max || max > MAX_PADDED_PIXELS {
            return Err(MediaError::processor(format!(
                "pixels are to be {min} to {max} (`min_pixels` and `max_pixels`, or `size`), \
                 must be ascending and 1 to {MAX_PADDED_PIXELS}"
            )));
        }
        Ok(())
    }
}

/// Both sides a multiple of `factor`, pixels in `range` if the sides allow it, the aspect about the same.
///
/// `round` is Python's: halves go to the even multiple. A side that would round to nothing is enlarged, because its
/// zero pixels are fewer than `range.min`.
fn smart_resize(image: Size, factor: u32, range: PixelRange) -> Result<Size, MediaError> {
    let (long, short) = (image.width.max(image.height), image.width.min(image.height));
    if u64::from(long) > u64::from(short) * u64::from(MAX_ASPECT) {
        return Err(MediaError::size(image, format!("one side is more than {MAX_ASPECT} times the other")));
    }
    let (width, height, step) = (f64::from(image.width), f64::from(image.height), f64::from(factor));
    let rounded = [width, height].map(|side| (side / step).round_ties_even() * step);
    let pixels = rounded[0] * rounded[1];
    let sides = if pixels > range.max as f64 {
        let beta = ((height * width) / range.max as f64).sqrt();
        [width, height].map(|side| ((side / beta / step).floor() * step).max(step))
    } else if pixels < range.min as f64 {
        let beta = (range.min as f64 / (height * width)).sqrt();
        [width, height].map(|side| (side * beta / step).ceil() * step)
    } else {
        rounded
    };
    Ok(Size::new(sides[0] as u32, sides[1] as u32))
}

/// (row, column) of the patches, so that those that become one token follow each other.
fn merge_order(layout: &GridLayout) -> impl Iterator<Item = (u32, u32)> {
    let merge = layout.merge;
    let (rows, cols) = (layout.height / merge, layout.width / merge);
    let squares = (0..rows).flat_map(move |row| (0..cols).map(move |col| (row * merge, col * merge)));
    squares
        .flat_map(move |(top, left)| (0..merge).flat_map(move |row| (0..merge).map(move |col| (top + row, left + col))))
}

/// A patch of each picture of the group, channel by channel: `[3, frames, patch, patch]`.
fn append_patch(group: &[&Rgb8], tables: &Tables, (row, col): (u32, u32), patch: u32, values: &mut Vec<f32>) {
    let rows = (row * patch) as usize..((row + 1) * patch) as usize;
    let columns = (col * patch) as usize * 3..((col + 1) * patch) as usize * 3;
    for (channel, table) in tables.0.iter().enumerate() {
        for picture in group {
            for y in rows.clone() {
                let levels = picture.row(y)[columns.clone()].iter().skip(channel).step_by(3);
                values.extend(levels.map(|&level| table[usize::from(level)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, cases};
    use crate::{MediaLayout, MediaTokens, Processor, TokenGrid};

    fn qwen() -> Qwen2Vl {
        let Processor::Qwen2Vl(processor) =
            Processor::from_hf(r#"{"image_processor_type":"Qwen2VLImageProcessor"}"#).expect("class defaults")
        else {
            panic!("another family")
        };
        processor
    }

    #[test]
    fn sizes_and_token_counts_are_those_of_transformers() {
        for case in cases::<Vec<Case>>("qwen2_vl") {
            case.check_layouts(|size, layout, expected| {
                let answer = layout.map(|layout| {
                    let MediaLayout::Grid(grid) = &layout else { panic!("no grid") };
                    let tile = TokenGrid { merge: grid.merge, ..TokenGrid::patches(grid.patch_size) };
                    let tokens = layout.tokens(MediaTokens::Grid(tile)) as u32;
                    vec![Some(grid.resized().height), Some(grid.resized().width), Some(tokens)]
                });
                match answer {
                    Ok(answer) => assert_eq!(answer, expected, "{} {size}", case.name),
                    Err(error) => {
                        assert_eq!([None], expected, "{} {size}: {error}", case.name);
                        assert!(error.to_string().contains("200 times"));
                    }
                }
            });
        }
    }

    #[test]
    fn pixels_and_grids_are_those_of_transformers() {
        let cases: Vec<Case> = cases("qwen2_vl");
        assert_eq!(cases.len(), 4);
        for case in &cases {
            case.check_pictures(&Normalise::CLIP);
        }
        cases[0].check_videos(&Normalise::CLIP);
        cases[0].check_values("qwen2_vl");
    }

    #[test]
    fn halves_go_to_the_even_multiple() {
        let range = PixelRange { min: 1, max: 1 << 20 };
        let side = |side| smart_resize(Size::square(side), 28, range).expect("usable").width;
        assert_eq!([42, 70, 98, 126].map(side), [56, 56, 112, 112]);
    }

    /// `(height, width)` to what they become, as `transformers` 4.49 and 5 and `qwen_vl_utils` have it.
    ///
    /// Pictures with a side below 28 pixels are an error in 4.49 only; of those with one below 14, which no range
    /// enlarges, `qwen_vl_utils` makes more pixels. Ours is the rule of 5, on which the fixtures stand.
    #[test]
    fn sizes_become_multiples_of_28_within_the_range() {
        let model = PixelRange { min: 3136, max: 12_845_056 };
        let advised = PixelRange { min: 256 * 784, max: 1280 * 784 };
        let sides = |range, (height, width)| {
            let size = smart_resize(Size::new(width, height), 28, range).expect("usable");
            (size.height, size.width, size.pixels() / 784)
        };
        for (size, by_model, by_advice) in [
            ((28, 28), (56, 56, 4), (448, 448, 256)),
            ((42, 42), (56, 56, 4), (448, 448, 256)),
            ((70, 70), (56, 56, 4), (448, 448, 256)),
            ((98, 98), (112, 112, 16), (448, 448, 256)),
            ((14, 14), (56, 56, 4), (448, 448, 256)),
            ((224, 224), (224, 224, 64), (448, 448, 256)),
            ((336, 336), (336, 336, 144), (448, 448, 256)),
            ((333, 500), (336, 504, 216), (392, 560, 280)),
            ((480, 640), (476, 644, 391), (476, 644, 391)),
            ((1080, 1920), (1092, 1932, 2691), (728, 1316, 1222)),
            ((4000, 6000), (2912, 4368, 16_224), (812, 1204, 1247)),
            ((28, 5600), (28, 5600, 200), (56, 6356, 454)),
        ] {
            assert_eq!((sides(model, size), sides(advised, size)), (by_model, by_advice), "{size:?}");
        }
        assert_eq!(sides(model, (20, 300)), (28, 308, 11));
        assert!(smart_resize(Size::new(5601, 28), 28, model).is_err());
    }

    #[test]
    fn frames_of_a_long_clip_share_its_pixels() {
        let (frame, total) = (PixelRange { min: 128 * 784, max: 768 * 784 }, 24_576 * 784);
        let most = |frames| frame.of_clip(frames, total).max;
        assert_eq!(most(2), 768 * 784);
        assert_eq!(most(64), 768 * 784);
        assert_eq!(most(128), 384 * 784);
        assert_eq!(most(768), 105_369);
        assert_eq!(frame.of_clip(768, u64::MAX).max, 768 * 784);
    }

    #[test]
    fn the_last_frame_fills_its_group() {
        let layout = |frames| qwen().video_layout(Size::square(280), frames).expect("usable").thw();
        assert_eq!([1, 2, 3, 8].map(layout).map(|thw| thw[0]), [1, 1, 2, 4]);
    }

    #[test]
    fn clips_without_sense_are_refused() {
        let processor = Processor::Qwen2Vl(qwen());
        let error = |frames: &[Rgb8]| processor.process_video(frames).expect_err("refused").to_string();
        assert!(error(&[]).contains("at least one frame"));
        let (a, b) = (Rgb8::filled(30, 40, [0; 3]), Rgb8::filled(30, 41, [0; 3]));
        assert!(error(&[a, b]).contains("30x40 and of 30x41"));
        let hour = processor.video_layout(Size::new(1280, 720), 3600 * 30).expect_err("refused");
        assert_eq!(hour.reason(), "unusable_size");
        assert!(processor.video_layout(Size::square(280), 1 << 40).is_err());
    }

    #[test]
    fn numbers_without_sense_are_named() {
        let error = |processor: Qwen2Vl| processor.layout(Size::square(9)).expect_err("refused").to_string();
        assert!(error(Qwen2Vl { patch_size: 0, ..qwen() }).contains("`patch_size` is 0"));
        assert!(error(Qwen2Vl { merge: 99, ..qwen() }).contains("`merge_size` is 99"));
        assert!(error(Qwen2Vl { frames: 0, ..qwen() }).contains("`temporal_patch_size` is 0"));
        assert!(error(Qwen2Vl { images: PixelRange { min: 9, max: 8 }, ..qwen() }).contains("9 to 8"));
        assert!(error(Qwen2Vl { videos: PixelRange { min: 9, max: u64::MAX }, ..qwen() }).contains("ascending"));
    }
}
