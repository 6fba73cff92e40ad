//! Things on disk that can be made again, within a bound of bytes.
//!
//! An entry is a file with its own checksum at the end; whatever is wrong with it, it is as good as absent. Files are
//! written beside their place and renamed, so several processes may share a directory: at worst one makes an entry again
//! that another has made or removed.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How the name of a file begins that is being written, and how long that may take.
const UNFINISHED: &str = ".unfinished-";
const MAX_WRITING: Duration = Duration::from_hours(1);

/// Bytes of a checksum.
const HASH: usize = 32;

/// Share of the bound to which entries are removed when it is exceeded, in percent, so that this is not done every time.
const LOW_WATER: u64 = 90;

/// Entries in a directory.
#[derive(Debug)]
pub struct DiskCache {
    directory: PathBuf,
    /// Of the file names of entries; other files in the directory are left alone.
    extension: &'static str,
    max_bytes: u64,
    /// Bytes of all entries at least, as far as this process knows.
    held: AtomicU64,
    /// Held by whoever counts and removes.
    evicting: Mutex<()>,
}

impl DiskCache {
    /// In `directory`, which is made; files of this extension have `max_bytes` together.
    pub fn open(directory: &Path, extension: &'static str, max_bytes: u64) -> std::io::Result<Self> {
        fs_err::create_dir_all(directory)?;
        let directory = directory.to_owned();
        let cache = Self { directory, extension, max_bytes, held: AtomicU64::new(0), evicting: Mutex::new(()) };
        cache.evict()?;
        Ok(cache)
    }

    /// What is kept under `name`, if it is there and whole. It is now the entry used last.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let file = fs_err::OpenOptions::new().read(true).write(true).open(self.path(name)).ok()?;
        let mut bytes = Vec::new();
        (&file).take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if blake3::hash(content).as_bytes() != hash {
            return None;
        }
        // A disk that refuses is no reason to make it again.
        let _ = file.set_modified(SystemTime::now());
        bytes.truncate(bytes.len() - HASH);
        Some(bytes)
    }

    /// Keeps `content` under `name`, and removes what was not used for longest where it is too much. What would not fit
    /// alone is not kept.
    pub fn put(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let bytes = (content.len() + HASH) as u64;
        if bytes > self.max_bytes {
            return Ok(());
        }
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.directory)?;
        file.write_all(content)?;
        file.write_all(blake3::hash(content).as_bytes())?;
        file.persist(self.path(name)).map_err(|e| e.error)?;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.max_bytes { self.evict() } else { Ok(()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{}", self.extension))
    }

    /// Looks at all entries, and removes the oldest where they are too many.
    fn evict(&self) -> std::io::Result<()> {
        let _alone = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.held.load(Ordering::Relaxed);
        let mut entries = self.entries()?;
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        if bytes > self.max_bytes {
            entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
            let most = self.max_bytes / 100 * LOW_WATER;
            // The last one has just been made.
            for entry in &entries[..entries.len().saturating_sub(1)] {
                if bytes <= most {
                    break;
                }
                match fs_err::remove_file(&entry.path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                    _ => bytes -= entry.bytes,
                }
            }
        }
        // What others have added meanwhile stays added, also where it was counted here.
        self.held.fetch_add(bytes.wrapping_sub(known), Ordering::Relaxed);
        Ok(())
    }

    /// Without those that another process removes meanwhile; with what a process that was killed left half written.
    fn entries(&self) -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs_err::read_dir(&self.directory)? {
            let path = entry?.path();
            let Ok(metadata) = fs_err::metadata(&path) else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if self.is_entry(&path) || is_left_over(&path, used) {
                entries.push(Entry { path, bytes: metadata.len(), used });
            }
        }
        Ok(entries)
    }

    fn is_entry(&self, path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == self.extension)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of an entry of `content`.
    const ENTRY: u64 = 450 + HASH as u64;

    fn content(number: u64) -> Vec<u8> {
        (0..450).map(|at| (at * 7 + number) as u8).collect()
    }

    fn name(number: u64) -> String {
        format!("{number:04x}")
    }

    fn cache(max_bytes: u64) -> (tempfile::TempDir, DiskCache) {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = DiskCache::open(&directory.path().join("things"), "thing", max_bytes).expect("made");
        (directory, cache)
    }

    fn put(cache: &DiskCache, number: u64) {
        cache.put(&name(number), &content(number)).expect("written");
    }

    fn has(cache: &DiskCache, number: u64) -> bool {
        cache.get(&name(number)).is_some_and(|found| found == content(number))
    }

    #[test]
    fn what_was_put_comes_back_also_to_another_process() {
        let (directory, cache) = cache(1 << 20);
        assert_eq!(cache.get(&name(1)), None);
        put(&cache, 1);
        assert!(has(&cache, 1) && !has(&cache, 2));
        let another = DiskCache::open(&directory.path().join("things"), "thing", 1 << 20).expect("opened");
        assert!(has(&another, 1));
    }

    #[test]
    fn a_damaged_entry_is_as_good_as_absent() {
        let (_directory, cache) = cache(1 << 20);
        put(&cache, 1);
        let path = cache.path(&name(1));
        let whole = fs_err::read(&path).expect("an entry");
        assert_eq!(whole.len() as u64, ENTRY);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            for damaged in [&bytes[..], &whole[..at]] {
                fs_err::write(&path, damaged).expect("written");
                assert_eq!(cache.get(&name(1)), None, "{at}");
            }
        }
        put(&cache, 1);
        assert!(has(&cache, 1));
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_the_bound_holds() {
        let (directory, cache) = cache(4 * ENTRY);
        let strange = directory.path().join("things/notes.txt");
        fs_err::write(&strange, vec![0; 10_000]).expect("written");
        for number in 0..4 {
            put(&cache, number);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(has(&cache, 0));
        std::thread::sleep(Duration::from_millis(10));
        put(&cache, 4);
        let kept: Vec<u64> = (0..5).filter(|&number| has(&cache, number)).collect();
        assert_eq!(kept, [0, 3, 4], "to 90 % of the bound: three of five");
        assert_eq!(cache.held.load(Ordering::Relaxed), 3 * ENTRY);
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
        for number in 0..3 {
            put(&cache, number);
        }
        assert_eq!((old.exists(), new.exists(), has(&cache, 2)), (false, true, true));
    }

    #[test]
    fn what_would_not_fit_is_not_kept() {
        let (_directory, cache) = cache(ENTRY - 1);
        put(&cache, 1);
        assert!(!has(&cache, 1) && cache.entries().expect("read").is_empty());
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
                        if let Some(found) = cache.get(&name(number)) {
                            assert_eq!(found, content(number));
                        }
                        put(cache, number);
                    }
                });
            }
        });
        put(&cache, 9);
        assert!(cache.entries().expect("read").iter().map(|entry| entry.bytes).sum::<u64>() <= 3 * ENTRY);
    }
}
