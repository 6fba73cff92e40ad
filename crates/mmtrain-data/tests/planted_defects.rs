//! A large set with planted defects: each is counted under its name, and the ceiling decides whether the run goes on.
//!
//! With `MMTRAIN_SLOW=1` the set has 20,000 samples, else 4,000.

use std::collections::BTreeMap;
use std::io::Cursor as Buffer;
use std::path::Path;
use std::sync::Arc;

use mmtrain_data::{
    Cursor, DataError, LoaderConfig, Mixture, Preparer, Source, StepLoader, TooLong, WebDataset, check,
};
use mmtrain_media::{Alpha, ImageProcessor, MediaLimits, MediaTokens, Processor};
use mmtrain_text::{Format, TextTokenizer};

/// What can be wrong with a sample: the reason it is counted under, and its members.
type Defect = (&'static str, fn(&Pictures) -> Vec<(&'static str, Vec<u8>)>);

const DEFECTS: [Defect; 10] = [
    ("missing_caption", |pictures| vec![("jpg", pictures.good.clone())]),
    ("missing_image", |_| vec![("txt", b"a caption alone".to_vec())]),
    ("empty_caption", |pictures| vec![("jpg", pictures.good.clone()), ("txt", b" \n".to_vec())]),
    ("caption_not_utf8", |pictures| vec![("jpg", pictures.good.clone()), ("txt", b"Citro\xebn".to_vec())]),
    ("bad_json", |pictures| {
        vec![("jpg", pictures.good.clone()), ("txt", b"a dog".to_vec()), ("json", b"{\"caption\":".to_vec())]
    }),
    ("image_empty", |_| vec![("jpg", Vec::new()), ("txt", b"a dog".to_vec())]),
    ("not_an_image", |_| vec![("jpg", b"<!DOCTYPE html><html>404".to_vec()), ("txt", b"a dog".to_vec())]),
    ("image_truncated_or_corrupt", |pictures| {
        vec![("jpg", pictures.good[..pictures.good.len() / 2].to_vec()), ("txt", b"a dog".to_vec())]
    }),
    ("image_too_large", |pictures| vec![("jpg", pictures.large.clone()), ("txt", b"a dog".to_vec())]),
    ("too_long", |pictures| vec![("jpg", pictures.good.clone()), ("txt", "a dog ".repeat(200).into_bytes())]),
];

struct Pictures {
    good: Vec<u8>,
    large: Vec<u8>,
}

impl Pictures {
    fn new() -> Self {
        Self { good: jpeg(16, 12), large: jpeg(96, 96) }
    }
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8 * 9, y as u8 * 7, 90]));
    let mut bytes = Buffer::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("encoded");
    bytes.into_inner()
}

fn samples() -> usize {
    if std::env::var_os("MMTRAIN_SLOW").is_some() { 20_000 } else { 4_000 }
}

/// Shards of 1,000 samples in which one of `every` has a defect, of all kinds in turn.
fn write_set(dir: &Path, every: usize) -> BTreeMap<String, usize> {
    let pictures = Pictures::new();
    let mut planted = BTreeMap::new();
    for shard in 0..samples() / 1000 {
        let path = dir.join(format!("planted-train-{shard:04}.tar"));
        let mut builder = tar::Builder::new(fs_err::File::create(path).expect("a file"));
        for number in shard * 1000..(shard + 1) * 1000 {
            let good = || vec![("jpg", pictures.good.clone()), ("txt", format!("a dog, number {number}").into_bytes())];
            let members = if number % every == every / 2 {
                let (reason, members) = DEFECTS[number / every % DEFECTS.len()];
                *planted.entry(reason.to_owned()).or_default() += 1;
                members(&pictures)
            } else {
                good()
            };
            for (ext, content) in members {
                let mut header = tar::Header::new_ustar();
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, format!("{number:09}.{ext}"), &content[..]).expect("appended");
            }
        }
        builder.finish().expect("an archive");
    }
    planted
}

fn preparer() -> Arc<Preparer> {
    let captions = ["a dog, number 1234567890", "a dog"].map(String::from);
    Arc::new(Preparer {
        tokenizer: Arc::new(TextTokenizer::train_bpe(captions.into_iter(), 280).expect("a tokenizer")),
        instruction: None,
        template: Format::Plain.into(),
        intake: Processor::Square(ImageProcessor::siglip(8)).into(),
        media_tokens: MediaTokens::PerTile(4),
        max_seq: 64,
        too_long: TooLong::Drop,
        limits: MediaLimits { max_side: 64, ..MediaLimits::default() },
        alpha: Alpha::White,
        wanted: mmtrain_data::Wanted::Any,
        shown: mmtrain_data::Shown::Whole,
    })
}

fn loader(source: Arc<dyn Source>) -> StepLoader {
    let config = LoaderConfig {
        seed: 11,
        global_batch_size: 50,
        micro_batch_size: 50,
        packing: None,
        bucketing: None,
        workers: 2,
        prefetch_steps: 2,
        max_skip_ratio: 0.01,
        shuffle: true,
    };
    let mixture = Arc::new(Mixture::new(vec![(source, 1.0)]).expect("a mixture"));
    StepLoader::new(mixture, preparer(), config, Cursor::default()).expect("a loader")
}

#[test]
fn half_a_percent_of_defects_is_counted_exactly_by_kind_and_the_run_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let planted = write_set(dir.path(), 200);
    assert_eq!((planted.len(), planted.values().sum::<usize>()), (10, samples() / 200));
    let source: Arc<dyn Source> =
        Arc::new(WebDataset::open("planted", &dir.path().to_string_lossy(), None).expect("set"));

    let report = check(&source, &preparer(), None).expect("a report");
    assert_eq!((report.ok, &report.reasons), (samples() - samples() / 200, &planted));

    // One epoch of steps: the good samples, each once.
    let mut loader = loader(source);
    let (mut found, mut seen) = (BTreeMap::<String, usize>::new(), 0);
    while loader.cursor().epoch == 0 {
        let step = loader.next_step().expect("the run goes on");
        seen += step.samples;
        let of_first = step.skipped.into_iter().filter(|_| seen <= samples());
        of_first.for_each(|skip| *found.entry(skip.reason).or_default() += 1);
    }
    assert_eq!(found, planted);
    assert!(seen >= samples() - samples() / 200, "{seen}");
}

#[test]
fn two_percent_of_defects_stop_the_run_and_the_error_names_the_reasons() {
    let dir = tempfile::tempdir().expect("a directory");
    let planted = write_set(dir.path(), 50);
    assert_eq!(planted.values().sum::<usize>(), samples() / 50);
    let source: Arc<dyn Source> =
        Arc::new(WebDataset::open("planted", &dir.path().to_string_lossy(), None).expect("set"));
    let mut loader = loader(source);
    let error = loop {
        if let Err(error) = loader.next_step() {
            break error;
        }
    };
    let DataError::TooManySkips { skipped, total, allowed, reasons, first } = &error else { panic!("{error}") };
    assert_eq!((*skipped, *total, *allowed), (samples() / 100 + 1, samples(), samples() / 100));
    assert_eq!((reasons.len(), reasons.values().sum::<usize>(), first.len()), (10, *skipped, 5));
    let message = error.to_string();
    assert!(DEFECTS.iter().all(|(reason, _)| message.contains(reason)), "{message}");
    assert_eq!(loader.left_out().last().map(|skip| planted.contains_key(&skip.reason)), Some(true));
}
