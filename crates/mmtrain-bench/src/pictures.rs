//! JPEG files to what a tower sees, as the workers of a run make them.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use mmtrain_media::{Alpha, ImageProcessor, MediaLimits, decode};
use rayon::prelude::*;

use crate::Workload;

const PICTURES: usize = 32;
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const QUALITY: u8 = 90;
/// Of CLIP's ViT-L/14, which LLaVA-1.5 has.
const SIDE: u32 = 336;

/// Slow waves of each colour with some noise, about 130 KB as a file.
fn scene(number: usize) -> Vec<u8> {
    let value = |index: usize| {
        let (pixel, channel) = (index / 3, index % 3);
        let (x, y) = ((pixel % WIDTH as usize) as f64, (pixel / WIDTH as usize) as f64);
        let wave =
            (x / (40.0 + 9.0 * channel as f64) + number as f64).sin() + (y / (60.0 - 7.0 * channel as f64)).cos();
        let noise = ((index as u32).wrapping_mul(2_654_435_761) >> 27) as f64 - 16.0;
        (128.0 + 45.0 * wave + noise) as u8
    };
    (0..3 * (WIDTH * HEIGHT) as usize).map(value).collect()
}

fn file(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder.write_image(&scene(number), WIDTH, HEIGHT, ExtendedColorType::Rgb8).expect("three bytes a pixel");
    bytes
}

/// Decoded, resized, cut and normalised, a picture at a time on each core.
pub(crate) fn pictures() -> Workload {
    let files = (0..PICTURES).map(file).collect::<Vec<_>>();
    let processor = ImageProcessor::clip(SIDE);
    let step = move || {
        let ready = files.par_iter().map(|bytes| {
            let picture = decode(bytes, &MediaLimits::default(), Alpha::White).expect("was just encoded");
            processor.process(&picture).len()
        });
        assert_eq!(ready.sum::<usize>(), PICTURES * 3 * (SIDE * SIDE) as usize);
    };
    Workload { step: Box::new(step), tokens: PICTURES as f64, flops: 0.0 }
}
