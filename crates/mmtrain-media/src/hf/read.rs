//! A file to a [`Processor`].

use super::names::Family;
use super::settings::{Settings, Sides};
use crate::{
    AnyRes, Filter, Fit, Idefics3, ImageProcessor, MediaError, Mllama, Normalise, PixelRange, Processor, Qwen2Vl, Size,
    Splitting,
};

/// Class default of `LlavaNextImageProcessor`, `[height, width]`.
const LLAVA_NEXT_PINPOINTS: [[u32; 2]; 5] = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];

/// Class default of `Qwen2VLImageProcessor`.
const QWEN2_VL_IMAGES: PixelRange = PixelRange { min: 56 * 56, max: 28 * 28 * 1280 };

/// Class default of `Qwen2VLVideoProcessor`.
const QWEN2_VL_VIDEOS: PixelRange = PixelRange { min: 128 * 28 * 28, max: 768 * 28 * 28 };

pub(crate) fn read(json: &str) -> Result<Processor, MediaError> {
    let settings = Settings::parse(json, &["image_processor"])?;
    let name = match settings.text("image_processor_type")? {
        None => settings.text("feature_extractor_type")?,
        name => name,
    };
    let reader = Reader { family: Family::named(name)?, settings };
    reader.check_steps()?;
    match reader.family {
        Family::LlavaNext => reader.anyres(),
        Family::Idefics3 => reader.idefics3(),
        Family::Mllama => reader.mllama(),
        Family::Qwen2Vl => reader.qwen2_vl(Settings::nested(json, "video_processor").as_ref()),
        _ => reader.square(),
    }
}

/// Settings, and what is meant where they are silent.
struct Reader {
    family: Family,
    settings: Settings,
}

impl Reader {
    /// Steps that every processor here does cannot be turned off.
    fn check_steps(&self) -> Result<(), MediaError> {
        for key in ["do_resize", "do_rescale"] {
            if self.settings.flag(key)? == Some(false) {
                return Err(MediaError::processor(format!("`{key} = false` is not supported")));
            }
        }
        match self.settings.number("rescale_factor")? {
            Some(factor) if (factor - 1.0 / 255.0).abs() > 1e-9 => {
                Err(MediaError::processor(format!("`rescale_factor` is {factor}, supported is 1/255")))
            }
            _ => Ok(()),
        }
    }

    fn filter(&self) -> Result<Filter, MediaError> {
        let Some(number) = self.settings.count("resample")? else {
            let unknown = "`resample` is missing and the processor type does not imply it";
            return self.family.filter().ok_or_else(|| MediaError::processor(unknown));
        };
        Filter::from_pillow(number.into()).ok_or_else(|| {
            MediaError::processor(format!(
                "`resample` is {number}, supported are 0 (nearest), 1 (lanczos), 2 (bilinear) and 3 (bicubic)"
            ))
        })
    }

    fn normalise(&self) -> Result<Normalise, MediaError> {
        if self.settings.flag("do_normalize")? == Some(false) {
            return Ok(Normalise::NONE);
        }
        let default = self.family.normalise();
        let missing = |key| MediaError::processor(format!("`{key}` is missing"));
        let std =
            self.settings.channels("image_std")?.or(default.map(|d| d.std)).ok_or_else(|| missing("image_std"))?;
        let mean = self.settings.channels("image_mean")?.or(default.map(|d| d.mean));
        let normalise = Normalise { mean: mean.ok_or_else(|| missing("image_mean"))?, std };
        normalise.check()?;
        Ok(normalise)
    }

    fn square(&self) -> Result<Processor, MediaError> {
        let (fit, size) = self.geometry()?;
        let Normalise { mean, std } = self.normalise()?;
        let processor = ImageProcessor { fit, size, filter: self.filter()?, mean, std };
        processor.check()?;
        Ok(Processor::Square(processor))
    }

    fn geometry(&self) -> Result<(Fit, u32), MediaError> {
        let size = self.size()?;
        let crops = self.settings.flag("do_center_crop")?.unwrap_or(self.family.crops());
        if self.settings.flag("do_pad")? == Some(true) {
            return Ok((Fit::PadSquare, self.same_crop(size, crops)?));
        }
        match size {
            Sides::Exact { .. } => Ok((Fit::Exact, self.same_crop(size, crops)?)),
            Sides::One(side) if !crops => Ok((Fit::Exact, side)),
            Sides::One(edge) | Sides::Shortest(edge) if crops => Ok(match self.crop(edge)? {
                crop if crop == edge => (Fit::ShortestEdgeCrop, crop),
                crop => (Fit::ResizeCrop { shortest_edge: edge }, crop),
            }),
            Sides::Shortest(_) => Err(MediaError::processor(
                "`size.shortest_edge` without `do_center_crop` gives pictures of no fixed size",
            )),
            _ => Err(MediaError::processor("`size` must be a square or a `shortest_edge` for this processor")),
        }
    }

    /// The file's or the class' size.
    fn size(&self) -> Result<Sides, MediaError> {
        let default = self.family.side().map(Sides::One);
        self.settings.sides("size")?.or(default).ok_or_else(|| {
            MediaError::processor(
                "`size` is missing; a `processor_config.json` without `image_processor` is not the whole story, \
                 the rest is in `preprocessor_config.json`",
            )
        })
    }

    /// The side of the crop; `resized` where nothing is said.
    fn crop(&self, resized: u32) -> Result<u32, MediaError> {
        self.settings.sides("crop_size")?.map_or(Ok(resized), |crop| side("crop_size", crop))
    }

    /// The side after a crop that takes nothing away.
    fn same_crop(&self, size: Sides, crops: bool) -> Result<u32, MediaError> {
        let resized = side("size", size)?;
        let cropped = if crops { self.crop(resized)? } else { resized };
        if resized == cropped {
            return Ok(resized);
        }
        Err(MediaError::processor(format!(
            "`size` is {resized} but `crop_size` is {cropped}; only equal ones are supported here"
        )))
    }

    fn anyres(&self) -> Result<Processor, MediaError> {
        let crops = self.settings.flag("do_center_crop")?.unwrap_or(true);
        let pinpoints = self.settings.pairs("image_grid_pinpoints")?.unwrap_or(LLAVA_NEXT_PINPOINTS.to_vec());
        let processor = AnyRes {
            side: self.same_crop(self.size()?, crops)?,
            pinpoints: pinpoints.into_iter().map(|[height, width]| Size::new(width, height)).collect(),
            filter: self.filter()?,
            normalise: self.normalise()?,
        };
        processor.check()?;
        Ok(Processor::AnyRes(processor))
    }

    fn idefics3(&self) -> Result<Processor, MediaError> {
        let longest = |key: &str, default| match self.settings.sides(key)? {
            None => Ok(default),
            Some(Sides::Longest(edge) | Sides::One(edge)) => Ok(edge),
            Some(_) => Err(MediaError::processor(format!("`{key}` has no `longest_edge`"))),
        };
        let splits = self.settings.flag("do_image_splitting")?.unwrap_or(true);
        let processor = Idefics3 {
            side: longest("max_image_size", 364)?,
            longest_edge: longest("size", 4 * 364)?,
            splitting: if splits { Splitting::Tiles } else { Splitting::Whole },
            filter: self.filter()?,
            normalise: self.normalise()?,
        };
        processor.check()?;
        Ok(Processor::Idefics3(processor))
    }

    fn mllama(&self) -> Result<Processor, MediaError> {
        if self.settings.flag("do_pad")? == Some(false) {
            return Err(MediaError::processor("`do_pad = false` is not supported"));
        }
        let processor = Mllama {
            side: side("size", self.size()?)?,
            max_tiles: self.settings.count("max_image_tiles")?.unwrap_or(4),
            filter: self.filter()?,
            normalise: self.normalise()?,
        };
        processor.check()?;
        Ok(Processor::Mllama(processor))
    }

    /// Without settings of its own for videos, those for pictures hold, as `AutoVideoProcessor` does it.
    fn qwen2_vl(&self, videos: Option<&Settings>) -> Result<Processor, MediaError> {
        let count = |key, default| Ok::<_, MediaError>(self.settings.count(key)?.unwrap_or(default));
        let images = pixel_range(&self.settings, QWEN2_VL_IMAGES)?;
        let processor = Qwen2Vl {
            patch_size: count("patch_size", 14)?,
            merge: count("merge_size", 2)?,
            frames: count("temporal_patch_size", 2)?,
            images,
            videos: videos.map_or(Ok(images), |videos| pixel_range(videos, QWEN2_VL_VIDEOS))?,
            filter: self.filter()?,
            normalise: self.normalise()?,
        };
        processor.check()?;
        Ok(Processor::Qwen2Vl(processor))
    }
}

/// `min_pixels` and `max_pixels` come before `size`, as in the class.
fn pixel_range(settings: &Settings, default: PixelRange) -> Result<PixelRange, MediaError> {
    let (least, most) = match settings.sides("size")? {
        None => (default.min, default.max),
        Some(Sides::Range { least, most }) => (least, most),
        Some(_) => return Err(MediaError::processor("`size` must have `shortest_edge` and `longest_edge`, in pixels")),
    };
    let or = |key, default| Ok::<_, MediaError>(settings.pixels(key)?.unwrap_or(default));
    Ok(PixelRange { min: or("min_pixels", least)?, max: or("max_pixels", most)? })
}

fn side(key: &str, size: Sides) -> Result<u32, MediaError> {
    match size {
        Sides::One(side) | Sides::Shortest(side) => positive(key, side),
        Sides::Exact { height, width } if height == width => positive(key, height),
        Sides::Exact { height, width } => {
            Err(MediaError::processor(format!("`{key}` is {width}x{height}, only squares are supported")))
        }
        Sides::Longest(_) | Sides::Range { .. } => {
            Err(MediaError::processor(format!("`{key}` has a `longest_edge`, only squares are supported")))
        }
    }
}

fn positive(key: &str, side: u32) -> Result<u32, MediaError> {
    MediaError::check_side(key, side)?;
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(json: &str) -> ImageProcessor {
        ImageProcessor::from_hf(json).expect("a supported processor")
    }

    fn error(json: &str) -> String {
        let error = read(json).expect_err("unsupported");
        assert_eq!(error.reason(), "bad_processor_config");
        error.to_string()
    }

    #[test]
    fn clip_in_old_and_new_spelling() {
        let new = r#"{"crop_size":{"height":336,"width":336},"do_center_crop":true,"do_convert_rgb":true,
            "do_normalize":true,"do_rescale":true,"do_resize":true,"image_processor_type":"CLIPImageProcessor",
            "image_mean":[0.48145466,0.4578275,0.40821073],"image_std":[0.26862954,0.26130258,0.27577711],
            "resample":3,"rescale_factor":0.00392156862745098,"size":{"shortest_edge":336}}"#;
        let old = r#"{"crop_size":336,"do_center_crop":true,"do_normalize":true,"do_resize":true,
            "feature_extractor_type":"CLIPFeatureExtractor","resample":3,"size":336,
            "image_mean":[0.48145466,0.4578275,0.40821073],"image_std":[0.26862954,0.26130258,0.27577711]}"#;
        assert_eq!(square(new), ImageProcessor::clip(336));
        assert_eq!(square(old), ImageProcessor::clip(336));
    }

    #[test]
    fn siglip_stretches() {
        let json = r#"{"do_normalize":true,"do_rescale":true,"do_resize":true,"image_mean":[0.5,0.5,0.5],
            "image_processor_type":"SiglipImageProcessor","image_std":[0.5,0.5,0.5],"processor_class":"SiglipProcessor",
            "resample":3,"rescale_factor":0.00392156862745098,"size":{"height":384,"width":384}}"#;
        assert_eq!(square(json), ImageProcessor::siglip(384));
        let nested = format!(r#"{{"image_processor": {json}, "processor_class": "X"}}"#);
        assert_eq!(square(&nested), ImageProcessor::siglip(384));
    }

    #[test]
    fn llava_pads() {
        let json = r#"{"image_processor_type":"LlavaImageProcessor","do_pad":true,"size":{"shortest_edge":336},
            "crop_size":{"height":336,"width":336}}"#;
        let expected = ImageProcessor { fit: Fit::PadSquare, ..ImageProcessor::clip(336) };
        assert_eq!(square(json), expected);
    }

    #[test]
    fn what_is_not_done_here_is_named() {
        let base = r#""image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]"#;
        let with = |rest: &str| error(&format!("{{{base},{rest}}}"));
        assert!(with(r#""resample":4,"size":224"#).contains("`resample` is 4"));
        assert!(with(r#""size":224"#).contains("`resample` is missing"));
        assert!(with(r#""resample":3,"size":{"height":2,"width":3}"#).contains("3x2"));
        assert!(with(r#""resample":3,"size":{"shortest_edge":9}"#).contains("do_center_crop"));
        let crop = r#""resample":3,"size":{"shortest_edge":224},"crop_size":256,"do_center_crop":true"#;
        assert!(with(crop).contains("224 but `crop_size` is 256"));
        assert!(with(r#""resample":3,"size":0"#).contains("`size` is 0"));
        assert!(with(r#""resample":3,"size":8,"do_rescale":false"#).contains("do_rescale"));
        assert!(error(r#"{"resample":3,"size":8}"#).contains("image_std"));
        assert!(error("not json").contains("expected"));
    }

    #[test]
    fn dinov2_crops_less_than_it_resizes() {
        let json = r#"{"crop_size":{"height":224,"width":224},"do_center_crop":true,"image_processor_type":
            "BitImageProcessor","image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225],"resample":3,
            "size":{"shortest_edge":256}}"#;
        let expected = ImageProcessor {
            fit: Fit::ResizeCrop { shortest_edge: 256 },
            size: 224,
            filter: Filter::Bicubic,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        };
        assert_eq!(square(json), expected);
    }

    #[test]
    fn a_class_alone_means_its_defaults() {
        let named = |name: &str| read(&format!(r#"{{"image_processor_type":"{name}"}}"#)).expect("readable");
        assert_eq!(named("CLIPImageProcessorFast"), Processor::Square(ImageProcessor::clip(224)));
        assert_eq!(named("SiglipImageProcessorPil"), Processor::Square(ImageProcessor::siglip(224)));
        let blip = ImageProcessor { fit: Fit::Exact, ..ImageProcessor::clip(384) };
        assert_eq!(named("BlipImageProcessor"), Processor::Square(blip));
        let Processor::Qwen2Vl(qwen) = named("Qwen2VLImageProcessor") else { panic!("another family") };
        assert_eq!((qwen.patch_size, qwen.merge, qwen.frames, qwen.images), (14, 2, 2, QWEN2_VL_IMAGES));
        let Processor::Idefics3(idefics) = named("SmolVLMImageProcessorFast") else { panic!("another family") };
        assert_eq!((idefics.side, idefics.longest_edge, idefics.filter), (364, 1456, Filter::Lanczos));
        let Processor::Mllama(mllama) = named("MllamaImageProcessor") else { panic!("another family") };
        assert_eq!((mllama.side, mllama.max_tiles, mllama.filter), (224, 4, Filter::Bilinear));
        // This class' own default size, 224, makes no tiles of its own default resolutions.
        let sized = r#"{"image_processor_type":"LlavaNextImageProcessor","size":336,"crop_size":336}"#;
        let Processor::AnyRes(anyres) = read(sized).expect("readable") else { panic!("another family") };
        assert_eq!((anyres.pinpoints[0], anyres.normalise), (Size::new(672, 336), Normalise::CLIP));
    }

    #[test]
    fn qwen2_vl_in_every_spelling() {
        let with = |rest: &str| read(&format!(r#"{{"image_processor_type":"Qwen2VLImageProcessor",{rest}}}"#));
        let range = |rest: &str| match with(rest).expect("readable") {
            Processor::Qwen2Vl(qwen) => (qwen.images, qwen.videos),
            other => panic!("{other:?}"),
        };
        let wide = PixelRange { min: 3136, max: 12_845_056 };
        for rest in [
            r#""min_pixels":3136,"max_pixels":12845056"#,
            r#""size":{"shortest_edge":3136,"longest_edge":12845056}"#,
            r#""size":{"min_pixels":3136,"max_pixels":12845056}"#,
            r#""size":{"shortest_edge":1,"longest_edge":2},"min_pixels":3136,"max_pixels":12845056"#,
        ] {
            assert_eq!(range(rest), (wide, wide), "{rest}");
        }
        let nested = r#"{"image_processor":{"image_processor_type":"Qwen2VLImageProcessorFast","max_pixels":12845056},
            "video_processor":{"video_processor_type":"Qwen2VLVideoProcessor"}}"#;
        let Processor::Qwen2Vl(qwen) = read(nested).expect("readable") else { panic!("another family") };
        assert_eq!((qwen.images, qwen.videos), (wide, QWEN2_VL_VIDEOS));
        for rest in [r#""min_pixels":100000000000000"#, r#""size":{"shortest_edge":100000000000000,"longest_edge":4}"#]
        {
            let error = with(rest).expect_err("refused").to_string();
            assert!(error.contains("pixels are to be 100000000000000 to") && error.contains("1 to 1"), "{error}");
        }
        let error = with(r#""size":{"height":3,"width":3}"#).expect_err("refused").to_string();
        assert!(error.contains("shortest_edge"), "{error}");
    }

    #[test]
    fn an_unknown_class_is_named_with_the_known_ones() {
        let message = error(r#"{"image_processor_type":"FuyuImageProcessor","size":224}"#);
        for name in ["`FuyuImageProcessor`", "CLIPImageProcessor", "Qwen2VLImageProcessor", "MllamaImageProcessor"] {
            assert!(message.contains(name), "{message}");
        }
        assert!(error(r#"{"feature_extractor_type":"WhisperFeatureExtractor"}"#).contains("sound"));
        assert!(error(r#"{"processor_class":"LlavaProcessor","patch_size":14}"#).contains("preprocessor_config.json"));
        let tiles = r#"{"image_processor_type":"MllamaImageProcessor"}"#;
        assert!(ImageProcessor::from_hf(tiles).expect_err("tiles").to_string().contains("Mllama"));
    }

    #[test]
    fn values_of_the_wrong_kind_are_named_with_their_key() {
        let with = |rest: &str| error(&format!(r#"{{"image_processor_type":"CLIPImageProcessor",{rest}}}"#));
        assert!(with(r#""image_mean":[1,2]"#).contains("`image_mean` is [1,2], expected three numbers"));
        assert!(with(r#""image_std":[1,0,1]"#).contains("`image_std` is [1.0, 0.0, 1.0]"));
        assert!(with(r#""size":-3"#).contains("`size` is -3"));
        assert!(with(r#""size":{"shortest_edge":1000000}"#).contains("`size` is 1000000, must be 1 to 4096"));
        assert!(with(r#""do_resize":"yes""#).contains("`do_resize` is \"yes\", expected true or false"));
        assert!(with(r#""crop_size":{"height":4}"#).contains("`crop_size`"));
        assert!(with(r#""size":{"longest_edge":4}"#).contains("`size`"));
        assert!(error("[1]").contains("object"));
    }

    #[test]
    fn what_is_written_for_hugging_face_is_read_back_equal() {
        let same = PixelRange { min: 9, max: 99 };
        let qwen = |videos| {
            let (filter, normalise) = (Filter::Bicubic, Normalise::CLIP);
            Processor::Qwen2Vl(Qwen2Vl { patch_size: 14, merge: 2, frames: 2, images: same, videos, filter, normalise })
        };
        let idefics = |splitting| {
            let (filter, normalise) = (Filter::Lanczos, Normalise::HALF);
            Processor::Idefics3(Idefics3 { side: 20, longest_edge: 60, splitting, filter, normalise })
        };
        let (filter, normalise) = (Filter::Bilinear, Normalise::HALF);
        let pinpoints = vec![Size::new(48, 24), Size::new(24, 72)];
        for processor in [
            Processor::Square(ImageProcessor { filter, ..ImageProcessor::siglip(24) }),
            Processor::AnyRes(AnyRes { side: 24, pinpoints, filter, normalise }),
            idefics(Splitting::Tiles),
            idefics(Splitting::Whole),
            Processor::Mllama(Mllama { side: 20, max_tiles: 6, filter, normalise }),
            qwen(same),
            qwen(PixelRange { min: 10, max: 11 }),
        ] {
            assert_eq!(read(&processor.to_hf().to_string()).expect("readable"), processor);
        }
    }
}
