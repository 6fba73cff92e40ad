//! The fixtures of `tests/fixtures/text` and ways to look at what is made of them.

use std::path::PathBuf;

use mmtrain_text::{Conversation, IGNORE_INDEX, MediaKind, MediaRef, Part, Piece, Role, Segment, TextTokenizer, Turn};
use serde_json::{Value, json};

/// The three kinds of tokenizers: byte-level, with a mark at the start of the first text, with a normalizer.
pub(crate) const KINDS: [&str; 3] = ["byte_level", "metaspace", "legacy"];

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/text").join(name)
}

pub(crate) fn read(name: &str) -> String {
    fs_err::read_to_string(fixture(name)).expect("a fixture")
}

pub(crate) fn rows(name: &str) -> Vec<Value> {
    serde_json::from_str(&read(name)).expect("rows")
}

/// A tokenizer whose placeholder of pictures is called `image_token`.
pub(crate) fn tokenizer(kind: &str, image_token: &str) -> TextTokenizer {
    let dir = tempfile::tempdir().expect("a directory");
    let config = json!({ "image_token": image_token, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>" });
    fs_err::write(dir.path().join("tokenizer_config.json"), config.to_string()).expect("written");
    let file = fixture("tokenizers").join(format!("{kind}.json"));
    fs_err::copy(file, dir.path().join("tokenizer.json")).expect("copied");
    TextTokenizer::load(dir.path()).expect("a tokenizer")
}

/// The conversations of `conversations.json`; pictures stand in front of the words.
pub(crate) fn conversation(turns: &Value) -> Conversation {
    let mut pictures = 0;
    let turns = turns.as_array().expect("turns").iter().map(|turn| {
        let role = serde_json::from_value::<Role>(turn[0].clone()).expect("a role");
        let text = Part::Text(turn[2].as_str().expect("words").to_owned());
        if turn[1] == true {
            pictures += 1;
            return Turn::new(role, vec![Part::Media(MediaRef::image(pictures - 1)), text]);
        }
        Turn::new(role, vec![text])
    });
    Conversation { turns: turns.collect() }
}

/// The text that the segments stand for; pictures as `image_token`.
pub(crate) fn text_of(segments: &[Segment], image_token: &str) -> String {
    let pieces = segments.iter().map(|segment| match &segment.piece {
        Piece::Text(text) => text.clone(),
        Piece::Special(name) => name.to_string(),
        Piece::Bos => "<s>".into(),
        Piece::Eos => "</s>".into(),
        Piece::Media(medium) => {
            assert_eq!(medium.kind, MediaKind::Image);
            image_token.to_owned()
        }
    });
    pieces.collect()
}

/// A list of ids or labels.
pub(crate) fn numbers<T: TryFrom<i64>>(value: &Value) -> Vec<T> {
    let numbers = value.as_array().expect("a list").iter().map(|number| number.as_i64().expect("a number"));
    numbers.map(|number| T::try_from(number).ok().expect("in range")).collect()
}

/// What is learned, in order.
pub(crate) fn learned(labels: &[i32]) -> Vec<u32> {
    labels.iter().filter(|&&label| label != IGNORE_INDEX).map(|&label| label as u32).collect()
}
