//! Reading pieces of files: a read that fails is tried again, and a file that became shorter is named as such.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::sample::Reject;

/// Waits before a failed read is tried again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// The first result of `read`, which is tried thrice where a fault may pass.
pub(crate) fn retrying<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut waits = RETRY_AFTER.into_iter();
    loop {
        match (read(), waits.next()) {
            (Err(error), Some(wait)) if may_pass(&error) => std::thread::sleep(wait),
            (result, _) => return result,
        }
    }
}

/// Whether a second try may succeed: not where a file was cut or removed meanwhile.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, PermissionDenied, UnexpectedEof};
    !matches!(error.kind(), UnexpectedEof | NotFound | InvalidData | PermissionDenied)
}

/// The `len` bytes from `offset` on.
pub(crate) fn bytes_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    retrying(|| {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    })
}

/// Why the bytes up to `end` of the file at `path` cannot be had.
pub(crate) fn unreadable(path: &Path, end: u64, error: &io::Error) -> Reject {
    let detail = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("`{}` ends before byte {end}; it was longer when it was opened", path.display())
        }
        _ => format!("`{}`: {error}", path.display()),
    };
    Reject::new("unreadable", detail)
}

/// Reads a file from end to end, a piece at a time, and shows each piece to `see`.
pub(crate) fn read_through(file: &File, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let (mut buffer, mut at) = (vec![0; PIECE], 0);
    loop {
        let n = retrying(|| file.read_at(&mut buffer, at))?;
        if n == 0 {
            return Ok(());
        }
        see(&buffer[..n]);
        at += n as u64;
    }
}

/// The first bytes of a file, at most `len`.
pub(crate) fn head(path: &Path, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
