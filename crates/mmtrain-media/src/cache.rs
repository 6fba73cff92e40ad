//! Decoded frames on disk, within a bound of bytes.
//!
//! An entry of a [`DiskCache`] is named by the hash of what it was made from.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::{DiskCache, FrameSize, Rgb8, Size};

/// First bytes of an entry; the last one is the version.
const MAGIC: &[u8; 8] = b"mmframe\x02";

/// Bytes of a hash.
const HASH: usize = 32;

/// Decoded frames in a directory.
#[derive(Debug, Clone)]
pub struct FrameCache(Arc<DiskCache>);

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

    fn name(&self) -> String {
        blake3::Hash::from(self.0).to_hex().to_string()
    }
}

impl FrameCache {
    /// In `directory`, which is made; entries have `max_bytes` together.
    pub fn open(directory: &Path, max_bytes: u64) -> std::io::Result<Self> {
        DiskCache::open(directory, "frames", max_bytes).map(|cache| Self(Arc::new(cache)))
    }

    /// The frames, if they are there and whole.
    pub fn get(&self, key: &FrameKey) -> Option<Vec<Rgb8>> {
        unpacked(&self.0.get(&key.name())?)
    }

    /// Keeps frames of one size.
    pub fn put(&self, key: &FrameKey, frames: &[Rgb8]) -> std::io::Result<()> {
        packed(frames).map_or(Ok(()), |bytes| self.0.put(&key.name(), &bytes))
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
}

/// Magic, number, width, height, pixels of all frames; none for frames of several sizes.
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
    Some(bytes)
}

/// Nothing of bytes that are not as [`packed`] made them.
fn unpacked(bytes: &[u8]) -> Option<Vec<Rgb8>> {
    let rest = bytes.strip_prefix(MAGIC)?;
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
    fn bytes_that_are_no_frames_are_none() {
        let whole = packed(&frames(9)).expect("one size");
        assert_eq!(unpacked(&whole), Some(frames(9)));
        for at in 0..whole.len() {
            assert_eq!(unpacked(&whole[..at]), None, "{at}");
        }
        for at in 0..20 {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            assert_eq!(unpacked(&bytes), None, "{at}");
        }
        assert_eq!(packed(&[]), None);
        assert_eq!(packed(&[Rgb8::filled(2, 1, [0; 3]), Rgb8::filled(1, 2, [0; 3])]), None);
    }
}
