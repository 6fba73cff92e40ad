//! How many pictures and conversations a worker thread makes ready per second.
//!
//! ```sh
//! cargo run --release -p mmtrain-data --example pipeline_speed -- [SAMPLES] [FROM] [TO] [WORKERS]
//! ```
//!
//! Writes a temporary `WebDataset` of JPEGs of `FROM` pixels, runs the loader to `TO` pixels and prints
//! pictures per second and worker; then the same of conversations of text alone, about 200 words each, packed into
//! rows. Without arguments: 1024 samples, 256 to 224 pixels, 1 worker. Other work on the machine counts: the time is that
//! of the clock.

use std::io::Cursor as Buffer;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn_dataset::Dataset;
use mmtrain_data::{
    Cursor, LoaderConfig, Mixture, Packing, Preparer, RawSample, SampleId, ShardProblem, Source, SourceError,
    StepLoader, TooLong, WebDataset,
};
use mmtrain_media::{Alpha, ImageProcessor, MediaLimits, MediaTokens, Processor};
use mmtrain_text::{Conversation, Format, Role, TextTokenizer, Turn};

type Failure = Box<dyn std::error::Error>;

const STEP: usize = 64;

#[expect(clippy::print_stdout, reason = "the result of the example")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut argument = |default| arguments.next().unwrap_or(Ok(default));
    let (samples, from, to, workers) = (argument(1024)?, argument(256)?, argument(224)?, argument(1)?);

    let dir = tempfile::tempdir()?;
    write_shard(&dir.path().join("speed-train-0000.tar"), samples, from as u32)?;
    let source = Arc::new(WebDataset::open("speed", &dir.path().to_string_lossy(), None)?);
    let pictures = per_sec(source, preparer(to as u32)?, config(workers), samples)?;
    let per_worker = pictures / workers.max(1) as f64;
    println!("{from} to {to} pixels, {workers} workers: {pictures:.0} images/s, {per_worker:.0} per worker");

    let packing = Some(Packing { max_seq: 2048, window: STEP });
    let config = LoaderConfig { packing, global_batch_size: 8, micro_batch_size: 2, ..config(workers) };
    let texts = per_sec(Arc::new(Said { samples: 8 * samples }), preparer(to as u32)?, config, 8 * samples)?;
    let per_worker = texts / workers.max(1) as f64;
    println!("text alone, packed, {workers} workers: {texts:.0} conversations/s, {per_worker:.0} per worker");
    Ok(())
}

/// Samples per second over two epochs.
fn per_sec(source: Arc<dyn Source>, preparer: Preparer, config: LoaderConfig, samples: usize) -> Result<f64, Failure> {
    let mixture = Arc::new(Mixture::new(vec![(source, 1.0)])?);
    let mut loader = StepLoader::new(mixture, Arc::new(preparer), config, Cursor::default())?;
    loader.next_step()?;
    let (started, mut seen) = (Instant::now(), 0);
    while seen < 2 * samples {
        seen += loader.next_step()?.samples;
    }
    Ok(seen as f64 / started.elapsed().as_secs_f64())
}

/// Conversations of about 200 words, made when they are asked for.
struct Said {
    samples: usize,
}

impl Dataset<RawSample, SourceError> for Said {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let sentence = |n: usize| format!("a picture of number {} is not what {} is about . ", n % 977, n % 89);
        let said = |from: usize, sentences: usize| (from..from + sentences).map(sentence).collect::<String>();
        let turns = vec![Turn::said(Role::User, said(index, 4)), Turn::said(Role::Assistant, said(index * 3, 14))];
        let conversation = Conversation { turns };
        Ok(RawSample { id: self.id(index), conversation, feedback: None, media: Vec::new(), truth: None })
    }

    fn len(&self) -> usize {
        self.samples
    }
}

impl Source for Said {
    fn name(&self) -> &'static str {
        "said"
    }

    fn fingerprint(&self) -> &'static str {
        "said"
    }

    fn problems(&self) -> &[ShardProblem] {
        &[]
    }

    fn id(&self, index: usize) -> SampleId {
        SampleId { source: "said".into(), shard: String::new(), key: index.to_string(), index }
    }
}

fn config(workers: usize) -> LoaderConfig {
    LoaderConfig {
        seed: 1,
        global_batch_size: STEP,
        micro_batch_size: STEP / 4,
        packing: None,
        bucketing: None,
        workers,
        prefetch_steps: 2,
        max_skip_ratio: 0.01,
        shuffle: true,
    }
}

fn preparer(size: u32) -> Result<Preparer, Failure> {
    let captions = (0..100).map(|i| format!("a picture of number {i} ."));
    Ok(Preparer {
        tokenizer: Arc::new(TextTokenizer::train_bpe(captions, 512)?),
        instruction: None,
        template: Format::Article.into(),
        intake: Processor::Square(ImageProcessor::siglip(size)).into(),
        media_tokens: MediaTokens::PerTile(196),
        max_seq: 1024,
        too_long: TooLong::Drop,
        limits: MediaLimits::default(),
        alpha: Alpha::White,
        wanted: mmtrain_data::Wanted::Any,
        shown: mmtrain_data::Shown::Whole,
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
