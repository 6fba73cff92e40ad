//! The processors of all families behind one type.

use crate::{AnyRes, Idefics3, ImageProcessor, MediaError, MediaLayout, Mllama, Normalise, Qwen2Vl, Rgb8, Size};

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
    /// for clips, the squares of its frames where it makes one of each picture.
    pub fn video_layout(&self, image: Size, frames: usize) -> Result<MediaLayout, MediaError> {
        let layout = match self {
            Self::Qwen2Vl(processor) => processor.video_layout(image, frames)?.into(),
            Self::Square(processor) => processor.video_layout(image, frames)?,
            _ => {
                let family = self.name();
                return Err(MediaError::video(format!(
                    "{family} has no input for clips; process the frames one by one"
                )));
            }
        };
        layout.checked(image)
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
        let values = match (self, &layout) {
            (Self::Qwen2Vl(processor), MediaLayout::Grid(grid)) => {
                processor.values(&frames.iter().collect::<Vec<_>>(), grid)
            }
            (Self::Square(processor), _) => frames.iter().flat_map(|frame| processor.process(frame)).collect(),
            _ => unreachable!("`video_layout` refuses the other families"),
        };
        Ok(MediaValues { values, layout })
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
