//! Reading pieces of files: a read that fails is tried again, and a file that became shorter is named as such.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::Place;
use crate::remote::RemoteFault;
use crate::sample::Reject;

/// Waits before a failed read is tried again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// The reason of a sample whose bytes the disk or the network does not give.
pub(crate) const UNREADABLE: &str = "unreadable";

/// A file that is read by offset, so that threads do not move each other's place.
pub(crate) trait ReadAt: fmt::Debug + Send + Sync {
    /// Reads into `buffer` what stands at `offset`; returns how many bytes there were, 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many bytes it has.
    fn len(&self) -> io::Result<u64>;

    /// What tells this content from another, where that is known without reading it.
    fn version(&self) -> Option<&str> {
        None
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Reads on from a place.
#[derive(Debug)]
pub(crate) struct From<F> {
    pub(crate) file: F,
    pub(crate) at: u64,
}

impl<F: std::ops::Deref<Target: ReadAt>> io::Read for From<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

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

/// Whether a second try may succeed: not where a file was cut or removed meanwhile, nor where a server has been asked
/// several times already.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, PermissionDenied, UnexpectedEof};
    !matches!(error.kind(), UnexpectedEof | NotFound | InvalidData | PermissionDenied)
        && RemoteFault::of(error).is_none()
}

/// Reads until `buffer` is full or the file ends; returns how many bytes there were.
pub(crate) fn fill(file: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The `len` bytes from `offset` on, of which there may be fewer only as an error.
pub(crate) fn exactly(file: &dyn ReadAt, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let filled = fill(file, &mut bytes, offset)?;
    if filled < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// The same, tried again where a fault may pass.
pub(crate) fn bytes_at(file: &dyn ReadAt, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    retrying(|| exactly(file, offset, len))
}

/// Why the bytes up to `end` of the file at `place` cannot be had.
pub(crate) fn unreadable(place: &Place, end: u64, error: &io::Error) -> Reject {
    let detail = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("`{place}` ends before byte {end}; it was longer when it was opened"),
        _ if RemoteFault::of(error).is_some() => error.to_string(),
        _ => format!("`{place}`: {error}"),
    };
    Reject::new(UNREADABLE, detail)
}

/// Reads a file from end to end, a piece at a time, and shows each piece to `see`.
pub(crate) fn read_through(file: &dyn ReadAt, mut see: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let (mut buffer, mut at) = (vec![0; PIECE], 0);
    loop {
        let n = retrying(|| file.read_at(&mut buffer, at))?;
        if n == 0 {
            return Ok(());
        }
        see(&buffer[..n])?;
        at += n as u64;
    }
}

/// The first bytes of a file, at most `len`.
pub(crate) fn head(file: &dyn ReadAt, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let filled = fill(file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
}
