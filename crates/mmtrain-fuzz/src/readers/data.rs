//! Files of rows, archives, and the names of media in them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use mmtrain_data::store::{MediaRoots, MediaStore, PathMap};
use mmtrain_data::{Format, MediaContent, OpenOptions, Preparer, Shown, Source, TooLong, Wanted, detect, open};
use mmtrain_media::{Alpha, ImageProcessor, MediaTokens, Processor};
use mmtrain_text::MediaKind;

use super::media::PICTURES;
use super::text::TOKENIZERS;
use super::{text_of, tried};
use crate::desk;

/// Samples of a source that are prepared.
const SAMPLES: usize = 6;

/// Names that the members of the seeds have.
const MEMBERS: [&str; 9] =
    ["a.txt", "d/b.jpg", "big.txt", "ü.txt", "000000000.jpg", "000000001.png", "1.jpg", "images/1.jpg", "a.jpg"];

/// What is in the file that no name may lead to.
const SECRET: &[u8] = b"what lies outside";

static PREPARER: LazyLock<Preparer> = LazyLock::new(|| Preparer {
    tokenizer: Arc::new(TOKENIZERS[0].clone()),
    instruction: None,
    template: mmtrain_text::Format::VicunaV1.into(),
    intake: Processor::Square(ImageProcessor::siglip(16)).into(),
    media_tokens: MediaTokens::PerTile(4),
    max_seq: 4096,
    too_long: TooLong::Drop,
    limits: PICTURES,
    alpha: Alpha::White,
    wanted: Wanted::Any,
    shown: Shown::Whole,
});

/// Prepares some samples as a run does; what is bad about one is a reason.
fn prepare(source: &dyn Source) {
    for index in 0..source.len().min(SAMPLES) {
        if let Err(skip) = PREPARER.fetch(source, index) {
            assert!(!skip.reason.is_empty());
        }
    }
    source.problems().iter().for_each(|problem| drop(problem.to_string()));
}

/// Opens a file of each of these names as every format, and says what it is taken for.
fn open_as_all(names: &[&str], bytes: &[u8]) {
    let formats = Format::all().filter(|&format| format != Format::WebDataset).map(Some).chain([None]);
    let ways = formats.flat_map(|format| names.iter().map(move |name| (name, format))).collect::<Vec<_>>();
    for (name, format) in tried(&ways, bytes) {
        let path = desk::put(name, bytes);
        let Some(format) = *format else {
            drop(detect(&path));
            continue;
        };
        match open("fuzzed", &path, format, &OpenOptions::default()) {
            Ok(source) => prepare(source.as_ref()),
            Err(error) => drop(error.to_string()),
        }
    }
}

/// One array of rows, or a row a line.
pub(crate) fn rows_json(bytes: &[u8]) {
    picture("rows/a.jpg");
    open_as_all(&["rows/rows.json", "rows/rows.jsonl"], bytes);
}

/// Rows of separated values.
pub(crate) fn rows_csv(bytes: &[u8]) {
    open_as_all(&["csv/rows.csv", "csv/rows.tsv"], bytes);
}

/// Rows of row groups.
pub(crate) fn parquet_file(bytes: &[u8]) {
    open_as_all(&["parquet/rows.parquet"], bytes);
}

/// Rows of batches.
pub(crate) fn arrow_file(bytes: &[u8]) {
    open_as_all(&["arrow/rows.arrow"], bytes);
}

fn picture(name: &str) {
    let bytes = include_bytes!("../../../../tests/fixtures/data/ms_swift/d/1.jpg");
    desk::put(name, bytes);
}

/// A tar as a shard and as a place of media.
pub(crate) fn tar_stream(bytes: &[u8]) {
    let path = desk::put("tar/a.tar", bytes);
    let as_shard = |path: &Path| {
        if let Ok(source) = open("fuzzed", path, Format::WebDataset, &OpenOptions::default()) {
            prepare(source.as_ref());
        }
    };
    let ways: [fn(&Path); 2] = [as_shard, members];
    for way in tried(&ways, bytes) {
        way(&path);
    }
}

/// A zip as a place of media.
pub(crate) fn zip_stream(bytes: &[u8]) {
    members(&desk::put("zip/a.zip", bytes));
}

fn members(path: &Path) {
    match MediaRoots::open([path], Vec::new()) {
        Ok(roots) => MEMBERS.iter().for_each(|name| drop(roots.open(name, MediaKind::Image))),
        Err(error) => drop(error.to_string()),
    }
}

/// A directory of media with a way out of it.
struct Grounds {
    root: PathBuf,
    real: PathBuf,
}

impl Grounds {
    fn new() -> Self {
        let secret = desk::put("grounds/outside/secret.jpg", SECRET);
        desk::put("grounds/root-sibling/1.jpg", SECRET);
        desk::put("grounds/root/in/1.jpg", b"what lies inside");
        let root = desk::directory("grounds/root");
        let outside = secret.parent().expect("it is in a directory");
        // They are there already when a second input comes.
        drop(symlink(outside, root.join("link")));
        drop(symlink(&secret, root.join("link.jpg")));
        drop(symlink(root.join("in"), root.join("near")));
        let real = fs_err::canonicalize(&root).expect("it was made");
        Self { root, real }
    }
}

/// A name of a medium on each line, below a directory that has links out of it. The first two lines are a map, too.
pub(crate) fn path_resolver(bytes: &[u8]) {
    thread_local!(static GROUNDS: Grounds = Grounds::new());
    let text = text_of(bytes);
    let mut lines = text.split('\n');
    let map = PathMap { from: lines.next().unwrap_or_default().into(), to: "in".into() };
    GROUNDS.with(|grounds| {
        for maps in [Vec::new(), vec![map]] {
            let roots = MediaRoots::open([&grounds.root], maps).expect("it is a directory");
            for name in text.split('\n').take(8) {
                for &kind in tried(&[MediaKind::Image, MediaKind::Video, MediaKind::Audio], bytes) {
                    stays_inside(&roots, grounds, &name.replace("ROOT", &grounds.root.to_string_lossy()), kind);
                }
            }
        }
    });
}

fn stays_inside(roots: &MediaRoots, grounds: &Grounds, name: &str, kind: MediaKind) {
    match roots.open(name, kind) {
        Ok(MediaContent::Bytes(bytes)) => {
            assert!(name.starts_with("data:") || bytes != SECRET, "{name:?} leads out of the directory");
        }
        Ok(MediaContent::File(path)) => {
            assert!(path.starts_with(&grounds.real), "{name:?} leads to `{}`", path.display());
        }
        Ok(_) => {}
        Err(reject) => assert!(!reject.reason.is_empty()),
    }
}
