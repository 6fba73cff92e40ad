//! Pixels to the encoder's input: resize, crop or pad, rescale, normalise.

use serde::{Deserialize, Serialize};

use crate::{MediaError, Rgb8, resize_bicubic};

/// CLIP's channel means (`OpenAI`).
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// CLIP's channel standard deviations (`OpenAI`).
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// How a picture of any shape becomes a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Stretch to the square (`SigLIP`).
    Exact,
    /// Resize the shortest edge, then cut out the centre (CLIP).
    ShortestEdgeCrop,
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
    /// Per channel, on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Per channel, on the scale 0 to 1.
    pub std: [f32; 3],
}

impl ImageProcessor {
    /// `SigLIP`'s: stretched to `size`, values in -1 to 1.
    pub fn siglip(size: u32) -> Self {
        Self { fit: Fit::Exact, size, mean: [0.5; 3], std: [0.5; 3] }
    }

    /// CLIP's: shortest edge to `size`, centre crop, `OpenAI`'s mean and deviation.
    pub fn clip(size: u32) -> Self {
        Self { fit: Fit::ShortestEdgeCrop, size, mean: CLIP_MEAN, std: CLIP_STD }
    }

    /// Reads a Hugging Face `preprocessor_config.json`.
    ///
    /// Errors name the key when the file asks for something this processor does not do (another
    /// filter than bicubic, a size that is no square, a crop of another size than the resize).
    pub fn from_hf(json: &str) -> Result<Self, MediaError> {
        crate::hf::image_processor(json)
    }

    /// The `preprocessor_config.json` from which [`from_hf`](Self::from_hf) reads this processor back.
    pub fn to_hf(&self) -> serde_json::Value {
        crate::hf::to_json(self)
    }

    /// Runs the whole chain.
    ///
    /// Returns `[3, size, size]`: `(x / 255 - mean) / std`.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub fn process(&self, image: &Rgb8) -> Vec<f32> {
        self.normalise(&self.square(image))
    }

    /// The `size x size` picture before normalisation.
    fn square(&self, image: &Rgb8) -> Rgb8 {
        match self.fit {
            Fit::Exact => resize_bicubic(image, self.size, self.size),
            Fit::ShortestEdgeCrop => self.centre_of_resized(image),
            Fit::PadSquare => {
                let colour = self.mean.map(|mean| (255.0 * mean) as u8);
                resize_bicubic(&image.pad_to_square(colour), self.size, self.size)
            }
        }
    }

    /// `new_long = int(size * long / short)`, then a crop whose corner is at `int((edge - size) / 2)`.
    fn centre_of_resized(&self, image: &Rgb8) -> Rgb8 {
        let size = u64::from(self.size);
        let (width, height) = (u64::from(image.width), u64::from(image.height));
        let short = width.min(height);
        let (width, height) = (size * width / short, size * height / short);
        let (left, top) = ((width - size) / 2, (height - size) / 2);
        let resized = resize_bicubic(image, width as u32, height as u32);
        resized.crop(left as u32, top as u32, self.size, self.size)
    }

    /// `[size, size, 3]` bytes to `[3, size, size]`, by a table of the 256 values per channel.
    fn normalise(&self, image: &Rgb8) -> Vec<f32> {
        let [red, green, blue] = [0, 1, 2].map(|channel| self.table(channel));
        let plane = image.data.len() / 3;
        let mut values = vec![0.0; 3 * plane];
        let (reds, rest) = values.split_at_mut(plane);
        let (greens, blues) = rest.split_at_mut(plane);
        let planes = reds.iter_mut().zip(greens).zip(blues);
        for (((r, g), b), pixel) in planes.zip(image.data.chunks_exact(3)) {
            *r = red[usize::from(pixel[0])];
            *g = green[usize::from(pixel[1])];
            *b = blue[usize::from(pixel[2])];
        }
        values
    }

    fn table(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.mean[channel], self.std[channel]);
        std::array::from_fn(|x| (x as f32 / 255.0 - mean) / std)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red counts columns, green counts rows.
    fn coordinates(width: u32, height: u32) -> Rgb8 {
        let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7]));
        Rgb8 { width, height, data: data.collect() }
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
        for fit in [Fit::Exact, Fit::ShortestEdgeCrop, Fit::PadSquare] {
            let processor = ImageProcessor { fit, ..ImageProcessor::clip(336) };
            let read = ImageProcessor::from_hf(&processor.to_hf().to_string()).expect("readable");
            assert_eq!(read, processor);
        }
    }
}
