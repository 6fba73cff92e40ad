//! The formats of datasets: which files they are, and what a row of them says.

use mmtrain_text::{Conversation, MediaKind};
use serde_json::Value;

use crate::cell::Cell;
use crate::sample::Reject;

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
