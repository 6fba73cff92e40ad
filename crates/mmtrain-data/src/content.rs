//! Fingerprint of one file's content, for files that are not read through when they are opened.

use std::io;
use std::path::Path;

use crate::reading::{ReadAt, bytes_at, read_through};

/// Up to this many bytes a file is hashed from end to end.
const WHOLE: u64 = 64 << 20;
/// Bytes hashed at each end of a larger one; a Parquet file has its index at the end.
const EDGE: u64 = 1 << 20;
const PLACES: u64 = 256;
const DEEP: u64 = 16 << 10;

/// A blake3 hash, in hexadecimal: of all bytes, or of a file of more than 64 MiB of its length, its ends and what
/// stands at 256 places spread evenly between them. Of a file on a server, of its length and what the server calls its
/// content.
pub(crate) fn fingerprint(file: &dyn ReadAt, len: u64) -> io::Result<String> {
    if let Some(version) = file.version() {
        return Ok(of_version(version, len).to_hex().to_string());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&len.to_le_bytes());
    if len <= WHOLE {
        read_through(file, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        return Ok(hasher.finalize().to_hex().to_string());
    }
    let between = (0..PLACES).map(|place| (EDGE + (len - 2 * EDGE - DEEP) / PLACES * place, DEEP));
    for (offset, size) in [(0, EDGE)].into_iter().chain(between).chain([(len - EDGE, EDGE)]) {
        hasher.update(&bytes_at(file, offset, size as usize)?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The same of the file at a path.
pub fn file_fingerprint(path: &Path) -> io::Result<String> {
    let file = fs_err::File::open(path)?;
    let len = file.metadata()?.len();
    fingerprint(file.file(), len)
}

/// Of a file of which a server says the version.
pub(crate) fn of_version(version: &str, len: u64) -> blake3::Hash {
    blake3::Hasher::new().update(&len.to_le_bytes()).update(version.as_bytes()).finalize()
}
