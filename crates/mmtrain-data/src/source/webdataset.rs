//! `WebDataset` tars as a source of captioned pictures: indexed once, read by offset.
//!
//! The index holds key, offset and size of every member (about 120 bytes a sample); payloads are read
//! when a sample is asked for, never extracted. Shards may be cut or damaged: what is complete is
//! used, the rest is a [`ShardProblem`]. What makes a sample good or bad stands in `shard.rs`.

use std::io;

use burn_dataset::Dataset;

use super::fingerprint::{self, Depth};
use super::shard::Shard;
use super::{ShardProblem, Source, shards};
use crate::remote::Remote;
use crate::sample::{MediaContent, RawMedium, RawSample, SampleId, SourceError};
use crate::{DataError, Place};

/// Up to this many shards stay open; beyond it a shard is opened for each sample.
const MAX_OPEN_SHARDS: usize = 256;

/// Shards on servers that are indexed at the same time.
const WAITING: usize = 16;

/// Captioned pictures in `WebDataset` tars.
#[derive(Debug)]
pub struct WebDataset {
    name: String,
    shards: Vec<Shard>,
    /// Index of each shard's first sample, and the number of samples at the end.
    starts: Vec<usize>,
    problems: Vec<ShardProblem>,
    fingerprint: String,
}

impl WebDataset {
    /// Opens and indexes the shards of `spec`: a directory, a tar file, or a pattern such as
    /// `cc3m-train-{0000..0575}.tar`. With `split`, only shards that have it as a word in their name.
    pub fn open(name: impl Into<String>, spec: &str, split: Option<&str>) -> Result<Self, DataError> {
        Self::open_with(name, spec, split, &Remote::default())
    }

    /// The same with settings for those that are addresses.
    pub fn open_with(
        name: impl Into<String>,
        spec: &str,
        split: Option<&str>,
        remote: &Remote,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let places = shards::find(spec, split, remote)?;
        let mut shards = index_all(&places)?;
        if shards.len() <= MAX_OPEN_SHARDS {
            for shard in &mut shards {
                shard.keep_open();
            }
        }
        let mut starts = vec![0];
        starts.extend(shards.iter().scan(0, |sum, shard| {
            *sum += shard.grouped.samples.len();
            Some(*sum)
        }));
        let problems: Vec<_> = shards.iter().flat_map(Shard::problems).collect();
        if starts.last() == Some(&0) {
            return Err(DataError::NoSamples { name, problems });
        }
        let fingerprint = fingerprint::of_shards(&shards);
        Ok(Self { name, shards, starts, problems, fingerprint })
    }

    /// Number of shards.
    pub fn num_shards(&self) -> usize {
        self.shards.len()
    }

    /// The shard of sample `index`, and its place there.
    fn locate(&self, index: usize) -> (&Shard, usize) {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        let shard = self.starts.partition_point(|&start| start <= index) - 1;
        (&self.shards[shard], index - self.starts[shard])
    }
}

impl Dataset<RawSample, SourceError> for WebDataset {
    fn get(&self, index: usize) -> Result<RawSample, SourceError> {
        let (shard, place) = self.locate(index);
        let id = self.id(index);
        match shard.read(place) {
            Ok((conversation, medium, truth)) => {
                let medium = medium.map(|(kind, bytes)| RawMedium { kind, content: MediaContent::Bytes(bytes) });
                Ok(RawSample { id, conversation, feedback: None, media: medium.into_iter().collect(), truth })
            }
            Err(reject) => Err(SourceError::reject(id, reject.reason, reject.detail)),
        }
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }
}

impl Source for WebDataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn problems(&self) -> &[ShardProblem] {
        &self.problems
    }

    fn id(&self, index: usize) -> SampleId {
        let (shard, place) = self.locate(index);
        let key = shard.grouped.samples[place].key.to_string();
        SampleId { source: self.name.clone(), shard: shard.name.clone(), key, index }
    }
}

/// Indexes shards on as many threads as there are cores; the result is in the order of `places`.
fn index_all(places: &[Place]) -> io::Result<Vec<Shard>> {
    // How deep is looked into files on servers is not asked.
    let on_disk = places.iter().filter(|place| !place.is_remote());
    let sizes = on_disk.map(|place| Ok(fs_err::metadata(place.path())?.len()));
    let depth = Depth::of(sizes.sum::<io::Result<u64>>()?);
    if let [place] = places {
        return Ok(vec![Shard::index(place, depth)?]);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Who waits for servers needs no core.
    let threads = if places.iter().any(Place::is_remote) { cores.max(WAITING) } else { cores };
    let per_thread = places.len().div_ceil(threads).max(1);
    let index_part =
        |part: &[Place]| part.iter().map(|place| Shard::index(place, depth)).collect::<io::Result<Vec<_>>>();
    let parts: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = places.chunks(per_thread).map(|part| scope.spawn(move || index_part(part))).collect();
        started.into_iter().map(|thread| thread.join().expect("indexing does not panic")).collect()
    });
    let mut shards = Vec::with_capacity(places.len());
    for part in parts {
        shards.extend(part?);
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use mmtrain_text::{Conversation, MediaKind, MediaRef, Part, Role, Turn};

    use super::*;
    use crate::fixtures::{Shards, jpeg};

    fn open(shards: &Shards) -> WebDataset {
        WebDataset::open("test", &shards.spec(), None).expect("a dataset")
    }

    /// Opens one shard of one sample and returns why it is rejected.
    fn reason_of(members: &[(&str, &[u8])]) -> String {
        let shards = Shards::new().shard("t-train-0.tar", members);
        let error = open(&shards).get(0).expect_err("rejected");
        error.0.reason
    }

    #[test]
    fn samples_have_their_own_name_although_keys_restart() {
        let image = jpeg(8, 8, 1);
        let shards = Shards::new()
            .shard("t-train-0.tar", &[("0.jpg", &image), ("0.txt", b" a dog \n"), ("2.jpg", &image), ("2.txt", b"two")])
            .shard("t-train-1.tar", &[("0.jpg", &image), ("0.json", b"{\"a\": [1]}"), ("0.txt", b"a cat")]);
        let data = open(&shards);
        assert_eq!((data.len(), data.num_shards(), data.problems()), (3, 2, &[][..]));
        let names: Vec<_> = (0..3).map(|i| data.id(i).to_string()).collect();
        assert_eq!(names, ["test/t-train-0.tar/0", "test/t-train-0.tar/2", "test/t-train-1.tar/0"]);

        let sample = data.get(0).expect("a sample");
        assert_eq!(sample.conversation, Conversation::caption("a dog"));
        assert_eq!((sample.media, sample.truth), (vec![RawMedium::image(image)], None));
        let truth = data.get(2).expect("a sample").truth;
        assert_eq!(truth, Some(serde_json::json!({"a": [1]})));
    }

    #[test]
    fn bad_samples_are_rejected_by_name() {
        assert_eq!(reason_of(&[("0.jpg", b"x")]), "missing_caption");
        assert_eq!(reason_of(&[("0.txt", b"x"), ("0.json", b"{}")]), "missing_image");
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.txt", b" \n\t")]), "empty_caption");
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.txt", b"")]), "empty_caption");
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.txt", b"\xff\xfe")]), "caption_not_utf8");
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.txt", b"a"), ("0.jpg", b"y")]), "duplicate_member");
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.png", b"y"), ("0.txt", b"a")]), "ambiguous_image");
        assert_eq!(reason_of(&[("0.txt", b"a"), ("0.png", b"x"), ("0.jpeg", b"y")]), "ambiguous_image");
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.txt", b"a"), ("0.json", b"{")]), "bad_json");
        let long = vec![b'a'; (1 << 20) + 1];
        assert_eq!(reason_of(&[("0.jpg", b"x"), ("0.txt", &long)]), "member_too_large");
    }

    #[test]
    fn clips_and_sounds_are_captioned_and_json_may_hold_the_conversation() {
        let talk: &[u8] = br#"{"id": 1, "conversations": [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": "That."}]}"#;
        let members: [(&str, &[u8]); 9] = [
            ("0.mp4", b"clip"),
            ("0.txt", b"a goal"),
            ("1.flac", b"sound"),
            ("1.txt", b"rain"),
            ("2.jpg", b"picture"),
            ("2.json", talk),
            ("3.jpg", b"picture"),
            ("3.mp3", b"passed over"),
            ("3.txt", b"a dog"),
        ];
        let shards = Shards::new().shard("t-train-0.tar", &members);
        let data = open(&shards);
        let sample = |index: usize| data.get(index).expect("a sample");
        assert_eq!(sample(0).conversation, Conversation::described(MediaRef::video(0), "a goal"));
        assert_eq!(sample(1).media[0].kind, MediaKind::Audio);
        let question = vec![Part::Text("What?\n".into()), Part::Media(MediaRef::image(0))];
        let turns = vec![Turn::new(Role::User, question), Turn::said(Role::Assistant, "That.")];
        assert_eq!(sample(2).conversation, Conversation { turns });
        assert_eq!(sample(2).media, [RawMedium::image(b"picture".to_vec())]);
        assert_eq!(sample(3).media, [RawMedium::image(b"picture".to_vec())]);
    }

    #[test]
    fn a_truncated_shard_keeps_its_complete_samples_and_is_named() {
        let image = jpeg(8, 8, 1);
        let members: [(&str, &[u8]); 4] = [("0.jpg", &image), ("0.txt", b"a dog"), ("1.jpg", &image), ("1.txt", b"b")];
        let shards = Shards::new().shard("t-train-0.tar", &members);
        let path = shards.path("t-train-0.tar");
        let whole = fs_err::read(&path).expect("bytes");
        let second = open(&shards).shards[0].grouped.members(1)[0].offset as usize;
        fs_err::write(&path, &whole[..second + image.len() / 2]).expect("written");

        let data = open(&shards);
        assert_eq!(data.len(), 1);
        assert!(data.get(0).is_ok());
        let problem = data.problems()[0].to_string();
        assert!(problem.starts_with("shard `t-train-0.tar`: breaks off at byte"), "{problem}");
        assert!(problem.ends_with("what it has of 1 samples is used"), "{problem}");
    }

    #[test]
    fn a_file_that_is_no_tar_is_a_problem_and_alone_an_error() {
        let image = jpeg(8, 8, 1);
        let shards = Shards::new().file("t-train-0.tar", b"<!DOCTYPE html>".repeat(100).as_slice());
        let error = WebDataset::open("test", &shards.spec(), None).expect_err("no samples");
        let expected = "source `test` holds no samples: shard `t-train-0.tar`: is not a tar archive";
        assert!(error.to_string().starts_with(expected), "{error}");

        let shards = shards.shard("t-train-1.tar", &[("0.jpg", &image), ("0.txt", b"a")]);
        let data = open(&shards);
        assert_eq!((data.len(), data.problems().len()), (1, 1));
    }

    #[test]
    fn a_side_file_is_no_second_picture() {
        let members: [(&str, &[u8]); 4] =
            [("0.jpg", b"x"), ("0.seg.png", b"y"), ("0.depth.png", b"z"), ("0.txt", b"a")];
        let shards = Shards::new().shard("t-train-0.tar", &members);
        assert_eq!(open(&shards).get(0).expect("a sample").media, [RawMedium::image(b"x".to_vec())]);
    }

    #[test]
    fn a_shard_that_shrinks_while_it_is_open_is_told_at_once() {
        let shards = Shards::new().shard("t-train-0.tar", &[("0.jpg", &[1; 5000]), ("0.txt", b"a")]);
        let data = open(&shards);
        let file = fs_err::OpenOptions::new().write(true).open(shards.path("t-train-0.tar")).expect("opens");
        file.set_len(1024).expect("cut");
        let started = std::time::Instant::now();
        let skip = data.get(0).expect_err("rejected").0;
        assert_eq!(skip.reason, "unreadable");
        assert!(skip.detail.contains("it was longer when it was opened"), "{}", skip.detail);
        assert!(started.elapsed() < std::time::Duration::from_millis(100), "no waits for what cannot pass");
    }

    #[test]
    fn a_shard_that_vanishes_after_indexing_rejects_its_samples() {
        let shards = Shards::new().shard("t-train-0.tar", &[("0.jpg", b"x"), ("0.txt", b"a")]);
        let data = open(&shards);
        fs_err::remove_file(shards.path("t-train-0.tar")).expect("removed");
        assert_eq!(data.get(0).expect_err("rejected").0.reason, "unreadable");
    }

    #[test]
    fn the_fingerprint_follows_the_data() {
        let print = |name: &str, caption: &[u8]| {
            let shards = Shards::new().shard(name, &[("0.jpg", b"x"), ("0.txt", caption)]);
            open(&shards).fingerprint().to_owned()
        };
        let base = print("t-train-0.tar", b"a dog");
        assert_eq!(print("t-train-0.tar", b"a dog"), base);
        assert_ne!(print("t-train-1.tar", b"a dog"), base);
        assert_ne!(print("t-train-0.tar", b"a cow ."), base);
        assert_ne!(print("t-train-0.tar", b"a cow"), base, "the same length, another caption");
    }

    #[test]
    fn a_copy_has_the_fingerprint_of_its_original_whatever_its_times() {
        let shard = |mtime| {
            let mut builder = tar::Builder::new(Vec::new());
            for (name, content) in [("0.jpg", b"xx"), ("0.txt", b"ab")] {
                let mut header = tar::Header::new_ustar();
                header.set_size(2);
                header.set_mtime(mtime);
                builder.append_data(&mut header, name, &content[..]).expect("appended");
            }
            Shards::new().file("t-train-0.tar", &builder.into_inner().expect("an archive"))
        };
        let (original, copy) = (shard(1), shard(2));
        let old = std::time::SystemTime::UNIX_EPOCH;
        let file = std::fs::File::options().write(true).open(copy.path("t-train-0.tar")).expect("opens");
        file.set_modified(old).expect("set");
        assert_eq!(open(&original).fingerprint(), open(&copy).fingerprint());
    }
}
