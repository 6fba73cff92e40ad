//! The processors of all families behind one type.

use std::borrow::Cow;

use crate::{
    AnyRes, Fit, Idefics3, ImageProcessor, MediaError, MediaLayout, Mllama, Normalise, Qwen2Vl, Rgb8, Size, Splitting,
};

/// What a checkpoint wants to see of pictures and clips; which of these it is stands in its files.
#[derive(Debug, Clone, PartialEq)]
pub enum Processor {
    /// One square: CLIP, `SigLIP`, `DINOv2`, BLIP-2, `LLaVA`.
    Square(ImageProcessor),
    /// `LLaVA-NeXT`.
    AnyRes(AnyRes),
    /// `Idefics3`, `SmolVLM`.
    Idefics3(Idefics3),
    /// Llama 3.2 Vision.
    Mllama(Mllama),
    /// `Qwen2-VL`, `Qwen2.5-VL`.
    Qwen2Vl(Qwen2Vl),
}

/// The encoder's input.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaValues {
    /// As many as the layout's shape says, row-major.
    pub values: Vec<f32>,
    /// What they are.
    pub layout: MediaLayout,
}

impl MediaValues {
    /// The layout is looked at before the values are made.
    fn new<L: Clone + Into<MediaLayout>>(
        image: Size,
        layout: &L,
        values: impl FnOnce(&L) -> Vec<f32>,
    ) -> Result<Self, MediaError> {
        let checked = layout.clone().into().checked(image)?;
        Ok(Self { values: values(layout), layout: checked })
    }

    /// `[tiles, 3, side, side]`, or `[patches, values of a patch]`.
    pub fn shape(&self) -> Vec<usize> {
        self.layout.shape()
    }
}

impl Processor {
    /// Reads a Hugging Face `preprocessor_config.json`, or a `processor_config.json` with an `image_processor` in it.
    ///
    /// The spellings of `transformers` 4 (slow and fast) and 5 are understood. What is not done here is an error that
    /// names the key: a picture prepared another way than in pre-training costs accuracy without any sign of it.
    pub fn from_hf(json: &str) -> Result<Self, MediaError> {
        crate::hf::read(json)
    }

    /// The `preprocessor_config.json` from which [`from_hf`](Self::from_hf) reads this processor back.
    pub fn to_hf(&self) -> serde_json::Value {
        crate::hf::write(self)
    }

    /// What every picture becomes, where that does not depend on its size.
    pub fn fixed_layout(&self) -> Option<MediaLayout> {
        match self {
            Self::Square(processor) => Some(MediaLayout::Square { side: processor.size }),
            Self::AnyRes(_) | Self::Idefics3(_) | Self::Mllama(_) | Self::Qwen2Vl(_) => None,
        }
    }

    /// What a picture of this size becomes; costs no pixel.
    pub fn layout(&self, image: Size) -> Result<MediaLayout, MediaError> {
        let layout = match self {
            Self::Square(processor) => processor.layout(image)?,
            Self::AnyRes(processor) => processor.layout(image)?.into(),
            Self::Idefics3(processor) => processor.layout(image)?.into(),
            Self::Mllama(processor) => processor.layout(image)?.into(),
            Self::Qwen2Vl(processor) => processor.layout(image)?.into(),
        };
        layout.checked(image)
    }

    /// What a clip of `frames` pictures of this size becomes: a grid through time where the family has an input of its own
    /// for clips, else the frames one after the other, each whole in one square.
    pub fn video_layout(&self, image: Size, frames: usize) -> Result<MediaLayout, MediaError> {
        let layout = match self {
            Self::Qwen2Vl(processor) => processor.video_layout(image, frames)?.into(),
            _ => frames_like(&self.of_frames().layout(image)?, self, frames)?,
        };
        layout.checked(image)
    }

    /// How each frame of a clip is prepared: whole, without tiles beside it.
    fn of_frames(&self) -> Cow<'_, Self> {
        Cow::Owned(match self {
            Self::Square(_) | Self::Qwen2Vl(_) => return Cow::Borrowed(self),
            // The base tile.
            Self::AnyRes(AnyRes { side, filter, normalise: Normalise { mean, std }, .. }) => {
                Self::Square(ImageProcessor { fit: Fit::Exact, size: *side, filter: *filter, mean: *mean, std: *std })
            }
            // As `SmolVLM`'s own processor for videos does it.
            Self::Idefics3(processor) => Self::Idefics3(Idefics3 { splitting: Splitting::Whole, ..processor.clone() }),
            Self::Mllama(processor) => Self::Mllama(Mllama { max_tiles: 1, ..processor.clone() }),
        })
    }

    /// The encoder's input for a picture.
    pub fn process(&self, image: &Rgb8) -> Result<MediaValues, MediaError> {
        let size = image.size();
        match self {
            Self::Square(processor) => MediaValues::new(size, &processor.layout(size)?, |_| processor.process(image)),
            Self::AnyRes(processor) => MediaValues::new(size, &processor.layout(size)?, |l| processor.values(image, l)),
            Self::Idefics3(processor) => {
                MediaValues::new(size, &processor.layout(size)?, |l| processor.values(image, l))
            }
            Self::Mllama(processor) => MediaValues::new(size, &processor.layout(size)?, |l| processor.values(image, l)),
            Self::Qwen2Vl(processor) => {
                MediaValues::new(size, &processor.layout(size)?, |l| processor.values(&[image], l))
            }
        }
    }

    /// The encoder's input for a clip; frames are of one size.
    pub fn process_video(&self, frames: &[Rgb8]) -> Result<MediaValues, MediaError> {
        let first = frames.first().ok_or_else(|| MediaError::video("a clip has at least one frame"))?.size();
        if let Some(other) = frames.iter().find(|frame| frame.size() != first) {
            return Err(MediaError::video(format!("frames of {first} and of {} pixels in one clip", other.size())));
        }
        let layout = self.video_layout(first, frames.len())?;
        let values = if let (Self::Qwen2Vl(processor), MediaLayout::Grid(grid)) = (self, &layout) {
            processor.values(&frames.iter().collect::<Vec<_>>(), grid)
        } else {
            self.frame_by_frame(frames)?
        };
        Ok(MediaValues { values, layout })
    }

    /// Each frame whole, one after the other.
    fn frame_by_frame(&self, frames: &[Rgb8]) -> Result<Vec<f32>, MediaError> {
        let each = self.of_frames();
        let mut values = Vec::new();
        for frame in frames {
            values.extend(each.process(frame)?.values);
        }
        Ok(values)
    }

    /// How levels become values.
    pub fn normalise(&self) -> Normalise {
        match self {
            Self::Square(processor) => Normalise { mean: processor.mean, std: processor.std },
            Self::AnyRes(processor) => processor.normalise,
            Self::Idefics3(processor) => processor.normalise,
            Self::Mllama(processor) => processor.normalise,
            Self::Qwen2Vl(processor) => processor.normalise,
        }
    }

    /// The family's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Square(_) => "one square",
            Self::AnyRes(_) => "LLaVA-NeXT",
            Self::Idefics3(_) => "Idefics3",
            Self::Mllama(_) => "Mllama",
            Self::Qwen2Vl(_) => "Qwen2-VL",
        }
    }
}

/// So many times the layout of a frame.
fn frames_like(frame: &MediaLayout, processor: &Processor, frames: usize) -> Result<MediaLayout, MediaError> {
    let frames = match u32::try_from(frames) {
        Ok(0) => return Err(MediaError::video("a clip has at least one frame")),
        Ok(frames) => frames,
        Err(_) => return Err(MediaError::video(format!("{frames} frames are more than can be counted"))),
    };
    let side = frame.side();
    Ok(match processor {
        Processor::Mllama(Mllama { max_tiles, .. }) => {
            MediaLayout::CanvasFrames { side, frames, max_tiles: *max_tiles }
        }
        _ => MediaLayout::Frames { side, frames },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Filter, MediaTokens, TokenGrid};

    /// Every family without an input of its own for clips.
    fn families() -> [Processor; 4] {
        let (filter, normalise) = (Filter::Bilinear, Normalise::HALF);
        let pinpoints = vec![Size::new(48, 24), Size::new(24, 72)];
        [
            Processor::Square(ImageProcessor::siglip(24)),
            Processor::AnyRes(AnyRes { side: 24, pinpoints, filter, normalise }),
            Processor::Idefics3(Idefics3 {
                side: 24,
                longest_edge: 96,
                splitting: Splitting::Tiles,
                filter,
                normalise,
            }),
            Processor::Mllama(Mllama { side: 24, max_tiles: 4, filter, normalise }),
        ]
    }

    #[test]
    fn a_clip_is_its_frames_one_after_the_other_each_in_one_square() {
        let frames = [[200, 0, 0], [0, 200, 0], [0, 0, 200]].map(|colour| Rgb8::filled(80, 60, colour));
        for processor in families() {
            let clip = processor.process_video(&frames).expect("a clip");
            assert_eq!(clip.shape(), [3, 3, 24, 24], "{}", processor.name());
            assert_eq!(clip.values.len(), 3 * 3 * 24 * 24);
            assert_eq!(clip.layout, processor.video_layout(frames[0].size(), 3).expect("known beforehand"));
            for (frame, values) in frames.iter().zip(clip.values.chunks(3 * 24 * 24)) {
                let single = processor.process_video(std::slice::from_ref(frame)).expect("a clip of one frame");
                assert_eq!(single.values, values, "{}", processor.name());
            }
        }
    }

    #[test]
    fn a_frame_is_the_base_tile_or_the_whole_picture() {
        let frame = [Rgb8::filled(80, 60, [10, 120, 230])];
        let [_, anyres, idefics, _] = families();
        let tile = 3 * 24 * 24;
        let whole = anyres.process(&frame[0]).expect("a picture").values;
        assert_eq!(anyres.process_video(&frame).expect("a clip").values, whole[..tile]);
        let whole = idefics.process(&frame[0]).expect("a picture").values;
        assert_eq!(idefics.process_video(&frame).expect("a clip").values, whole[whole.len() - tile..]);
    }

    #[test]
    fn a_clip_takes_as_many_tokens_as_its_frames() {
        let tokens = MediaTokens::Grid(TokenGrid::patches(4));
        for processor in families() {
            let of = |frames| processor.video_layout(Size::new(80, 60), frames).expect("a clip");
            assert_eq!(of(3).tokens(tokens), 3 * of(1).tokens(tokens), "{}", processor.name());
            assert_eq!(of(3).tokens(MediaTokens::Marker), 1);
            let error = processor.video_layout(Size::new(80, 60), 0).expect_err("no frame");
            assert_eq!(error.reason(), "bad_video");
        }
    }
}
