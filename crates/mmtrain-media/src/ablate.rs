//! Media that say less than they do: a cut-out of a picture, a flat picture, silence.
//!
//! Size and length stay as they are, so an ablated medium has the layout, and the tokens, of the whole one.

use crate::{Filter, Normalise, Rgb8, Size, Sound, resize};

/// What is left of a medium.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ablation {
    /// A cut-out of 1 to 20 % of a picture's area, enlarged to the size of the picture, as mDPO (arXiv 2406.11839) shows it;
    /// of a clip the same in every frame, of a sound so long a piece of it and silence around that.
    CutOut(CutOut),
    /// Nothing: a picture of the processor's mean colour, which is zero to the encoder, or silence.
    Blank,
}

/// Which part is left, by four numbers from 0 to below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutOut {
    /// How large, from 1 to 20 % of the area.
    pub area: f64,
    /// How wide for its height, from 3:4 to 4:3.
    pub ratio: f64,
    /// Where between the left and the right edge.
    pub left: f64,
    /// Where between the upper and the lower edge.
    pub top: f64,
}

impl CutOut {
    /// Part of the whole area.
    fn share(&self) -> f64 {
        0.01 + 0.19 * self.area
    }

    /// The rectangle as `RandomResizedCrop(scale=(0.01, 0.2))` of torchvision draws it: left, top, width, height. Where
    /// torchvision would draw again, since a side is longer than the picture's, it is the picture's.
    fn rectangle(&self, size: Size) -> [u32; 4] {
        let area = self.share() * f64::from(size.width) * f64::from(size.height);
        let ratio = (4.0_f64 / 3.0).powf(2.0 * self.ratio - 1.0);
        let side = |wanted: f64, most: u32| (wanted.round() as u32).clamp(1, most);
        let (width, height) = (side((area * ratio).sqrt(), size.width), side((area / ratio).sqrt(), size.height));
        let place = |at: f64, room: u32| ((at * f64::from(room + 1)) as u32).min(room);
        [place(self.left, size.width - width), place(self.top, size.height - height), width, height]
    }
}

impl Ablation {
    /// What is left of a picture.
    pub fn picture(&self, picture: &Rgb8, normalise: Normalise) -> Rgb8 {
        match self {
            Self::CutOut(cut_out) => {
                let [left, top, width, height] = cut_out.rectangle(picture.size());
                resize(&picture.crop(left, top, width, height), picture.size(), Filter::Bilinear)
            }
            Self::Blank => {
                let colour = normalise.mean.map(|level| (level * 255.0).round() as u8);
                Rgb8::filled(picture.width, picture.height, colour)
            }
        }
    }

    /// What is left of a sound.
    pub fn sound(&self, mut sound: Sound) -> Sound {
        let len = sound.samples.len();
        let heard = match self {
            Self::CutOut(cut_out) => {
                let heard = ((cut_out.share() * len as f64) as usize).min(len);
                let start = (cut_out.left * (len - heard + 1) as f64) as usize;
                start..(start + heard).min(len)
            }
            Self::Blank => 0..0,
        };
        let silent = |index: &usize| !heard.contains(index);
        (0..len).filter(silent).for_each(|index| sound.samples[index] = 0.0);
        sound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: CutOut = CutOut { area: 0.0, ratio: 0.5, left: 0.0, top: 0.0 };
    const LAST: CutOut = CutOut { area: 0.999_999, ratio: 0.5, left: 0.999_999, top: 0.999_999 };

    #[test]
    fn a_cut_out_is_a_hundredth_to_a_fifth_of_the_area_and_lies_inside() {
        let size = Size::new(400, 300);
        assert_eq!(FIRST.rectangle(size), [0, 0, 35, 35]);
        assert_eq!(LAST.rectangle(size), [400 - 155, 300 - 155, 155, 155]);
        for step in 0..256_u32 {
            let draw = |by: u32| f64::from(step * by % 256) / 256.0;
            let cut_out = CutOut { area: draw(1), ratio: draw(7), left: draw(31), top: draw(101) };
            for size in [size, Size::new(3, 900), Size::new(1, 1)] {
                let [left, top, width, height] = cut_out.rectangle(size);
                assert!(width >= 1 && height >= 1 && left + width <= size.width && top + height <= size.height);
            }
            let [_, _, width, height] = cut_out.rectangle(size);
            let (share, ratio) = (f64::from(width * height) / 120_000.0, f64::from(width) / f64::from(height));
            assert!((0.009..0.203).contains(&share) && (0.73..1.37).contains(&ratio), "{share} {ratio}");
        }
    }

    #[test]
    fn what_is_left_is_as_large_as_the_picture() {
        let mut picture = Rgb8::filled(20, 10, [9, 9, 9]);
        picture.data[..3].copy_from_slice(&[200, 0, 0]);
        let corner = CutOut { area: 0.0, ..FIRST };
        let left = Ablation::CutOut(corner).picture(&picture, Normalise::HALF);
        assert_eq!((left.size(), &left.data[..3]), (picture.size(), &[200, 0, 0][..]));
        let blank = Ablation::Blank.picture(&picture, Normalise::HALF);
        assert_eq!(blank, Rgb8::filled(20, 10, [128, 128, 128]));
    }

    #[test]
    fn a_sound_keeps_its_length() {
        let sound = Sound { samples: vec![1.0; 1000], rate: 16_000 };
        let left = Ablation::CutOut(LAST).sound(sound.clone());
        assert_eq!((left.samples.len(), left.samples.iter().sum::<f32>()), (1000, 199.0));
        assert_eq!((left.samples[0], left.samples[999]), (0.0, 1.0));
        assert_eq!(Ablation::Blank.sound(sound).samples, [0.0; 1000]);
    }
}
