//! One tar file: its index, and how a captioned medium is read from it.
//!
//! A sample is made of one picture, else one clip, else one sound, of one caption (`.txt`) and optionally of a `.json`.
//! Without a caption, the `.json` may hold `conversations` as `LLaVA` has them. Everything else about it is a reason to
//! leave it out:
//!
//! | reason | meaning |
//! |---|---|
//! | `missing_caption`, `missing_image` | no such member |
//! | `duplicate_member` | two members of one extension |
//! | `ambiguous_image` | several pictures of different extensions |
//! | `empty_caption`, `caption_not_utf8` | a caption of blanks, or of bytes that are no text |
//! | `bad_json` | a `.json` that does not parse |
//! | `member_too_large` | above the limit |
//! | `unreadable` | the read failed thrice, or the shard is shorter than it was or gone |
//!
//! An extension is all behind the first dot of the name, so `000.seg.png` beside `000.jpg` is no second
//! picture: side files of that kind are passed over.

use std::io;
use std::sync::{Arc, OnceLock};

use mmtrain_text::{Conversation, MediaKind, MediaRef};
use serde_json::Value;

use super::fingerprint::{Depth, ShardPrint};
use super::group::{Grouped, Piece};
use super::window::Window;
use super::{ShardProblem, tar};
use crate::reading::{ReadAt, exactly, retrying, unreadable};
use crate::sample::Reject;
use crate::{Place, content};

/// A medium and the bytes of its file.
type Payload = (MediaKind, Vec<u8>);

/// Extensions of pictures, of which a sample has one. What is in the file is decided by its magic bytes.
const IMAGE: &[&str] = &["jpg", "jpeg", "png", "webp", "gif", "bmp"];
const VIDEO: &[&str] = &["mp4", "webm", "mkv", "avi", "mov"];
const AUDIO: &[&str] = &["flac", "wav", "mp3", "ogg", "m4a"];
const CAPTION: &[&str] = &["txt"];
const TRUTH: &[&str] = &["json"];

const MAX_IMAGE_BYTES: u32 = 256 << 20;
const MAX_CLIP_BYTES: u32 = 1 << 30;
const MAX_TEXT_BYTES: u32 = 1 << 20;
const MAX_TRUTH_BYTES: u32 = 16 << 20;

/// A shard, indexed.
#[derive(Debug)]
pub(crate) struct Shard {
    place: Place,
    /// File name.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Hash of its members, or of what a server calls it.
    pub(crate) print: blake3::Hash,
    pub(crate) grouped: Grouped,
    faults: Vec<Reject>,
    /// Where the shard is kept open: the file, once it has been opened.
    file: Option<OnceLock<Arc<dyn ReadAt>>>,
}

impl Shard {
    /// Walks the headers of a tar file and hashes what lies around them.
    pub(crate) fn index(place: &Place, depth: Depth) -> io::Result<Self> {
        let file = place.open()?;
        let bytes = file.len()?;
        let mut window = Window::new(file.as_ref());
        let (listing, print) = match file.version() {
            Some(version) => (tar::list(&mut window, bytes, |_, _| Ok(()))?, content::of_version(version, bytes)),
            None => listed_and_hashed(&mut window, bytes, depth)
                .map_err(|error| io::Error::new(error.kind(), format!("`{place}`: {error}")))?,
        };
        let grouped = Grouped::new(&listing);
        let mut faults = listing.into_faults().map(|fault| Reject::new(fault.reason, fault.detail)).collect::<Vec<_>>();
        if faults.is_empty() && grouped.samples.is_empty() {
            faults.push(Reject::new("shard_no_samples", "holds no samples"));
        }
        Ok(Self { place: place.clone(), name: place.name(), bytes, print, grouped, faults, file: None })
    }

    /// Keeps the file open from the first sample on.
    pub(crate) fn keep_open(&mut self) {
        self.file = Some(OnceLock::new());
    }

    pub(crate) fn problems(&self) -> impl Iterator<Item = ShardProblem> {
        let samples = self.grouped.samples.len();
        self.faults.iter().map(move |Reject { reason, detail }| ShardProblem {
            shard: self.name.clone(),
            reason,
            samples,
            detail: detail.clone(),
        })
    }

    /// What is said, of what, and the JSON of the sample at `place`.
    pub(crate) fn read(&self, place: usize) -> Result<(Conversation, Option<Payload>, Option<Value>), Reject> {
        let members = self.grouped.members(place);
        let medium = self.medium(members)?;
        let json = self.pick(members, TRUTH)?.map(|member| self.payload(member, MAX_TRUTH_BYTES)).transpose()?;
        let conversation = match (self.pick(members, CAPTION)?, medium, &json) {
            (Some(caption), Some((kind, _)), _) => {
                let caption = caption_text(self.payload(caption, MAX_TEXT_BYTES)?)?;
                Conversation::described(MediaRef { kind, index: 0 }, caption)
            }
            (Some(_), None, _) => return Err(self.missing("missing_image", members)),
            (None, medium, Some(json)) => {
                let kinds = medium.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
                crate::format::llava::conversation(json, &kinds)?
                    .ok_or_else(|| self.missing("missing_caption", members))?
            }
            (None, _, None) => return Err(self.missing("missing_caption", members)),
        };
        let truth = json.map(|bytes| parse_json(&bytes)).transpose()?;
        let medium = medium.map(|(kind, member)| Ok((kind, self.payload(member, max_bytes(kind))?))).transpose()?;
        Ok((conversation, medium, truth))
    }

    /// The picture, else the clip, else the sound.
    fn medium(&self, members: &[Piece]) -> Result<Option<(MediaKind, Piece)>, Reject> {
        const KINDS: [(MediaKind, &[&str]); 3] =
            [(MediaKind::Image, IMAGE), (MediaKind::Video, VIDEO), (MediaKind::Audio, AUDIO)];
        for (kind, extensions) in KINDS {
            if let Some(member) = self.pick(members, extensions)? {
                return Ok(Some((kind, member)));
            }
        }
        Ok(None)
    }

    /// The one member with one of `extensions`.
    fn pick(&self, members: &[Piece], extensions: &[&str]) -> Result<Option<Piece>, Reject> {
        let mut found = members.iter().filter(|member| extensions.contains(&self.extension(member)));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(only), None) => Ok(Some(*only)),
            (Some(first), Some(second)) => Err(self.several(first, second)),
        }
    }

    fn several(&self, first: &Piece, second: &Piece) -> Reject {
        let (first, second) = (self.extension(first), self.extension(second));
        if first == second {
            return Reject::new("duplicate_member", format!("two `.{first}` members"));
        }
        Reject::new("ambiguous_image", format!("a `.{first}` and a `.{second}`: which one is captioned?"))
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
        let end = member.offset + u64::from(member.size);
        retrying(|| self.try_payload(member)).map_err(|error| unreadable(&self.place, end, &error))
    }

    fn try_payload(&self, member: Piece) -> io::Result<Vec<u8>> {
        let len = member.size as usize;
        match &self.file {
            Some(kept) => exactly(self.kept_open(kept)?.as_ref(), member.offset, len),
            None => exactly(self.place.open()?.as_ref(), member.offset, len),
        }
    }

    fn kept_open<'a>(&self, kept: &'a OnceLock<Arc<dyn ReadAt>>) -> io::Result<&'a Arc<dyn ReadAt>> {
        if let Some(file) = kept.get() {
            return Ok(file);
        }
        let file = self.place.open()?;
        Ok(kept.get_or_init(|| file))
    }
}

/// The members of a shard, and the hash of what lies around their headers.
fn listed_and_hashed(window: &mut Window, bytes: u64, depth: Depth) -> io::Result<(tar::Listing, blake3::Hash)> {
    let mut print = ShardPrint::new(depth);
    let listing = tar::list(window, bytes, |window, member| print.add(window, member))?;
    let print = print.finish(window, &listing.members)?;
    Ok((listing, print))
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

fn max_bytes(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Image | MediaKind::Audio => MAX_IMAGE_BYTES,
        MediaKind::Video => MAX_CLIP_BYTES,
    }
}

fn parse_json(bytes: &[u8]) -> Result<Value, Reject> {
    serde_json::from_slice(bytes).map_err(|error| Reject::new("bad_json", error.to_string()))
}
