//! Bringing the contents of one file here: what is there already is kept, what is cut off is gone on with, and nothing
//! is complete before its size and its hash are right.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::client::{Client, Patience, Trouble, header};
use super::hub::Contents;
use super::place::Place;
use crate::fail::Refusal;

/// Read, hashed and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What had to be done for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Nothing.
    There,
    /// All or the rest of it came over the line.
    Downloaded,
}

/// Brings contents to their place. `progress` is told how many bytes of the file are here.
pub(crate) fn bring(
    client: &Client<'_>,
    contents: &Contents,
    place: &Place,
    progress: &mut dyn FnMut(u64),
) -> Result<Outcome, Refusal> {
    let failed = |error: io::Error| storage(&error, contents, &place.dir());
    place.prepare(contents).map_err(failed)?;
    let _lock = place.lock(contents).map_err(failed)?;
    let mut outcome = Outcome::There;
    if !place.has(contents).map_err(failed)? {
        outcome = Outcome::Downloaded;
        download(client, contents, &place.partial(contents), progress)?;
        place.keep(contents).map_err(failed)?;
    }
    place.link(contents).map_err(failed)?;
    progress(contents.size);
    Ok(outcome)
}

fn download(
    client: &Client<'_>,
    contents: &Contents,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Refusal> {
    let failed = |error: io::Error| storage(&error, contents, path);
    let mut partial = Partial::open(path, contents).map_err(failed)?;
    let resumed = partial.written > 0;
    fill(client, contents, &mut partial, progress)?;
    // Damage in what an earlier attempt left behind is not the server's.
    if resumed && !partial.is_right(contents) {
        partial.restart().map_err(failed)?;
        fill(client, contents, &mut partial, progress)?;
    }
    if !partial.is_right(contents) {
        fs_err::remove_file(path).map_err(failed)?;
        return Err(damaged(contents));
    }
    partial.file.sync_all().map_err(failed)
}

/// Asks until all is there, as long as something comes.
fn fill(
    client: &Client<'_>,
    contents: &Contents,
    partial: &mut Partial,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Refusal> {
    let mut patience = Patience::default();
    while partial.written < contents.size {
        let before = partial.written;
        match fill_once(client, contents, partial, progress) {
            Ok(()) => {}
            Err(Trouble::Final(refusal)) => return Err(refusal),
            Err(Trouble::Passing(what)) => {
                if partial.written > before {
                    patience.restore();
                }
                patience.endure(&what, client.asked())?;
            }
        }
    }
    Ok(())
}

fn fill_once(
    client: &Client<'_>,
    contents: &Contents,
    partial: &mut Partial,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Trouble> {
    let response = client.get(&contents.url, partial.written)?;
    let first = first_byte(&response);
    if first == 0 && partial.written > 0 {
        partial.restart().map_err(|error| storage(&error, contents, &partial.path))?;
    } else if first != partial.written {
        return Err(client.asked().nonsense("another part of a file than was asked for").into());
    }
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut chunk = vec![0; CHUNK_BYTES];
    while partial.written < contents.size {
        let read = read_some(&mut body, &mut chunk, contents.size - partial.written)?;
        partial.push(&chunk[..read]).map_err(|error| storage(&error, contents, &partial.path))?;
        progress(partial.written);
    }
    // A hash would notice; a size alone has to be looked at from both sides.
    if contents.sha256.is_none() && body.read(&mut chunk[..1]).is_ok_and(|read| read > 0) {
        return Err(client.asked().nonsense(&format!("`{}` is longer than announced", contents.path)).into());
    }
    Ok(())
}

/// At least one byte, at most `left`.
fn read_some(body: &mut impl Read, chunk: &mut [u8], left: u64) -> Result<usize, Trouble> {
    let room = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
    match body.read(&mut chunk[..room]) {
        Ok(read) if read > 0 => Ok(read),
        Ok(_) | Err(_) => Err(Trouble::Passing("it broke off".to_owned())),
    }
}

/// The first byte that an answer holds: zero, unless it says otherwise.
fn first_byte(response: &Response<Body>) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    let range = header(response, "content-range").strip_prefix("bytes ").unwrap_or_default();
    range.split('-').next().and_then(|from| from.parse().ok()).unwrap_or(0)
}

/// Contents that are not complete yet.
struct Partial {
    file: File,
    path: PathBuf,
    written: u64,
    hash: Sha256,
}

impl Partial {
    /// Goes on with what lies there, if a hash will tell whether it belongs to the rest.
    fn open(path: &Path, contents: &Contents) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut partial = Self { file, path: path.to_owned(), written: 0, hash: Sha256::new() };
        let there = partial.file.metadata()?.len();
        if contents.sha256.is_none() || there > contents.size {
            partial.restart()?;
        } else {
            partial.written = io::copy(&mut partial.file, &mut partial.hash)?;
        }
        Ok(partial)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.written, self.hash) = (0, Sha256::new());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn is_right(&self, contents: &Contents) -> bool {
        let right = |sha256: &String| hex(&self.hash.clone().finalize()) == *sha256;
        self.written == contents.size && contents.sha256.as_ref().is_none_or(right)
    }
}

/// Of a file, in hexadecimal digits.
pub(crate) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn damaged(contents: &Contents) -> Refusal {
    let sha256 = contents.sha256.as_deref().unwrap_or("not known");
    Refusal::missing(
        format!(
            "`{}` does not arrive as it was announced: {} bytes with the sha256 {sha256}",
            contents.path, contents.size
        ),
        "it was changed on the way or is damaged on the server, and is not kept; try again, or another `HF_ENDPOINT`",
    )
}

/// Trouble with the disk.
fn storage(error: &io::Error, contents: &Contents, path: &Path) -> Refusal {
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge);
    let at = path.display();
    if full {
        return Refusal::storage(
            format!("no room for `{}`, {} bytes, at `{at}`", contents.path, contents.size),
            "make room, or name another place with `--out` or `HF_HOME`; the same command goes on where this one stopped",
        );
    }
    Refusal::storage(
        format!("cannot write `{}` at `{at}`: {error}", contents.path),
        "check the directory's permissions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(size: u64, sha256: Option<&str>) -> Contents {
        let url = "http://127.0.0.1/".parse().expect("an address");
        Contents { path: "x".into(), etag: "e".into(), size, sha256: sha256.map(str::to_owned), url }
    }

    /// Of `hello`.
    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn what_was_left_behind_counts_only_where_a_hash_can_tell() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x");
        fs_err::write(&path, "hel").expect("written");
        let mut partial = Partial::open(&path, &contents(5, Some(HELLO))).expect("opened");
        assert_eq!(partial.written, 3);
        partial.push(b"lo").expect("written");
        assert!(partial.is_right(&contents(5, Some(HELLO))));
        assert_eq!(sha256_of(&path).expect("read"), HELLO);
        assert_eq!(Partial::open(&path, &contents(4, Some(HELLO))).expect("opened").written, 0);
        fs_err::write(&path, "hel").expect("written");
        assert_eq!(Partial::open(&path, &contents(5, None)).expect("opened").written, 0);
    }

    #[test]
    fn other_bytes_of_the_same_length_are_not_right() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut partial = Partial::open(&dir.path().join("x"), &contents(5, Some(HELLO))).expect("opened");
        partial.push(b"hallo").expect("written");
        assert!(!partial.is_right(&contents(5, Some(HELLO))));
        partial.restart().expect("restarted");
        partial.push(b"hello").expect("written");
        assert!(partial.is_right(&contents(5, Some(HELLO))));
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let mut file = OpenOptions::new().write(true).open("/dev/full").expect("opened");
        let error = file.write_all(b"hello").expect_err("full");
        let refusal = storage(&error, &contents(5, None), Path::new("/dev/full"));
        assert!(refusal.message.starts_with("no room for `x`"), "{refusal:?}");
        assert_eq!(refusal.code, 4);
    }
}
