//! Decoded frames on disk, within a bound of bytes.
//!
//! An entry is a file named by the hash of what it was made from, with its own checksum at the end; whatever is wrong with
//! it, it is as good as absent. Files are written beside their place and renamed, so several processes may share a
//! directory: at worst one makes an entry again that another has made or removed.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::{FrameSize, Rgb8, Size};

/// First bytes of an entry; the last one is the version.
const MAGIC: &[u8; 8] = b"mmframe\x01";

/// Of the file name of an entry; others in the directory are left alone.
const EXTENSION: &str = "frames";

/// How the name of a file begins that is being written, and how long that may take.
const UNFINISHED: &str = ".frames-";
const MAX_WRITING: Duration = Duration::from_hours(1);

/// Bytes of a checksum.
const HASH: usize = 32;

/// Share of the bound to which entries are removed when it is exceeded, in percent, so that this is not done every time.
const LOW_WATER: u64 = 90;

/// Decoded frames in a directory.
#[derive(Debug, Clone)]
pub struct FrameCache {
    directory: PathBuf,
    max_bytes: u64,
}

/// From what frames were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameKey([u8; HASH]);

/// Which video it is.
#[derive(Debug, Clone, Copy)]
pub enum VideoIdentity<'a> {
    /// By all its bytes.
    Content(&'a [u8]),
    /// By place, size and time of last change.
    File(&'a Path),
}

impl FrameKey {
    /// `indices` and `resized` as [`decode_frames`](crate::Ffmpeg::decode_frames) gets them.
    pub fn new(video: VideoIdentity<'_>, indices: &[u64], resized: Option<FrameSize>) -> std::io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        match video {
            VideoIdentity::Content(bytes) => {
                hasher.update(b"content").update(blake3::hash(bytes).as_bytes());
            }
            VideoIdentity::File(path) => {
                let path = std::path::absolute(path)?;
                let metadata = fs_err::metadata(&path)?;
                let changed = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                hasher.update(b"file").update(blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes());
                hasher.update(&metadata.len().to_le_bytes()).update(&changed.as_nanos().to_le_bytes());
            }
        }
        hasher.update(&(indices.len() as u64).to_le_bytes());
        for index in indices {
            hasher.update(&index.to_le_bytes());
        }
        hasher.update(format!("{resized:?}").as_bytes());
        Ok(Self(*hasher.finalize().as_bytes()))
    }
}

impl FrameCache {
    /// In `directory`, which is made; entries have `max_bytes` together.
    pub fn open(directory: &Path, max_bytes: u64) -> std::io::Result<Self> {
        fs_err::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), max_bytes })
    }

    /// The frames, if they are there and whole. It is now the entry used last.
    pub fn get(&self, key: &FrameKey) -> Option<Vec<Rgb8>> {
        let path = self.path(key);
        let file = fs_err::OpenOptions::new().read(true).write(true).open(path).ok()?;
        let mut bytes = Vec::new();
        (&file).take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        let frames = unpacked(&bytes)?;
        // a disk that refuses is no reason to decode again
        let _ = file.set_modified(SystemTime::now());
        Some(frames)
    }

    /// Keeps frames of one size, and removes those not used for longest where they are too many. What would not fit
    /// alone is not kept.
    pub fn put(&self, key: &FrameKey, frames: &[Rgb8]) -> std::io::Result<()> {
        let Some(bytes) = packed(frames) else { return Ok(()) };
        if bytes.len() as u64 > self.max_bytes {
            return Ok(());
        }
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.directory)?;
        file.write_all(&bytes)?;
        file.persist(self.path(key)).map_err(|e| e.error)?;
        self.evict()
    }

    /// What is there, or what `make` makes, which is then kept. A cache that cannot be written costs time, not frames.
    pub fn get_or_make<E>(&self, key: &FrameKey, make: impl FnOnce() -> Result<Vec<Rgb8>, E>) -> Result<Vec<Rgb8>, E> {
        if let Some(frames) = self.get(key) {
            return Ok(frames);
        }
        let frames = make()?;
        let _ = self.put(key, &frames);
        Ok(frames)
    }

    fn path(&self, key: &FrameKey) -> PathBuf {
        self.directory.join(format!("{}.{EXTENSION}", blake3::Hash::from(key.0).to_hex()))
    }

    fn evict(&self) -> std::io::Result<()> {
        let mut entries = self.entries()?;
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        if bytes <= self.max_bytes {
            return Ok(());
        }
        entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let most = self.max_bytes / 100 * LOW_WATER;
        // the last one has just been made
        for entry in &entries[..entries.len().saturating_sub(1)] {
            if bytes <= most {
                break;
            }
            match fs_err::remove_file(&entry.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => bytes -= entry.bytes,
            }
        }
        Ok(())
    }

    /// Without those that another process removes meanwhile; with what a process that was killed left half written.
    fn entries(&self) -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs_err::read_dir(&self.directory)? {
            let path = entry?.path();
            let Ok(metadata) = fs_err::metadata(&path) else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if is_entry(&path) || is_left_over(&path, used) {
                entries.push(Entry { path, bytes: metadata.len(), used });
            }
        }
        Ok(entries)
    }
}

fn is_entry(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

fn is_left_over(path: &Path, written: SystemTime) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(UNFINISHED.as_bytes()) && written.elapsed().is_ok_and(|age| age > MAX_WRITING)
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Magic, number, width, height, pixels of all frames, BLAKE3 of what stands before it; none for frames of several sizes.
fn packed(frames: &[Rgb8]) -> Option<Vec<u8>> {
    let size = frames.first()?.size();
    if frames.iter().any(|frame| frame.size() != size) {
        return None;
    }
    let mut bytes = MAGIC.to_vec();
    for number in [frames.len() as u32, size.width, size.height] {
        bytes.extend(number.to_le_bytes());
    }
    for frame in frames {
        bytes.extend_from_slice(&frame.data);
    }
    bytes.extend(blake3::hash(&bytes).as_bytes());
    Some(bytes)
}

/// Nothing of bytes that are not as [`packed`] made them.
fn unpacked(bytes: &[u8]) -> Option<Vec<Rgb8>> {
    let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if blake3::hash(content).as_bytes() != hash {
        return None;
    }
    let rest = content.strip_prefix(MAGIC)?;
    let (numbers, pixels) = rest.split_at_checked(12)?;
    let (numbers, _) = numbers.as_chunks::<4>();
    let [count, width, height] = [0, 1, 2].map(|i| u32::from_le_bytes(numbers[i]));
    let frame_bytes = usize::try_from(Size::new(width, height).pixels().checked_mul(3)?).ok()?;
    if frame_bytes == 0 || frame_bytes.checked_mul(count as usize)? != pixels.len() {
        return None;
    }
    let frame = |data: &[u8]| Rgb8 { width, height, data: data.to_vec() };
    Some(pixels.chunks_exact(frame_bytes).map(frame).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    fn frames(level: u8) -> Vec<Rgb8> {
        (0..3).map(|i| Rgb8::filled(10, 5, [level, i, 7])).collect()
    }

    /// Bytes of an entry of `frames`.
    const ENTRY: u64 = 8 + 12 + 3 * 150 + 32;

    fn key(number: u64) -> FrameKey {
        FrameKey::new(VideoIdentity::Content(b"film"), &[number], None).expect("hashed")
    }

    fn cache(max_bytes: u64) -> (tempfile::TempDir, FrameCache) {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = FrameCache::open(&directory.path().join("frames"), max_bytes).expect("made");
        (directory, cache)
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let (_directory, cache) = cache(1 << 20);
        assert_eq!(cache.get(&key(1)), None);
        cache.put(&key(1), &frames(9)).expect("written");
        assert_eq!(cache.get(&key(1)), Some(frames(9)));
        assert_eq!(cache.get(&key(2)), None);
        let made = cache.get_or_make::<()>(&key(1), || panic!("it is there"));
        assert_eq!(made, Ok(frames(9)));
        assert_eq!(cache.get_or_make(&key(2), || Err("no")), Err("no"));
        assert_eq!(cache.get_or_make::<()>(&key(2), || Ok(frames(8))), Ok(frames(8)));
        assert_eq!(cache.get(&key(2)), Some(frames(8)));
    }

    #[test]
    fn keys_tell_videos_frames_and_sizes_apart() {
        let content = VideoIdentity::Content(b"film");
        let small = |side| Some(FrameSize { size: Size::square(side), filter: Filter::Bicubic });
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("film.mp4");
        fs_err::write(&path, b"film").expect("written");
        let file = || FrameKey::new(VideoIdentity::File(&path), &[1, 2], None).expect("hashed");
        let (before, again) = (file(), file());
        assert_eq!(before, again);
        fs_err::write(&path, b"another").expect("written");
        let keys = [
            before,
            file(),
            FrameKey::new(content, &[1, 2], None).expect("hashed"),
            FrameKey::new(content, &[1, 3], None).expect("hashed"),
            FrameKey::new(content, &[1], None).expect("hashed"),
            FrameKey::new(content, &[1, 2], small(28)).expect("hashed"),
            FrameKey::new(content, &[1, 2], small(29)).expect("hashed"),
            FrameKey::new(VideoIdentity::Content(b"films"), &[1, 2], None).expect("hashed"),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
        assert!(FrameKey::new(VideoIdentity::File(Path::new("/nowhere")), &[1], None).is_err());
    }

    #[test]
    fn a_damaged_entry_is_as_good_as_absent() {
        let (_directory, cache) = cache(1 << 20);
        cache.put(&key(1), &frames(9)).expect("written");
        let path = cache.path(&key(1));
        let whole = fs_err::read(&path).expect("an entry");
        assert_eq!(whole.len() as u64, ENTRY);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            assert_eq!(unpacked(&bytes), None, "{at}");
            assert_eq!(unpacked(&whole[..at]), None, "{at}");
        }
        fs_err::write(&path, &whole[..99]).expect("written");
        assert_eq!(cache.get(&key(1)), None);
        assert_eq!(cache.get_or_make::<()>(&key(1), || Ok(frames(9))), Ok(frames(9)));
        assert_eq!(cache.get(&key(1)), Some(frames(9)));
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_the_bound_holds() {
        let (directory, cache) = cache(4 * ENTRY);
        let strange = directory.path().join("frames/notes.txt");
        fs_err::write(&strange, vec![0; 10_000]).expect("written");
        for number in 0..4 {
            cache.put(&key(number), &frames(number as u8)).expect("written");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(cache.get(&key(0)).is_some());
        std::thread::sleep(Duration::from_millis(10));
        cache.put(&key(4), &frames(4)).expect("written");
        let kept: Vec<u64> = (0..5).filter(|&number| cache.get(&key(number)).is_some()).collect();
        // to 90 % of the bound: three of five
        assert_eq!(kept, [0, 3, 4]);
        let bytes: u64 = cache.entries().expect("read").iter().map(|entry| entry.bytes).sum();
        assert!(bytes <= 4 * ENTRY);
        assert!(strange.exists());
    }

    #[test]
    fn what_a_killed_process_left_behind_goes_too() {
        let (_directory, cache) = cache(2 * ENTRY);
        let [old, new] = ["old", "new"].map(|name| cache.directory.join(format!("{UNFINISHED}{name}")));
        for path in [&old, &new] {
            fs_err::write(path, vec![0; 3 * ENTRY as usize]).expect("written");
        }
        let file = fs_err::OpenOptions::new().write(true).open(&old).expect("there");
        file.set_modified(SystemTime::now() - 2 * MAX_WRITING).expect("changed");
        cache.put(&key(1), &frames(1)).expect("written");
        assert_eq!((old.exists(), new.exists(), cache.get(&key(1)).is_some()), (false, true, true));
    }

    #[test]
    fn what_would_not_fit_is_not_kept() {
        let (_directory, cache) = cache(ENTRY - 1);
        cache.put(&key(1), &frames(1)).expect("nothing to do");
        assert_eq!((cache.get(&key(1)), cache.entries().expect("read").len()), (None, 0));
        cache.put(&key(2), &[]).expect("nothing to do");
        assert_eq!(cache.get(&key(2)), None);
    }

    #[test]
    fn many_at_once_see_whole_entries_or_none() {
        let (_directory, cache) = cache(3 * ENTRY);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..100 {
                        let number = (thread * 7 + round) % 6;
                        if let Some(found) = cache.get(&key(number)) {
                            assert_eq!(found, frames(number as u8));
                        }
                        cache.put(&key(number), &frames(number as u8)).expect("written");
                    }
                });
            }
        });
        cache.put(&key(9), &frames(9)).expect("written");
        assert!(cache.entries().expect("read").iter().map(|entry| entry.bytes).sum::<u64>() <= 3 * ENTRY);
    }
}
