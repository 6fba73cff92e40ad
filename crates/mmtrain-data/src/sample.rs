//! What a source yields: a sample with its name, or the reason why there is none.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use mmtrain_text::{Conversation, MediaKind};
use serde::{Deserialize, Serialize};

/// Where a sample stands.
///
/// Keys are not unique (CC3M's restart in every shard), so the identity is source, shard and index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleId {
    /// Name of the source.
    pub source: String,
    /// File name of the shard.
    pub shard: String,
    /// Key inside the shard.
    pub key: String,
    /// Index in the source, over all shards.
    pub index: usize,
}

impl fmt::Display for SampleId {
    /// Control characters are spelled out: names come from data, and could make up lines of what is said of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in [&self.source, &self.shard, &self.key].into_iter().enumerate() {
            if number > 0 {
                f.write_char('/')?;
            }
            for character in name.chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    f.write_char(character)?;
                }
            }
        }
        Ok(())
    }
}

/// A sample as it stands in the data: nothing is decoded yet.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSample {
    /// Where it stands.
    pub id: SampleId,
    /// What is said, with references into `media`; of a pair the better one.
    pub conversation: Conversation,
    /// How people or models judged the answer, of preference data.
    pub feedback: Option<Feedback>,
    /// Media, still encoded.
    pub media: Vec<RawMedium>,
    /// The sample's JSON, whole; synthetic data keep the scene there.
    pub truth: Option<serde_json::Value>,
}

/// A judgement of the last answer of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feedback {
    /// The same conversation with the worse answer; it has the same media.
    Rejected(Conversation),
    /// Whether the answer is wanted, of data without pairs (KTO).
    Wanted(bool),
    /// The same with what KTO compares it with; a [`Preparer`](crate::Preparer) finds that.
    Judged {
        /// Whether the answer is wanted.
        wanted: bool,
        /// The same conversation with the answer to something else.
        elsewhere: Conversation,
    },
}

/// A picture, clip or sound as it lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMedium {
    /// What it is.
    pub kind: MediaKind,
    /// The file, or what was in it.
    pub content: MediaContent,
}

impl RawMedium {
    /// A picture whose file has been read.
    pub fn image(bytes: Vec<u8>) -> Self {
        Self { kind: MediaKind::Image, content: MediaContent::Bytes(bytes) }
    }

    /// What has been read; nothing of a file that has not.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            MediaContent::Bytes(bytes) => Some(bytes),
            MediaContent::File(_) | MediaContent::Frames(_) => None,
        }
    }
}

/// Where the bytes of a medium are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaContent {
    /// Here: pictures, sounds and clips out of archives.
    Bytes(Vec<u8>),
    /// In a file of their own; a clip is read there frame by frame.
    File(PathBuf),
    /// A clip as the pictures that were taken from it.
    Frames(Vec<Vec<u8>>),
}

/// Why a row or a shard cannot be used; the source adds the name of the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Stable `snake_case` name of the fault, for counting.
    pub reason: &'static str,
    /// What exactly, for people.
    pub detail: String,
}

impl Reject {
    /// Names a fault.
    pub fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// A sample that is left out, and why.
///
/// Two skips are equal if they are of the same sample, so that a set of them holds each bad sample
/// once however often an epoch comes around.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Skip {
    /// Which sample.
    pub id: SampleId,
    /// Stable `snake_case` name of the fault, for counting.
    pub reason: String,
    /// What exactly, for people; boxed, because a `Skip` is the error of many a `Result`.
    pub detail: Box<str>,
}

impl PartialEq for Skip {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Skip {}

impl Hash for Skip {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.id, self.reason, self.detail)
    }
}

/// Why a source has no sample at an index that is in range.
#[derive(Debug, Clone, thiserror::Error)]
#[error("sample {0}")]
pub struct SourceError(pub Skip);

impl SourceError {
    /// A sample that the source rejects.
    pub fn reject(id: SampleId, reason: &str, detail: impl Into<Box<str>>) -> Self {
        Self(Skip { id, reason: reason.to_owned(), detail: detail.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_set_of_skips_holds_each_sample_once() {
        let skip = |index, reason: &str| Skip {
            id: SampleId { source: "s".into(), shard: "a.tar".into(), key: "0".into(), index },
            reason: reason.into(),
            detail: "".into(),
        };
        let skips: HashSet<Skip> = [skip(0, "x"), skip(0, "y"), skip(1, "x")].into();
        assert_eq!(skips.len(), 2);
    }
}
