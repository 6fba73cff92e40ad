//! The whole way from shards to batches, on synthetic scenes and on photographs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mmtrain_data::{
    Cursor, LoaderConfig, Mixture, Pass, Preparer, Source, StepLoader, TooLong, WebDataset, check, stats,
};
use mmtrain_media::{Alpha, ImageProcessor, MediaLimits, MediaTokens, Processor};
use mmtrain_synth::{Like, SynthOptions, write_dataset};
use mmtrain_text::{Format, TextTokenizer};

fn photos() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/photos")
}

fn open(dir: &Path, split: &str) -> Arc<dyn Source> {
    Arc::new(WebDataset::open("real", &dir.to_string_lossy(), Some(split)).expect("a dataset"))
}

/// Trains its tokenizer on the captions of `source`, as the quickstart does.
fn preparer(source: &dyn Source, size: u32) -> Arc<Preparer> {
    let captions: Vec<String> =
        (0..source.len()).map(|index| source.get(index).expect("a sample").conversation.turns[1].text()).collect();
    Arc::new(Preparer {
        tokenizer: Arc::new(TextTokenizer::train_bpe(captions.into_iter(), 512).expect("a tokenizer")),
        instruction: None,
        template: Format::Article.into(),
        intake: Processor::Square(ImageProcessor::siglip(size)).into(),
        media_tokens: MediaTokens::PerTile(16),
        max_seq: 256,
        too_long: TooLong::Drop,
        limits: MediaLimits::default(),
        alpha: Alpha::White,
        wanted: mmtrain_data::Wanted::Any,
        shown: mmtrain_data::Shown::Whole,
    })
}

#[test]
fn photographs_are_all_usable() {
    let source = open(&photos(), "validation");
    let preparer = preparer(source.as_ref(), 32);
    let report = check(&source, &preparer, None).expect("a report");
    assert!(report.ok >= 10, "{report:?}");
    assert_eq!((report.bad, report.problems.len()), (0, 0), "{report:?}");

    let figures = stats(source.as_ref(), &preparer, None);
    assert_eq!(figures.kinds.get("jpeg"), Some(&report.ok), "{figures:?}");
}

#[test]
fn an_epoch_of_synthetic_scenes_holds_each_once_with_its_truth() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = SynthOptions { size: 32, validation_samples: 5, shard_size: 7, ..SynthOptions::new(18, 3) };
    write_dataset(Like::Cc3m, dir.path(), &options).expect("scenes");

    let held_out = open(dir.path(), "validation");
    let source = open(dir.path(), "train");
    assert_eq!((source.len(), held_out.len()), (18, 5));
    assert_ne!(source.fingerprint(), held_out.fingerprint());

    let preparer = preparer(source.as_ref(), 32);
    let pass =
        |source| Pass::new(Arc::new(Mixture::new(vec![(source, 1.0)]).expect("a mixture")), preparer.clone(), None, 2);
    for outcome in pass(held_out).expect("a pass") {
        let sample = outcome.expect("working").expect("a good sample");
        assert!(sample.truth.is_some_and(|truth| truth.get("caption").is_some()));
    }

    let config = LoaderConfig {
        seed: 1,
        global_batch_size: 6,
        micro_batch_size: 3,
        packing: None,
        bucketing: None,
        workers: 2,
        prefetch_steps: 1,
        max_skip_ratio: 0.0,
        shuffle: true,
    };
    let mixture = Arc::new(Mixture::new(vec![(source, 1.0)]).expect("a mixture"));
    let mut loader = StepLoader::new(mixture, preparer, config, Cursor::default()).expect("a loader");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let step = loader.next_step().expect("a step");
        assert_eq!(step.micro_batches.len(), 2);
        for batch in step.micro_batches {
            let pictures = batch.media.iter().map(|host| host.medium.input.values.len());
            assert!(pictures.eq([3 * 32 * 32; 3]));
            assert_eq!(batch.labels.len(), 3 * batch.seq);
            seen.extend(batch.ids.into_iter().map(|id| id.index));
        }
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..18));
    assert_eq!(loader.cursor(), Cursor::at(1, 0));
}
