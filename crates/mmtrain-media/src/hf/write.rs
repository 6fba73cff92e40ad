//! A [`Processor`] to the file from which `transformers`, 4 and 5, makes the same pixels.

use serde_json::{Value, json};

use crate::{
    AnyRes, Filter, Fit, Idefics3, ImageProcessor, Mllama, Normalise, PixelRange, Processor, Qwen2Vl, Size, Splitting,
};

pub(crate) fn write(processor: &Processor) -> Value {
    match processor {
        Processor::Square(processor) => write_square(processor),
        Processor::AnyRes(processor) => anyres(processor),
        Processor::Idefics3(processor) => idefics3(processor),
        Processor::Mllama(processor) => mllama(processor),
        Processor::Qwen2Vl(processor) => qwen2_vl(processor),
    }
}

pub(crate) fn write_square(processor: &ImageProcessor) -> Value {
    let side = processor.size;
    let (name, edge) = match processor.fit {
        Fit::Exact => ("SiglipImageProcessor", None),
        Fit::ShortestEdgeCrop => ("CLIPImageProcessor", Some(side)),
        Fit::ResizeCrop { shortest_edge } => ("BitImageProcessor", Some(shortest_edge)),
        Fit::PadSquare => ("LlavaImageProcessor", Some(side)),
    };
    let mut file = common(name, processor.filter, &processor.normalise());
    file["size"] = edge.map_or_else(|| square(side), |edge| json!({ "shortest_edge": edge }));
    file["do_center_crop"] = edge.is_some().into();
    file["crop_size"] = square(side);
    file["do_pad"] = (processor.fit == Fit::PadSquare).into();
    file
}

fn common(name: &str, filter: Filter, normalise: &Normalise) -> Value {
    json!({
        "image_processor_type": name,
        "do_resize": true,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": normalise.mean,
        "image_std": normalise.std,
        "resample": filter.to_pillow(),
    })
}

fn square(side: u32) -> Value {
    json!({ "height": side, "width": side })
}

fn anyres(processor: &AnyRes) -> Value {
    let mut file = common("LlavaNextImageProcessor", processor.filter, &processor.normalise);
    file["size"] = json!({ "shortest_edge": processor.side });
    file["do_center_crop"] = true.into();
    file["crop_size"] = square(processor.side);
    file["do_pad"] = true.into();
    let pair = |size: &Size| json!([size.height, size.width]);
    file["image_grid_pinpoints"] = processor.pinpoints.iter().map(pair).collect();
    file
}

fn idefics3(processor: &Idefics3) -> Value {
    let mut file = common("Idefics3ImageProcessor", processor.filter, &processor.normalise);
    file["size"] = json!({ "longest_edge": processor.longest_edge });
    file["max_image_size"] = json!({ "longest_edge": processor.side });
    file["do_image_splitting"] = (processor.splitting == Splitting::Tiles).into();
    file["do_pad"] = true.into();
    file
}

fn mllama(processor: &Mllama) -> Value {
    let mut file = common("MllamaImageProcessor", processor.filter, &processor.normalise);
    file["size"] = square(processor.side);
    file["max_image_tiles"] = processor.max_tiles.into();
    file["do_pad"] = true.into();
    file
}

/// `min_pixels` and `max_pixels` for 4.x, `size` for 5.x. Settings for videos that differ are nested as 5.x does it:
/// then the file is a `processor_config.json`.
fn qwen2_vl(processor: &Qwen2Vl) -> Value {
    let file = |range: PixelRange| {
        let mut file = common("Qwen2VLImageProcessor", processor.filter, &processor.normalise);
        file["size"] = json!({ "shortest_edge": range.min, "longest_edge": range.max });
        file["min_pixels"] = range.min.into();
        file["max_pixels"] = range.max.into();
        file["patch_size"] = processor.patch_size.into();
        file["merge_size"] = processor.merge.into();
        file["temporal_patch_size"] = processor.frames.into();
        file
    };
    if processor.images == processor.videos {
        return file(processor.images);
    }
    let mut videos = file(processor.videos);
    videos.as_object_mut().map(|settings| settings.remove("image_processor_type"));
    videos["video_processor_type"] = "Qwen2VLVideoProcessor".into();
    json!({ "image_processor": file(processor.images), "video_processor": videos })
}
