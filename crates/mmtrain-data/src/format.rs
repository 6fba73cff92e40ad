//! The formats of datasets: which files they are, and what a row of them says.
//!
//! Shapes are pure: the same row says the same, nothing is read but the row. What rows of several formats have in common is in
//! `media` (columns of media), `turns` (roles and their order), `placeholder` (where media stand among words), `content` (typed
//! items of messages), [`captions`] (what is said of a medium) and `pair` (the better and the worse answer).

use mmtrain_text::{Conversation, MediaKind, Turn};
use serde_json::Value;

use crate::cell::Cell;
use crate::sample::Reject;

mod media;

mod turns;

mod placeholder;

mod content;

mod pair;

pub mod captions;

pub mod selected;

pub mod llava;

pub mod coco;

pub mod cc3m;

pub mod image_folder;

pub mod msr_vtt;

pub mod video_chatgpt;

pub mod wavcaps;

pub mod clotho;

pub mod clotho_aqa;

pub mod messages;

pub mod preference;

pub mod scored;

pub mod llava_pairs;

pub mod dataset_info;

pub mod llama_factory;

mod grounding;

pub mod ms_swift;

pub mod qwen_vl;

pub mod meta_file;

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What is said, with references into `media`; of a pair the better one.
    pub conversation: Conversation,
    /// How the answer was judged, of preference data.
    pub feedback: Option<crate::Feedback>,
    /// Media in the order of their indices.
    pub media: Vec<NamedMedium>,
    /// What synthetic data know of the sample.
    pub truth: Option<Value>,
}

impl Parsed {
    /// Turns alone, without media or a judgement.
    fn said(turns: Vec<Turn>) -> Self {
        Self { conversation: Conversation { turns }, feedback: None, media: Vec::new(), truth: None }
    }
}

/// A medium as a row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedMedium {
    /// What it is.
    pub kind: MediaKind,
    /// Its bytes, or the name under which they lie.
    pub at: MediaPlace,
}

/// Where a row has a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPlace {
    /// In a file of this name.
    Named(String),
    /// In the row itself.
    Inline(Vec<u8>),
    /// A clip whose frames are pictures.
    Frames(Vec<MediaPlace>),
}

/// Where media stand whose placeholders the data put among words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Placeholder {
    /// Where the data have them.
    #[default]
    Keep,
    /// In front of the words of their turn, as `LLaVA` puts them; there, several placeholders of one medium are one.
    Front,
}

/// Which captions of a medium are used, where it has several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Captions {
    /// Each of them makes a sample.
    #[default]
    All,
    /// The first.
    First,
}

/// How the rows of a format are read.
pub trait Shape: Send + Sync {
    /// How many samples a row makes; `None` means one of every row, which then need not be read on opening.
    fn samples_in(&self, row: &Cell) -> Option<usize> {
        let _ = row;
        None
    }

    /// The `nth` sample of a row.
    fn parse(&self, row: &Cell, nth: usize) -> Result<Parsed, Reject>;
}

/// What is known of a sample besides its words: the column `truth`, the keys of synthetic rows that no real dataset has, or the
/// `answers` of several people to a question.
fn truth(row: &Cell) -> Option<Value> {
    const KEYS: [&str; 6] = ["scene", "clip", "sound", "text", "reading", "answers"];
    if let truth @ Cell::Struct(_) = row.get("truth") {
        return Some(truth.to_json());
    }
    let is_known = |key: &str, value: &Cell| KEYS.contains(&key) && matches!(value, Cell::List(_) | Cell::Struct(_));
    let known = row.fields().iter().filter(|(key, value)| is_known(key, value));
    let known: serde_json::Map<_, _> = known.map(|(key, value)| (key.clone(), value.to_json())).collect();
    (!known.is_empty()).then_some(Value::Object(known))
}

#[cfg(test)]
mod mutations;

#[cfg(test)]
mod tests {
    use mmtrain_text::{Part, Role};

    use super::*;
    use crate::Feedback;
    use crate::rows::{RowPlace, Rows};

    /// Rows of a JSON file.
    pub(super) struct Json(&'static str, Vec<String>);

    impl Json {
        pub(super) fn boxed(rows: &[&str]) -> Box<dyn Rows> {
            Self::named("rows.json", rows)
        }

        pub(super) fn named(file: &'static str, rows: &[&str]) -> Box<dyn Rows> {
            Box::new(Self(file, rows.iter().map(ToString::to_string).collect()))
        }
    }

    impl Rows for Json {
        fn len(&self) -> usize {
            self.1.len()
        }

        fn row(&self, index: usize) -> Result<Cell, Reject> {
            Cell::from_json(self.1[index].as_bytes()).map_err(|error| Reject::new("bad_json", error.to_string()))
        }

        fn place(&self, index: usize) -> RowPlace<'_> {
            RowPlace { file: self.0, row: index }
        }

        fn fingerprint(&self) -> &'static str {
            "0"
        }
    }

    /// A conversation on one line: `S:`, `U:` and `A:` (`a:` if not learned) before turns, media as `[kind index]`.
    pub(super) fn written(conversation: &Conversation) -> String {
        let turns = conversation.turns.iter().map(|turn| {
            let name = match (turn.role, turn.supervised) {
                (Role::System, _) => "S",
                (Role::User, _) => "U",
                (Role::Assistant, true) => "A",
                (Role::Assistant, false) => "a",
            };
            let parts = turn.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Media(medium) => format!("[{} {}]", format!("{:?}", medium.kind).to_lowercase(), medium.index),
            });
            format!("{name}: {}", parts.collect::<String>())
        });
        turns.collect::<Vec<_>>().join(" | ")
    }

    pub(super) fn cell(json: &str) -> Cell {
        Cell::from_json(json.as_bytes()).expect("valid json")
    }

    /// The first sample of a row is `expected` and has `media`.
    #[track_caller]
    pub(super) fn check_shape(shape: &dyn Shape, json: &str, expected: &str, media: &[NamedMedium]) {
        let parsed = shape.parse(&cell(json), 0).expect("parsed");
        assert_eq!((written(&parsed.conversation).as_str(), &parsed.media[..]), (expected, media));
        assert_eq!(parsed.feedback, None);
    }

    /// The `nth` sample of a row is a pair of these.
    #[track_caller]
    pub(super) fn check_pair(shape: &dyn Shape, row: &Cell, nth: usize, chosen: &str, rejected: &str) {
        let parsed = shape.parse(row, nth).expect("parsed");
        let Some(Feedback::Rejected(worse)) = &parsed.feedback else { panic!("no pair: {:?}", parsed.feedback) };
        assert_eq!((written(&parsed.conversation).as_str(), written(worse).as_str()), (chosen, rejected));
    }

    pub(super) fn reason_of(shape: &dyn Shape, json: &str) -> &'static str {
        shape.parse(&cell(json), 0).expect_err("rejected").reason
    }
}
