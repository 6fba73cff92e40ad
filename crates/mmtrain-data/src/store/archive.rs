//! An archive of media, read by offset and never unpacked: its members by name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mmtrain_text::MediaKind;

use super::{Found, limit, too_large, zip};
use crate::reading::{ReadAt, bytes_at};
use crate::sample::{MediaContent, Reject};
use crate::source::{Window, tar};
use crate::{DataError, Place};

/// A zip or tar file.
#[derive(Debug)]
pub(super) struct Archive {
    place: Place,
    name: String,
    /// Its name without the extension: the directory that it would be unpacked to.
    stem: String,
    file: Arc<dyn ReadAt>,
    members: Members,
    /// Why not everything in it can be read.
    fault: Option<String>,
}

/// A member: where it stands and how it is packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) offset: u64,
    /// Bytes in the archive, and unpacked.
    pub(super) stored: u64,
    pub(super) size: u64,
    pub(super) packing: Packing,
}

/// How the bytes of a member are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As they are; `offset` is that of the content.
    Plain,
    /// In a zip file, `offset` is that of the local header.
    Zip {
        /// 0 = stored, 8 = deflated.
        method: u16,
        crc: u32,
    },
}

/// Entries in the order of their names, which stand one behind the other: some 60 bytes a member.
#[derive(Debug, Default)]
pub(super) struct Members {
    names: String,
    entries: Vec<(u32, u16, Entry)>,
}

impl Members {
    /// Adds a member; one with an empty or very long name is none.
    pub(super) fn push(&mut self, name: &str, entry: Entry) {
        let name = name.trim_start_matches("./");
        let place = u32::try_from(self.names.len()).ok().zip(u16::try_from(name.len()).ok());
        if let Some((start, len)) = place.filter(|_| !name.is_empty()) {
            self.names.push_str(name);
            self.entries.push((start, len, entry));
        }
    }

    pub(super) fn sort(&mut self) {
        let names = &self.names;
        self.entries.sort_by(|a, b| name_of(names, a).cmp(name_of(names, b)));
        self.entries.shrink_to_fit();
        self.names.shrink_to_fit();
    }

    /// The member of that name, of several the last.
    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        let behind = self.entries.partition_point(|entry| name_of(&self.names, entry) <= name);
        let entry = self.entries[..behind].last()?;
        (name_of(&self.names, entry) == name).then_some(entry.2)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The directory that all members are in, with its `/`; empty where they are in several.
    fn common_directory(&self) -> &str {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else {
            return "";
        };
        let (first, last) = (name_of(&self.names, first), name_of(&self.names, last));
        let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        let end = first.as_bytes()[..same].iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        &first[..end]
    }
}

fn name_of<'a>(names: &'a str, &(start, len, _): &(u32, u16, Entry)) -> &'a str {
    &names[start as usize..start as usize + len as usize]
}

impl Archive {
    /// Reads the directory of a zip file, or the headers of a tar file.
    pub(super) fn open(place: &Place) -> Result<Self, DataError> {
        let path = place.path();
        let refuse = |detail: String| DataError::Rows { path: path.to_path_buf(), detail };
        if let Some(detail) = part_of_split(path) {
            return Err(refuse(detail));
        }
        let file = place.open()?;
        let len = file.len()?;
        let is_tar = path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("tar"));
        let (mut members, fault) =
            if is_tar { list_tar(file.as_ref(), len)? } else { (zip::list(file.as_ref(), len).map_err(refuse)?, None) };
        members.sort();
        if members.len() == 0 {
            return Err(refuse(fault.unwrap_or_else(|| "holds no files".into())));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { place: place.clone(), name: place.name(), stem, file, members, fault })
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Whether members may be missing.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The member `name`, also where only one of both has the archive's own name in front (users unpack `images.zip`
    /// into `images/`), or where all members are in a directory that the name does not have, as in `WavCaps`.
    pub(super) fn find(&self, name: &str, kind: MediaKind) -> Found {
        let prefix = format!("{}/", self.stem);
        let shorter = || name.strip_prefix(&prefix).and_then(|name| self.members.get(name));
        let longer = || self.members.get(&format!("{prefix}{name}"));
        let deeper = || self.members.get(&format!("{}{name}", self.members.common_directory()));
        let found = self.members.get(name).or_else(shorter).or_else(longer).or_else(deeper);
        let Some(entry) = found else {
            return Found::Nothing;
        };
        if entry.size > limit(kind) {
            return Found::Rejected(too_large(name, entry.size, kind));
        }
        match self.read(entry) {
            Ok(bytes) => Found::Content(MediaContent::Bytes(bytes)),
            Err(detail) => {
                Found::Rejected(Reject::new("media_unreadable", format!("`{name}` in `{}`: {detail}", self.name)))
            }
        }
    }

    fn read(&self, entry: Entry) -> Result<Vec<u8>, String> {
        match entry.packing {
            Packing::Plain => {
                bytes_at(self.file.as_ref(), entry.offset, entry.size as usize).map_err(|error| error.to_string())
            }
            Packing::Zip { method, crc } => zip::read(self.file.as_ref(), &entry, method, crc),
        }
    }
}

/// Whether a path is that of an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    let ext = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    matches!(ext.as_str(), "zip" | "tar") || part_of_split(path).is_some()
}

/// What to do with a part of a split archive, such as `X.z01`.
pub(super) fn part_of_split(path: &Path) -> Option<String> {
    let ext = path.extension()?.to_str()?.to_ascii_lowercase();
    let number = ext.strip_prefix('z')?;
    let is_part = number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    let stem = path.file_stem()?.to_string_lossy();
    is_part.then(|| {
        format!("is a part of a split archive: join the parts with `zip -s 0 {stem}.zip --out {stem}_whole.zip`")
    })
}

fn list_tar(file: &dyn ReadAt, len: u64) -> io::Result<(Members, Option<String>)> {
    let listing = tar::list(&mut Window::new(file), len, |_, _| Ok(()))?;
    let mut members = Members::default();
    for tar::Member { name, offset, size } in &listing.members {
        members.push(name, Entry { offset: *offset, stored: *size, size: *size, packing: Packing::Plain });
    }
    let faults = listing.into_faults().map(|fault| fault.detail).collect::<Vec<_>>();
    Ok((members, (!faults.is_empty()).then(|| faults.join("; "))))
}
