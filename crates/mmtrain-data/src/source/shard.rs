//! One tar file: its index, and how a captioned picture is read from it.
//!
//! A sample is made of one picture, one caption (`.txt`) and optionally a `.json`; everything else about
//! it is a reason to leave it out:
//!
//! | reason | meaning |
//! |---|---|
//! | `missing_caption`, `missing_image` | no such member |
//! | `duplicate_member` | two members of one extension |
//! | `empty_caption`, `caption_not_utf8` | a caption of blanks, or of bytes that are no text |
//! | `bad_json` | a `.json` that does not parse |
//! | `member_too_large`, `unreadable` | above the limit, or the read failed thrice |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use mmtrain_text::Conversation;
use serde_json::Value;

use super::group::{Grouped, Piece};
use super::{ShardProblem, shards, tar};

/// Extensions of pictures; where a sample has several, the first of this list is taken. What is in the
/// file is decided by its magic bytes.
const IMAGE: &[&str] = &["jpg", "jpeg", "png", "webp", "gif", "bmp"];
const CAPTION: &[&str] = &["txt"];
const TRUTH: &[&str] = &["json"];

const MAX_IMAGE_BYTES: u32 = 256 << 20;
const MAX_TEXT_BYTES: u32 = 1 << 20;
const MAX_TRUTH_BYTES: u32 = 16 << 20;

/// Waits before a failed read is tried again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// A shard, indexed.
#[derive(Debug)]
pub(crate) struct Shard {
    path: PathBuf,
    /// File name.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) grouped: Grouped,
    problem: Option<String>,
    /// Where the shard is kept open: the file, once it has been opened.
    file: Option<OnceLock<File>>,
}

/// Why a sample cannot be used; its name is added by the source.
#[derive(Debug)]
pub(crate) struct Reject {
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
}

impl Reject {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl Shard {
    /// Walks the headers of a tar file.
    pub(crate) fn index(path: &Path) -> io::Result<Self> {
        let file = fs_err::File::open(path)?.into_file();
        let bytes = file.metadata()?.len();
        let listing = tar::list(&file, bytes)?;
        let grouped = Grouped::new(&listing);
        let empty = grouped.samples.is_empty().then(|| "holds no samples".to_owned());
        let problem = listing.fault.map(|fault| fault.detail).or(empty);
        Ok(Self { path: path.to_path_buf(), name: shards::file_name(path), bytes, grouped, problem, file: None })
    }

    /// Keeps the file open from the first sample on.
    pub(crate) fn keep_open(&mut self) {
        self.file = Some(OnceLock::new());
    }

    pub(crate) fn problem(&self) -> Option<ShardProblem> {
        let detail = self.problem.clone()?;
        let complete_samples = self.grouped.samples.len();
        Some(ShardProblem { shard: self.name.clone(), complete_samples, detail })
    }

    /// Caption, picture and JSON of the sample at `place`.
    pub(crate) fn read(&self, place: usize) -> Result<(Conversation, Vec<u8>, Option<Value>), Reject> {
        let members = self.grouped.members(place);
        let caption = self.pick(members, CAPTION)?.ok_or_else(|| self.missing("missing_caption", members))?;
        let image = self.pick(members, IMAGE)?.ok_or_else(|| self.missing("missing_image", members))?;
        let truth = self.pick(members, TRUTH)?;

        let caption = caption_text(self.payload(caption, MAX_TEXT_BYTES)?)?;
        let truth = truth.map(|member| self.payload(member, MAX_TRUTH_BYTES)).transpose()?;
        let truth = truth.map(|bytes| parse_json(&bytes)).transpose()?;
        let image = self.payload(image, MAX_IMAGE_BYTES)?;
        Ok((Conversation::caption(caption), image, truth))
    }

    /// The member with the first of `extensions` that occurs.
    fn pick(&self, members: &[Piece], extensions: &[&str]) -> Result<Option<Piece>, Reject> {
        for &extension in extensions {
            let mut found = members.iter().filter(|member| self.extension(member) == extension);
            if let Some(member) = found.next() {
                return match found.next() {
                    None => Ok(Some(*member)),
                    Some(_) => Err(Reject::new("duplicate_member", format!("two `.{extension}` members"))),
                };
            }
        }
        Ok(None)
    }

    pub(crate) fn extension(&self, member: &Piece) -> &str {
        &self.grouped.extensions[member.extension as usize]
    }

    fn missing(&self, reason: &'static str, members: &[Piece]) -> Reject {
        let there: Vec<String> = members.iter().map(|member| format!("`.{}`", self.extension(member))).collect();
        Reject::new(reason, format!("the sample has only {}", there.join(", ")))
    }

    fn payload(&self, member: Piece, max: u32) -> Result<Vec<u8>, Reject> {
        if member.size > max {
            let detail = format!("`.{}` of {} bytes, at most {max} are read", self.extension(&member), member.size);
            return Err(Reject::new("member_too_large", detail));
        }
        let mut waits = RETRY_AFTER.into_iter();
        loop {
            match (self.try_payload(member), waits.next()) {
                (Ok(bytes), _) => return Ok(bytes),
                (Err(_), Some(wait)) => std::thread::sleep(wait),
                (Err(error), None) => return Err(Reject::new("unreadable", error.to_string())),
            }
        }
    }

    fn try_payload(&self, member: Piece) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; member.size as usize];
        match &self.file {
            Some(kept) => self.kept_open(kept)?.read_exact_at(&mut bytes, member.offset)?,
            None => File::open(&self.path)?.read_exact_at(&mut bytes, member.offset)?,
        }
        Ok(bytes)
    }

    fn kept_open<'a>(&self, kept: &'a OnceLock<File>) -> io::Result<&'a File> {
        if let Some(file) = kept.get() {
            return Ok(file);
        }
        let file = File::open(&self.path)?;
        Ok(kept.get_or_init(|| file))
    }
}

/// A caption, trimmed; a byte-order mark in front is dropped.
fn caption_text(bytes: Vec<u8>) -> Result<String, Reject> {
    let text = String::from_utf8(bytes).map_err(|error| Reject::new("caption_not_utf8", error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(Reject::new("empty_caption", "the caption is empty or blank"));
    }
    Ok(text.to_owned())
}

fn parse_json(bytes: &[u8]) -> Result<Value, Reject> {
    serde_json::from_slice(bytes).map_err(|error| Reject::new("bad_json", error.to_string()))
}
