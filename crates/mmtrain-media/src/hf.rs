//! Hugging Face `preprocessor_config.json` to [`ImageProcessor`].
//!
//! A tolerant reader: unknown keys are other people's business, but a known key that asks for
//! something else than what [`ImageProcessor`] does is an error, because a picture prepared another
//! way than in pre-training costs accuracy without any sign of it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Fit, ImageProcessor, MediaError};

/// PIL's number for bicubic.
const BICUBIC: u64 = 3;

#[derive(Debug, Deserialize)]
struct HfProcessor {
    #[serde(alias = "feature_extractor_type")]
    image_processor_type: Option<String>,
    size: Option<HfSize>,
    crop_size: Option<HfSize>,
    do_resize: Option<bool>,
    do_center_crop: Option<bool>,
    do_pad: Option<bool>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    resample: Option<u64>,
}

/// The spellings of a size over the years.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum HfSize {
    Side(u32),
    Exact { height: u32, width: u32 },
    ShortestEdge { shortest_edge: u32 },
}

/// Processors whose class defaults this reader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Clip,
    Siglip,
    Unknown,
}

pub(crate) fn image_processor(json: &str) -> Result<ImageProcessor, MediaError> {
    let hf = parse(json)?;
    hf.check_steps()?;
    hf.check_filter()?;
    let (fit, size) = hf.geometry()?;
    let (mean, std) = hf.statistics()?;
    Ok(ImageProcessor { fit, size, mean, std })
}

/// The inverse of [`image_processor`]: a file from which `transformers` makes the same pixels.
pub(crate) fn to_json(processor: &ImageProcessor) -> Value {
    let side = processor.size;
    let crops = processor.fit != Fit::Exact;
    let square = json!({ "height": side, "width": side });
    json!({
        "image_processor_type": match processor.fit {
            Fit::Exact => "SiglipImageProcessor",
            Fit::ShortestEdgeCrop => "CLIPImageProcessor",
            Fit::PadSquare => "LlavaImageProcessor",
        },
        "do_resize": true,
        "size": if crops { json!({ "shortest_edge": side }) } else { square.clone() },
        "do_center_crop": crops,
        "crop_size": square,
        "do_pad": processor.fit == Fit::PadSquare,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": processor.mean,
        "image_std": processor.std,
        "resample": BICUBIC,
    })
}

/// A `processor_config.json` nests the same object under `image_processor`.
fn parse(json: &str) -> Result<HfProcessor, MediaError> {
    let malformed = |e: serde_json::Error| MediaError::processor(e.to_string());
    let mut value: Value = serde_json::from_str(json).map_err(malformed)?;
    let inner = value.get_mut("image_processor").map(Value::take);
    serde_json::from_value(inner.unwrap_or(value)).map_err(malformed)
}

impl HfProcessor {
    fn family(&self) -> Family {
        match self.image_processor_type.as_deref() {
            Some(name) if name.starts_with("CLIP") || name.starts_with("Llava") => Family::Clip,
            Some(name) if name.starts_with("Siglip") => Family::Siglip,
            _ => Family::Unknown,
        }
    }

    /// Steps that every processor here does cannot be turned off.
    fn check_steps(&self) -> Result<(), MediaError> {
        for (key, value) in [("do_resize", self.do_resize), ("do_rescale", self.do_rescale)] {
            if value == Some(false) {
                return Err(MediaError::processor(format!("`{key} = false` is not supported")));
            }
        }
        match self.rescale_factor {
            Some(factor) if (factor - 1.0 / 255.0).abs() > 1e-9 => {
                Err(MediaError::processor(format!("`rescale_factor` is {factor}, supported is 1/255")))
            }
            _ => Ok(()),
        }
    }

    fn check_filter(&self) -> Result<(), MediaError> {
        match (self.resample, self.family()) {
            (Some(BICUBIC), _) | (None, Family::Clip | Family::Siglip) => Ok(()),
            (Some(other), _) => {
                Err(MediaError::processor(format!("`resample` is {other}, supported is {BICUBIC} (bicubic)")))
            }
            (None, Family::Unknown) => {
                Err(MediaError::processor("`resample` is missing and the processor type does not imply it"))
            }
        }
    }

    fn geometry(&self) -> Result<(Fit, u32), MediaError> {
        let size = self.size.ok_or_else(|| MediaError::processor("`size` is missing"))?;
        if self.do_pad == Some(true) {
            return Ok((Fit::PadSquare, self.output_side(size)?));
        }
        let crops = self.do_center_crop.unwrap_or(self.family() == Family::Clip);
        match size {
            HfSize::Exact { .. } if crops => Ok((Fit::Exact, self.output_side(size)?)),
            HfSize::Exact { .. } => Ok((Fit::Exact, side("size", size)?)),
            HfSize::Side(edge) if !crops => Ok((Fit::Exact, positive("size", edge)?)),
            HfSize::Side(_) | HfSize::ShortestEdge { .. } if crops => {
                Ok((Fit::ShortestEdgeCrop, self.output_side(size)?))
            }
            _ => Err(MediaError::processor(
                "`size.shortest_edge` without `do_center_crop` gives pictures of no fixed size",
            )),
        }
    }

    /// The side after the crop, which must be the side the resize aimed at.
    fn output_side(&self, size: HfSize) -> Result<u32, MediaError> {
        let resized = side("size", size)?;
        let cropped = self.crop_size.map_or(Ok(resized), |crop| side("crop_size", crop))?;
        if resized == cropped {
            return Ok(resized);
        }
        Err(MediaError::processor(format!(
            "`size` is {resized} but `crop_size` is {cropped}; only equal ones are supported"
        )))
    }

    fn statistics(&self) -> Result<([f32; 3], [f32; 3]), MediaError> {
        if self.do_normalize == Some(false) {
            return Ok(([0.0; 3], [1.0; 3]));
        }
        let default = match self.family() {
            Family::Clip => Some(ImageProcessor::clip(1)),
            Family::Siglip => Some(ImageProcessor::siglip(1)),
            Family::Unknown => None,
        };
        let missing = |key| MediaError::processor(format!("`{key}` is missing"));
        let mean = self.image_mean.or(default.as_ref().map(|d| d.mean));
        let std = self.image_std.or(default.as_ref().map(|d| d.std));
        let std = std.ok_or_else(|| missing("image_std"))?;
        if std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(MediaError::processor(format!("`image_std` is {std:?}, each must be positive")));
        }
        Ok((mean.ok_or_else(|| missing("image_mean"))?, std))
    }
}

fn side(key: &str, size: HfSize) -> Result<u32, MediaError> {
    match size {
        HfSize::Side(side) | HfSize::ShortestEdge { shortest_edge: side } => positive(key, side),
        HfSize::Exact { height, width } if height == width => positive(key, height),
        HfSize::Exact { height, width } => {
            Err(MediaError::processor(format!("`{key}` is {width}x{height}, only squares are supported")))
        }
    }
}

fn positive(key: &str, side: u32) -> Result<u32, MediaError> {
    if side == 0 {
        return Err(MediaError::processor(format!("`{key}` is 0")));
    }
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> ImageProcessor {
        image_processor(json).expect("a supported processor")
    }

    fn error(json: &str) -> String {
        let error = image_processor(json).expect_err("unsupported");
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
        assert_eq!(read(new), ImageProcessor::clip(336));
        assert_eq!(read(old), ImageProcessor::clip(336));
    }

    #[test]
    fn siglip_stretches() {
        let json = r#"{"do_normalize":true,"do_rescale":true,"do_resize":true,"image_mean":[0.5,0.5,0.5],
            "image_processor_type":"SiglipImageProcessor","image_std":[0.5,0.5,0.5],"processor_class":"SiglipProcessor",
            "resample":3,"rescale_factor":0.00392156862745098,"size":{"height":384,"width":384}}"#;
        assert_eq!(read(json), ImageProcessor::siglip(384));
        let nested = format!(r#"{{"image_processor": {json}, "processor_class": "X"}}"#);
        assert_eq!(read(&nested), ImageProcessor::siglip(384));
    }

    #[test]
    fn llava_pads() {
        let json = r#"{"image_processor_type":"LlavaImageProcessor","do_pad":true,"size":{"shortest_edge":336},
            "crop_size":{"height":336,"width":336}}"#;
        let expected = ImageProcessor { fit: Fit::PadSquare, ..ImageProcessor::clip(336) };
        assert_eq!(read(json), expected);
    }

    #[test]
    fn what_is_not_done_here_is_named() {
        let base = r#""image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5]"#;
        let with = |rest: &str| error(&format!("{{{base},{rest}}}"));
        assert!(with(r#""resample":2,"size":224"#).contains("`resample` is 2"));
        assert!(with(r#""size":224"#).contains("`resample` is missing"));
        assert!(with(r#""resample":3,"size":{"height":2,"width":3}"#).contains("3x2"));
        assert!(with(r#""resample":3,"size":{"shortest_edge":9}"#).contains("do_center_crop"));
        let crop = r#""resample":3,"size":{"shortest_edge":256},"crop_size":224,"do_center_crop":true"#;
        assert!(with(crop).contains("256 but `crop_size` is 224"));
        assert!(with(r#""resample":3,"size":0"#).contains("`size` is 0"));
        assert!(with(r#""resample":3,"size":8,"do_rescale":false"#).contains("do_rescale"));
        assert!(error(r#"{"resample":3,"size":8}"#).contains("image_std"));
        assert!(error("not json").contains("expected"));
    }
}
