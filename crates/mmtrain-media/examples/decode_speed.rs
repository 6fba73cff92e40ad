//! Prints how many 256-pixel JPEGs one thread turns into encoder input per second.
//!
//! `cargo run --release -p mmtrain-media --example decode_speed`

#![expect(clippy::print_stdout, reason = "its output is the measurement")]

use std::hint::black_box;
use std::time::Instant;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use mmtrain_media::{Alpha, ImageProcessor, MediaError, MediaLimits, Rgb8, decode, resize_bicubic};

const SIDE: u32 = 256;
const PICTURES: u32 = 32;
const ROUNDS: u32 = 40;

/// Shapes and a gradient under noise, like a photograph in bytes per pixel.
fn picture(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 28) as u8;
        let (dx, dy) = (x.abs_diff(90 + seed), y.abs_diff(120));
        let disc = dx * dx + dy * dy < 60 * 60;
        let bar = (x / 24 + y / 40 + seed).is_multiple_of(3);
        let base = [(x / 2) as u8, (y / 2) as u8, 90];
        let shape = [100 * u8::from(disc), 80 * u8::from(bar), 60 * u8::from(disc)];
        Rgb(std::array::from_fn(|c| base[c] + shape[c] + noise))
    })
}

fn jpegs() -> Result<Vec<Vec<u8>>, image::ImageError> {
    (0..PICTURES)
        .map(|seed| {
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture(seed))?;
            Ok(bytes)
        })
        .collect()
}

fn report(what: &str, mut work: impl FnMut() -> Result<(), MediaError>) -> Result<(), MediaError> {
    work()?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work()?;
    }
    let per_image = start.elapsed().as_secs_f64() / f64::from(PICTURES * ROUNDS);
    println!("{what:<34} {:>7.3} ms/image {:>8.0} images/s on one thread", per_image * 1e3, 1.0 / per_image);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jpegs = jpegs()?;
    let bytes: usize = jpegs.iter().map(Vec::len).sum();
    println!("{PICTURES} JPEGs of {SIDE} px, {} bytes each", bytes / PICTURES as usize);
    let open = |bytes: &Vec<u8>| decode(bytes, &MediaLimits::default(), Alpha::White);
    let images = jpegs.iter().map(open).collect::<Result<Vec<Rgb8>, _>>()?;
    let processor = ImageProcessor::siglip(224);
    report("decode", || jpegs.iter().try_for_each(|b| open(b).map(|i| drop(black_box(i)))))?;
    report("resize 256 to 224", || {
        let resize = |i| drop(black_box(resize_bicubic(i, 224, 224)));
        images.iter().for_each(resize);
        Ok(())
    })?;
    report("decode + resize + normalise", || {
        jpegs.iter().try_for_each(|b| {
            black_box(processor.process(&open(b)?));
            Ok(())
        })
    })?;
    Ok(())
}
