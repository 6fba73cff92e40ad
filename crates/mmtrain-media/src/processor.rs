//! Pixels to the encoder's input: resize, crop or pad, rescale, normalise.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_PADDED_PIXELS, MAX_SIDE};
use crate::pixels::Window;
use crate::resize::{resize, resize_window};
use crate::{Filter, MediaError, MediaLayout, Normalise, Processor, Rgb8, Size};

/// How a picture of any shape becomes a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Stretch to the square (`SigLIP`).
    Exact,
    /// Resize the shortest edge to the square's side, then cut out the centre (CLIP).
    ShortestEdgeCrop,
    /// Resize the shortest edge to more than the square's side, then cut out the centre (`DINOv2`: 256 and 224).
    ResizeCrop {
        /// Of the picture before the crop, in pixels.
        shortest_edge: u32,
    },
    /// Pad to a square with the mean colour, then shrink (`LLaVA`-1.5's `pad`).
    PadSquare,
}

/// What an image encoder wants to see; the meaningful part of a `preprocessor_config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageProcessor {
    /// How the square is reached.
    pub fit: Fit,
    /// Side of the square, in pixels.
    pub size: u32,
    /// How it is resized.
    #[serde(default)]
    pub filter: Filter,
    /// Per channel, on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Per channel, on the scale 0 to 1.
    pub std: [f32; 3],
}

impl ImageProcessor {
    /// `SigLIP`'s: stretched to `size`, values in -1 to 1.
    pub fn siglip(size: u32) -> Self {
        Self::new(Fit::Exact, size, Normalise::HALF)
    }

    /// CLIP's: shortest edge to `size`, centre crop, `OpenAI`'s mean and deviation.
    pub fn clip(size: u32) -> Self {
        Self::new(Fit::ShortestEdgeCrop, size, Normalise::CLIP)
    }

    fn new(fit: Fit, size: u32, Normalise { mean, std }: Normalise) -> Self {
        Self { fit, size, filter: Filter::Bicubic, mean, std }
    }

    /// Reads a Hugging Face `preprocessor_config.json` that makes one square of a picture.
    ///
    /// Errors name the key when the file asks for something this processor does not do (a size that is
    /// no square, tiles); [`Processor::from_hf`] reads the others.
    pub fn from_hf(json: &str) -> Result<Self, MediaError> {
        match Processor::from_hf(json)? {
            Processor::Square(processor) => Ok(processor),
            other => {
                Err(MediaError::processor(format!("it makes more than one square of a picture ({})", other.name())))
            }
        }
    }

    /// The `preprocessor_config.json` from which [`from_hf`](Self::from_hf) reads this processor back.
    pub fn to_hf(&self) -> serde_json::Value {
        crate::hf::write_square(self)
    }

    /// One square, whatever the picture.
    ///
    /// Refuses pictures that would need a canvas out of all proportion: 30,000 pixels of a line, padded to a square.
    pub fn layout(&self, image: Size) -> Result<MediaLayout, MediaError> {
        self.check()?;
        image.check_pixels()?;
        let longest = image.width.max(image.height);
        if self.fit == Fit::PadSquare && Size::square(longest).pixels() > MAX_PADDED_PIXELS {
            return Err(MediaError::size(image, format!("padded to {longest}x{longest} it is out of all proportion")));
        }
        if self.resized(image).is_none() {
            return Err(MediaError::size(image, "its sides differ too much to be resized by the shorter one"));
        }
        Ok(MediaLayout::Square { side: self.size })
    }

    /// Runs the whole chain.
    ///
    /// Returns `[3, size, size]`: `(x / 255 - mean) / std`.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn process(&self, image: &Rgb8) -> Vec<f32> {
        let mut values = Vec::new();
        self.normalise().tables().append_planes(&self.square(image), &mut values);
        values
    }

    pub(crate) fn normalise(&self) -> Normalise {
        Normalise { mean: self.mean, std: self.std }
    }

    /// The square fits into the resized picture, and numbers are in range.
    pub(crate) fn check(&self) -> Result<(), MediaError> {
        MediaError::check_side("size", self.size)?;
        self.normalise().check()?;
        match self.fit {
            Fit::ResizeCrop { shortest_edge } if !(self.size..=MAX_SIDE).contains(&shortest_edge) => {
                let size = self.size;
                Err(MediaError::processor(format!(
                    "`size` is {shortest_edge} but `crop_size` is {size}; `size` must be {size} to {MAX_SIDE}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The `size x size` picture before normalisation.
    fn square(&self, image: &Rgb8) -> Rgb8 {
        let square = Size::square(self.size);
        match self.fit {
            Fit::Exact => resize(image, square, self.filter),
            Fit::PadSquare => resize(&image.pad_to_square(self.normalise().mean_colour()), square, self.filter),
            Fit::ShortestEdgeCrop | Fit::ResizeCrop { .. } => {
                let resized = self.resized(image.size()).expect("`layout` refuses what is too long");
                resize_window(image, resized, Window::centre(resized, square), self.filter)
            }
        }
    }

    /// The size before the crop, `new_long = int(size * long / short)`, if it can be counted.
    fn resized(&self, image: Size) -> Option<Size> {
        let edge = match self.fit {
            Fit::Exact | Fit::PadSquare => return Some(Size::square(self.size)),
            Fit::ShortestEdgeCrop => self.size,
            Fit::ResizeCrop { shortest_edge } => shortest_edge,
        };
        let short = u64::from(image.width.min(image.height));
        let scaled = |side: u32| u32::try_from(u64::from(edge) * u64::from(side) / short).ok();
        Some(Size::new(scaled(image.width)?, scaled(image.height)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, cases};
    use crate::resize_bicubic;

    /// Red counts columns, green counts rows.
    fn coordinates(width: u32, height: u32) -> Rgb8 {
        let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7]));
        Rgb8 { width, height, data: data.collect() }
    }

    #[test]
    fn pixels_are_those_of_transformers() {
        let cases: Vec<Case> = cases("square");
        assert_eq!(cases.len(), 7);
        for case in &cases {
            let Processor::Square(processor) = case.processor() else { panic!("{}", case.name) };
            case.check_pictures(&processor.normalise());
            case.check_values("square");
        }
    }

    #[test]
    fn siglip_maps_bytes_to_minus_one_to_one_planar() {
        let mut image = Rgb8::filled(2, 2, [0, 255, 51]);
        image.data[0] = 255;
        let values = ImageProcessor::siglip(2).process(&image);
        assert_eq!(values[..4], [1.0, -1.0, -1.0, -1.0]);
        assert_eq!(values[4..8], [1.0; 4]);
        assert!(values[8..].iter().all(|v| (v + 0.6).abs() < 1e-6));
    }

    #[test]
    fn clip_crops_the_centre_of_the_long_edge() {
        let processor = ImageProcessor::clip(4);
        let square = processor.square(&coordinates(9, 4));
        assert_eq!(square, coordinates(9, 4).crop(2, 0, 4, 4));
        let square = processor.square(&coordinates(4, 7));
        assert_eq!(square, coordinates(4, 7).crop(0, 1, 4, 4));
    }

    #[test]
    fn clip_truncates_the_long_edge() {
        // 3 * 500 / 333 = 4.5: the picture between resize and crop is 4 wide
        let square = ImageProcessor::clip(3).square(&coordinates(250, 166));
        let expected = resize_bicubic(&coordinates(250, 166), 4, 3).crop(0, 0, 3, 3);
        assert_eq!(square, expected);
    }

    #[test]
    fn a_line_of_pixels_is_cropped_without_its_ends() {
        let line = ImageProcessor::clip(4).square(&coordinates(30_000, 1));
        assert_eq!(line.size(), Size::square(4));
        assert_eq!(line.row(0), line.row(3));
    }

    #[test]
    fn pictures_out_of_all_proportion_are_refused() {
        let pad = ImageProcessor { fit: Fit::PadSquare, ..ImageProcessor::clip(4) };
        assert!(pad.layout(Size::new(3_000, 1)).is_ok());
        let refused = |processor: &ImageProcessor, width, height| {
            let error = processor.layout(Size::new(width, height)).expect_err("refused");
            assert_eq!(error.reason(), "unusable_size");
            error.to_string()
        };
        assert!(refused(&pad, 30_000, 1).contains("30000x1"));
        assert!(refused(&ImageProcessor::clip(336), 1, u32::MAX).contains("1x4294967295"));
        assert!(refused(&ImageProcessor::siglip(4), 0, 7).contains("0x7"));
    }

    #[test]
    fn pad_uses_the_mean_colour() {
        let mut processor = ImageProcessor::clip(4);
        processor.fit = Fit::PadSquare;
        let square = processor.square(&Rgb8::filled(4, 2, [1, 2, 3]));
        assert_eq!(square.data[..3], [122, 116, 104]);
        assert_eq!(square.data[12..15], [1, 2, 3]);
        assert_eq!(square.data[36..39], [122, 116, 104]);
    }

    #[test]
    fn a_processor_survives_serialisation() {
        let processor = ImageProcessor::clip(224);
        let json = serde_json::to_string(&processor).expect("serialises");
        assert!(json.contains("\"shortest_edge_crop\""));
        assert_eq!(serde_json::from_str::<ImageProcessor>(&json).expect("parses"), processor);
    }

    #[test]
    fn what_is_written_for_hugging_face_is_read_back_equal() {
        let wider = Fit::ResizeCrop { shortest_edge: 400 };
        for fit in [Fit::Exact, Fit::ShortestEdgeCrop, Fit::PadSquare, wider] {
            let processor = ImageProcessor { fit, ..ImageProcessor::clip(336) };
            let read = ImageProcessor::from_hf(&processor.to_hf().to_string()).expect("readable");
            assert_eq!(read, processor);
        }
    }
}
