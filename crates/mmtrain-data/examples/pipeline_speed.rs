//! How many pictures a worker thread makes ready per second.
//!
//! ```sh
//! cargo run --release -p mmtrain-data --example pipeline_speed -- [PICTURES] [FROM] [TO] [WORKERS]
//! ```
//!
//! Writes a temporary `WebDataset` of JPEGs of `FROM` pixels, runs the loader to `TO` pixels and prints
//! pictures per second and worker. Without arguments: 1024 pictures, 256 to 224 pixels, 1 worker.

use std::io::Cursor as Buffer;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mmtrain_data::{Cursor, LoaderConfig, Mixture, Preparer, StepLoader, WebDataset};
use mmtrain_media::{Alpha, ImageProcessor, MediaLimits, MediaTokens, Processor};
use mmtrain_text::{Format, TextTokenizer};

type Failure = Box<dyn std::error::Error>;

const STEP: usize = 64;

#[expect(clippy::print_stdout, reason = "the result of the example")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut argument = |default| arguments.next().unwrap_or(Ok(default));
    let (pictures, from, to, workers) = (argument(1024)?, argument(256)?, argument(224)?, argument(1)?);

    let dir = tempfile::tempdir()?;
    write_shard(&dir.path().join("speed-train-0000.tar"), pictures, from as u32)?;
    let source = WebDataset::open("speed", &dir.path().to_string_lossy(), None)?;
    let mixture = Arc::new(Mixture::new(vec![(Arc::new(source), 1.0)])?);
    let mut loader = StepLoader::new(mixture, Arc::new(preparer(to as u32)?), config(workers), Cursor::default())?;

    loader.next_step()?;
    let started = Instant::now();
    let steps = (2 * pictures / STEP).max(1);
    for _ in 0..steps {
        loader.next_step()?;
    }
    let per_sec = (steps * STEP) as f64 / started.elapsed().as_secs_f64();
    let per_worker = per_sec / workers.max(1) as f64;
    println!("{from} to {to} pixels, {workers} workers: {per_sec:.0} images/s, {per_worker:.0} per worker");
    Ok(())
}

fn config(workers: usize) -> LoaderConfig {
    LoaderConfig {
        seed: 1,
        global_batch_size: STEP,
        micro_batch_size: STEP / 4,
        workers,
        prefetch_steps: 2,
        max_skip_ratio: 0.0,
        shuffle: true,
    }
}

fn preparer(size: u32) -> Result<Preparer, Failure> {
    let captions = (0..100).map(|i| format!("a picture of number {i} ."));
    Ok(Preparer {
        tokenizer: Arc::new(TextTokenizer::train_bpe(captions, 512)?),
        template: Format::Plain.into(),
        processor: Processor::Square(ImageProcessor::siglip(size)),
        media_tokens: MediaTokens::PerTile(196),
        max_seq: 512,
        limits: MediaLimits::default(),
        alpha: Alpha::White,
    })
}

fn write_shard(path: &Path, pictures: usize, size: u32) -> Result<(), Failure> {
    let mut builder = tar::Builder::new(fs_err::File::create(path)?);
    for i in 0..pictures {
        append(&mut builder, &format!("{i:09}.jpg"), &photo(size, i as u32)?)?;
        append(&mut builder, &format!("{i:09}.txt"), format!("a picture of number {i} .").as_bytes())?;
    }
    builder.finish()?;
    Ok(())
}

fn append(builder: &mut tar::Builder<fs_err::File>, name: &str, content: &[u8]) -> Result<(), Failure> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    Ok(builder.append_data(&mut header, name, content)?)
}

/// A JPEG of quality 90 with the detail of a photograph: soft waves and some grain.
fn photo(size: u32, phase: u32) -> Result<Vec<u8>, Failure> {
    let picture = image::RgbImage::from_fn(size, size, |x, y| {
        let wave = |a: f32, b: f32| 127.0 + 90.0 * ((x as f32 * a + y as f32 * b + phase as f32) * 0.05).sin();
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503) ^ phase.wrapping_mul(97)) >> 7 & 31;
        image::Rgb([wave(1.0, 0.3), wave(0.2, 1.1), wave(0.7, -0.6)].map(|v| v as u8 + grain as u8))
    });
    let mut bytes = Buffer::new(Vec::new());
    picture.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90))?;
    Ok(bytes.into_inner())
}
