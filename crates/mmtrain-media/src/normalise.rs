//! 8-bit levels to the encoder's scale: `(x / 255 - mean) / std`.

use crate::{MediaError, Rgb8};

/// Mean and deviation per channel, on the scale 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalise {
    /// Subtracted.
    pub mean: [f32; 3],
    /// Divided by.
    pub std: [f32; 3],
}

impl Normalise {
    /// CLIP's (`OpenAI`).
    pub const CLIP: Self =
        Self { mean: [0.481_454_66, 0.457_827_5, 0.408_210_73], std: [0.268_629_54, 0.261_302_6, 0.275_777_1] };

    /// -1 to 1 (`SigLIP` and its descendants).
    pub const HALF: Self = Self { mean: [0.5; 3], std: [0.5; 3] };

    /// Only the division by 255.
    pub const NONE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };

    /// Factor and summand per channel that turn values of this scale into those of another.
    pub fn rescale(&self, to: &Self) -> [[f32; 2]; 3] {
        [0, 1, 2].map(|channel| {
            let factor = self.std[channel] / to.std[channel];
            [factor, (self.mean[channel] - to.mean[channel]) / to.std[channel]]
        })
    }

    /// The 256 values of each channel, in float32 as `transformers` computes them.
    pub(crate) fn tables(&self) -> Tables {
        let table = |channel: usize| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            std::array::from_fn(|x| (x as f32 / 255.0 - mean) / std)
        };
        Tables([0, 1, 2].map(table))
    }

    /// The mean as a colour: `int(x * 255)` of `image_processing_llava.py`.
    pub(crate) fn mean_colour(&self) -> [u8; 3] {
        self.mean.map(|mean| (mean * 255.0) as u8)
    }

    /// Deviations are positive, everything is finite.
    pub(crate) fn check(&self) -> Result<(), MediaError> {
        if self.std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(MediaError::processor(format!("`image_std` is {:?}, each must be positive", self.std)));
        }
        if self.mean.iter().any(|m| !m.is_finite()) {
            return Err(MediaError::processor(format!("`image_mean` is {:?}, each must be finite", self.mean)));
        }
        Ok(())
    }
}

/// One value per channel and level.
pub(crate) struct Tables(pub(crate) [[f32; 256]; 3]);

impl Tables {
    /// `[height, width, 3]` bytes, appended as `[3, height, width]`.
    pub(crate) fn append_planes(&self, image: &Rgb8, values: &mut Vec<f32>) {
        let plane = image.data.len() / 3;
        let start = values.len();
        values.resize(start + 3 * plane, 0.0);
        let [red, green, blue] = &self.0;
        let (reds, rest) = values[start..].split_at_mut(plane);
        let (greens, blues) = rest.split_at_mut(plane);
        let planes = reds.iter_mut().zip(greens).zip(blues);
        for (((r, g), b), pixel) in planes.zip(image.data.chunks_exact(3)) {
            *r = red[usize::from(pixel[0])];
            *g = green[usize::from(pixel[1])];
            *b = blue[usize::from(pixel[2])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_on_one_scale_is_the_same_level_on_another() {
        let rescale = Normalise::CLIP.rescale(&Normalise::HALF);
        let (Tables(clip), Tables(half)) = (Normalise::CLIP.tables(), Normalise::HALF.tables());
        for (channel, [factor, summand]) in rescale.into_iter().enumerate() {
            for (from, to) in clip[channel].iter().zip(&half[channel]) {
                assert!((from * factor + summand - to).abs() < 1e-6);
            }
        }
    }
}
