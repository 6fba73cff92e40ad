//! What the tests of this crate share: tiny shards on disk, tiny pictures, a tiny tokenizer.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use burn_dataset::Dataset;
use mmtrain_media::{Alpha, ImageProcessor, MediaLimits, MediaTokens, Processor};
use mmtrain_text::{Conversation, Format, Role, TextTokenizer, Turn};

use crate::source::{Source, WebDataset};
use crate::{Mixture, Preparer, RawSample, SampleId, ShardProblem, SourceError, TooLong};

/// A temporary directory of shards.
pub(crate) struct Shards(tempfile::TempDir);

impl Shards {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn spec(&self) -> String {
        self.0.path().to_string_lossy().into_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(self, name: &str, bytes: &[u8]) -> Self {
        fs_err::write(self.path(name), bytes).expect("written");
        self
    }

    pub(crate) fn shard(self, name: &str, members: &[(&str, &[u8])]) -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        for (member, content) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, member, *content).expect("appended");
        }
        let bytes = builder.into_inner().expect("an archive");
        self.file(name, &bytes)
    }

    /// Two shards of `n` samples each; those whose number `is_bad` holds an empty picture.
    pub(crate) fn numbered(n: usize, is_bad: impl Fn(usize) -> bool) -> Self {
        let mut shards = Self::new();
        for shard in 0..2 {
            let numbers = shard * n..(shard + 1) * n;
            let samples: Vec<_> = numbers.map(|i| (i, if is_bad(i) { vec![] } else { jpeg(12, 8, i as u8) })).collect();
            let files: Vec<(String, Vec<u8>)> = samples
                .into_iter()
                .flat_map(|(i, image)| {
                    let words = "dog ".repeat(1 + i % 5);
                    [(format!("{i:03}.jpg"), image), (format!("{i:03}.txt"), format!("a {words}. {i}").into_bytes())]
                })
                .collect();
            let members: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
            shards = shards.shard(&format!("t-train-{shard}.tar"), &members);
        }
        shards
    }

    pub(crate) fn open(&self) -> Arc<dyn Source> {
        Arc::new(WebDataset::open("test", &self.spec(), None).expect("a dataset"))
    }

    pub(crate) fn mixture(&self) -> Arc<Mixture> {
        Arc::new(Mixture::new(vec![(self.open(), 1.0)]).expect("a mixture"))
    }
}

/// A JPEG of one colour.
pub(crate) fn jpeg(width: u32, height: u32, shade: u8) -> Vec<u8> {
    encode_image(width, height, shade, image::ImageFormat::Jpeg)
}

pub(crate) fn encode_image(width: u32, height: u32, shade: u8, format: image::ImageFormat) -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb([shade, 128, 255 - shade]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

pub(crate) fn tokenizer() -> TextTokenizer {
    let captions = ["a dog dog . 0 1 2 3", "a dog"].map(String::from);
    TextTokenizer::train_bpe(captions.into_iter(), 280).expect("a tokenizer")
}

/// Four image tokens, pictures of 4x4 pixels, rows of at most 64 tokens.
pub(crate) fn preparer() -> Preparer {
    Preparer {
        tokenizer: Arc::new(tokenizer()),
        instruction: None,
        template: Format::Plain.into(),
        intake: Processor::Square(ImageProcessor::siglip(4)).into(),
        media_tokens: MediaTokens::PerTile(4),
        max_seq: 64,
        too_long: TooLong::Drop,
        limits: MediaLimits::default(),
        alpha: Alpha::White,
        wanted: crate::Wanted::Any,
        shown: crate::Shown::Whole,
    }
}

/// Samples of text alone, made when they are asked for: `lengths` words each, none where that is 0, which is a fault.
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) lengths: Vec<usize>,
}

impl Dataset<RawSample, SourceError> for Made {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let words = "dog ".repeat(self.lengths[index]);
        let turns = vec![Turn::said(Role::User, "say it"), Turn::said(Role::Assistant, words)];
        let conversation = Conversation { turns };
        Ok(RawSample { id: self.id(index), conversation, feedback: None, media: Vec::new(), truth: None })
    }

    fn len(&self) -> usize {
        self.lengths.len()
    }
}

impl Source for Made {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.name
    }

    fn problems(&self) -> &[ShardProblem] {
        &[]
    }

    fn id(&self, index: usize) -> SampleId {
        SampleId { source: self.name.clone(), shard: "made".into(), key: index.to_string(), index }
    }
}

/// Counts how often each sample is asked for. It may have more than the source within, whose samples then come over and over.
pub(crate) struct Counting {
    inner: Arc<dyn Source>,
    len: usize,
    asked: Mutex<BTreeMap<usize, usize>>,
}

impl Counting {
    pub(crate) fn new(inner: Arc<dyn Source>, len: usize) -> Self {
        Self { inner, len, asked: Mutex::default() }
    }

    /// How often each was asked for, of those that were.
    pub(crate) fn asked(&self) -> BTreeMap<usize, usize> {
        self.asked.lock().expect("no panic before").clone()
    }
}

impl Dataset<RawSample, SourceError> for Counting {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        *self.asked.lock().expect("no panic before").entry(index).or_default() += 1;
        self.inner.get(index % self.inner.len())
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl Source for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn fingerprint(&self) -> &str {
        self.inner.fingerprint()
    }

    fn problems(&self) -> &[ShardProblem] {
        self.inner.problems()
    }

    fn id(&self, index: usize) -> SampleId {
        SampleId { index, ..self.inner.id(index % self.inner.len()) }
    }
}
