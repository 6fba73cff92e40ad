//! A shard written by Python's `webdataset` holds for us what it holds for its own reader.

use std::path::PathBuf;

use burn_dataset::Dataset;
use mmtrain_data::{Source, WebDataset};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/webdataset").join(name)
}

fn open() -> WebDataset {
    let shard = fixture("python-webdataset-000000.tar");
    WebDataset::open("python", &shard.to_string_lossy(), None).expect("a dataset")
}

/// The samples as Python found them: key, and the hash of each member.
fn expected() -> Vec<Value> {
    let lines = fs_err::read_to_string(fixture("expected.jsonl")).expect("readable");
    lines.lines().map(|line| serde_json::from_str(line).expect("one object per line")).collect()
}

#[test]
fn keys_and_pictures_are_those_that_python_finds() {
    let (data, expected) = (open(), expected());
    assert!(data.problems().is_empty());
    assert_eq!(data.len(), expected.len());
    for (index, sample) in expected.iter().enumerate() {
        assert_eq!(data.id(index).key, sample["key"], "sample {index}");
        let members = &sample["members"];
        let Ok(raw) = data.get(index) else {
            assert!(members.get("txt").is_none(), "sample {index} has a caption");
            continue;
        };
        let image = members.get("jpg").or(members.get("png")).expect("a picture");
        assert_eq!(blake3::hash(raw.media[0].bytes().expect("read")).to_hex().as_str(), image, "sample {index}");
        assert_eq!(raw.truth.is_some(), members.get("json").is_some(), "sample {index}");
    }
}

#[test]
fn captions_are_trimmed_and_unicode_is_kept() {
    let data = open();
    let caption = |index: usize| data.get(index).expect("a sample").conversation.turns[1].text();
    assert_eq!(caption(0), "a red boat on the lake .");
    assert_eq!(caption(1), "ein grüner Hügel — 丘");
    assert_eq!(caption(7), "the first key once more");
    assert_eq!(data.get(5).expect_err("no caption").0.reason, "missing_caption");
}
