//! Zip files: their directory, and one member by its place. Stored and deflated members, zip64.
//!
//! After APPNOTE 6.3.10. The directory stands at the end and says where each member begins; nothing else of the
//! archive is read, and no name in it is ever used as a path.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::archive::{Entry, Members, Packing};
use crate::reading::{From, ReadAt, bytes_at};
use crate::source::Window;

const END: u32 = 0x0605_4b50;
const END_LEN: usize = 22;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const HEADER: u32 = 0x0201_4b50;
const HEADER_LEN: usize = 46;
const LOCAL: u32 = 0x0403_4b50;
const LOCAL_LEN: usize = 30;
/// The end record and the longest comment behind it.
const MAX_END: u64 = 22 + 0xffff;

/// The place of the directory.
struct Directory {
    offset: u64,
    bytes: u64,
    entries: u64,
    /// Bytes in front of the archive, as a self-extracting one has them.
    ahead: u64,
}

/// The files of an archive of `len` bytes.
pub(super) fn list(file: &dyn ReadAt, len: u64) -> Result<Members, String> {
    let directory = directory(file, len)?;
    let mut members = Members::default();
    let mut window = Window::new(file);
    let (mut at, end) = (directory.offset, directory.offset + directory.bytes);
    for number in 0..directory.entries {
        let damaged = |_| format!("its directory is damaged at member {number}");
        let header = Fields(window.read(at, HEADER_LEN).map_err(damaged)?.to_vec());
        if header.u32(0) != HEADER || at >= end {
            return Err(format!("its directory is damaged at member {number}"));
        }
        let (name, extra, comment) = (header.len(28), header.len(30), header.len(32));
        let tail = window.read(at + HEADER_LEN as u64, name + extra).map_err(damaged)?;
        let is_file = !tail[..name].ends_with(b"/");
        if let Some(entry) = entry(&header, &tail[name..], directory.ahead).filter(|_| is_file) {
            members.push(&String::from_utf8_lossy(&tail[..name]), entry);
        }
        at += (HEADER_LEN + name + extra + comment) as u64;
    }
    Ok(members)
}

/// The unpacked bytes of a member, checked against its length and checksum.
pub(super) fn read(file: &dyn ReadAt, entry: &Entry, method: u16, crc: u32) -> Result<Vec<u8>, String> {
    let io = |error: std::io::Error| error.to_string();
    let local = Fields(bytes_at(file, entry.offset, LOCAL_LEN).map_err(io)?);
    if local.u32(0) != LOCAL {
        return Err("there is no member at its place".into());
    }
    let start = entry.offset + (LOCAL_LEN + local.len(26) + local.len(28)) as u64;
    let available = file.len().map_err(io)?.saturating_sub(start);
    if entry.stored > available {
        return Err("the archive ends inside it".into());
    }
    let bytes = match method {
        0 => bytes_at(file, start, entry.stored as usize).map_err(io)?,
        8 => inflate(file, start, entry).map_err(io)?,
        _ => return Err(format!("is packed with method {method}; only stored and deflated members are read")),
    };
    let mut sum = Crc::new();
    sum.update(&bytes);
    if bytes.len() as u64 != entry.size || sum.sum() != crc {
        return Err("its bytes do not have the checksum of the directory".into());
    }
    Ok(bytes)
}

/// At most one byte more than the directory says.
fn inflate(file: &dyn ReadAt, start: u64, entry: &Entry) -> std::io::Result<Vec<u8>> {
    let packed = From { file, at: start }.take(entry.stored);
    let mut bytes = Vec::new();
    DeflateDecoder::new(packed).take(entry.size + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Finds the end record, and behind a zip64 locator the one with longer fields.
fn directory(file: &dyn ReadAt, len: u64) -> Result<Directory, String> {
    let not_a_zip = || "is no zip archive, or its end is missing".to_owned();
    let tail_len = len.min(MAX_END);
    let tail = Fields(bytes_at(file, len - tail_len, tail_len as usize).map_err(|error| error.to_string())?);
    let places = (0..=tail.0.len().checked_sub(END_LEN).ok_or_else(not_a_zip)?).rev();
    let mut ends = places.filter(|&at| tail.u32(at) == END && at + END_LEN + tail.len(at + 20) <= tail.0.len());
    let at = ends.next().ok_or_else(not_a_zip)?;
    let end_at = len - tail_len + at as u64;
    if tail.len(at + 4) != 0 && tail.len(at + 4) != 0xffff {
        let parts = tail.len(at + 4) + 1;
        return Err(format!("is the last of the {parts} parts of a split archive: join them with `zip -s 0`"));
    }
    let locator = at.checked_sub(20).filter(|&at| tail.u32(at) == LOCATOR64);
    let (entries, bytes, offset, record_at) = match locator {
        Some(locator) => end64(file, tail.u64(locator + 8)).ok_or_else(not_a_zip)?,
        None => (tail.len(at + 10) as u64, tail.u32(at + 12).into(), tail.u32(at + 16).into(), end_at),
    };
    let ahead = record_at.checked_sub(bytes).and_then(|start| start.checked_sub(offset)).ok_or_else(not_a_zip)?;
    if entries > bytes / HEADER_LEN as u64 {
        return Err(not_a_zip());
    }
    Ok(Directory { offset: offset + ahead, bytes, entries, ahead })
}

/// Members, bytes and offset of the directory, and where the zip64 end record that says so stands.
fn end64(file: &dyn ReadAt, at: u64) -> Option<(u64, u64, u64, u64)> {
    let record = Fields(bytes_at(file, at, 56).ok()?);
    (record.u32(0) == END64).then(|| (record.u64(32), record.u64(40), record.u64(48), at))
}

/// What a header of the directory says; nothing of links and encrypted members.
fn entry(header: &Fields, extra: &[u8], ahead: u64) -> Option<Entry> {
    const ENCRYPTED: usize = 1;
    const LINK: u32 = 0xA000;
    let is_link = header.u32(38) >> 16 & 0xF000 == LINK;
    let mut long = zip64_fields(extra);
    let mut field = |at: usize| match header.u32(at) {
        u32::MAX => long.next(),
        value => Some(value.into()),
    };
    let (size, stored) = (field(24)?, field(20)?);
    let offset = field(42)?.checked_add(ahead)?;
    if header.len(8) & ENCRYPTED != 0 || is_link {
        return None;
    }
    let packing = Packing::Zip { method: header.len(10) as u16, crc: header.u32(16) };
    Some(Entry { offset, stored, size, packing })
}

/// The 64-bit fields of the zip64 extra field, which has those that did not fit.
fn zip64_fields(mut extra: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut found: &[u8] = &[];
    while let [a, b, c, d, rest @ ..] = extra {
        let (id, len) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]) as usize);
        let Some((field, behind)) = rest.split_at_checked(len) else {
            break;
        };
        if id == 1 {
            found = field;
        }
        extra = behind;
    }
    found.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

/// Numbers in a record, whose length has been checked.
struct Fields(Vec<u8>);

impl Fields {
    fn len(&self, at: usize) -> usize {
        u16::from_le_bytes([self.0[at], self.0[at + 1]]).into()
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }
}
