//! What a file system can do, tried out: locks, atomic renames, flushing, preallocation.
//!
//! Runs need the first three (`docs/decisions/0005-checkpoint-format.md`); some network and FUSE mounts lack them, and some say
//! that they lock and do not.

use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use rustix::fs::{FallocateFlags, StatVfs, fallocate, major, minor, stat, statvfs};
use serde::Serialize;

/// Bytes that are preallocated on trial.
const TRIAL_BYTES: u64 = 1 << 20;

/// Whether something can be done; if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Option<String>")]
pub struct Ability(pub Result<(), String>);

impl Ability {
    /// Whether it can be done.
    pub fn is_there(&self) -> bool {
        self.0.is_ok()
    }
}

/// None where it can be done.
impl From<Ability> for Option<String> {
    fn from(ability: Ability) -> Self {
        ability.0.err()
    }
}

impl From<io::Result<()>> for Ability {
    fn from(tried: io::Result<()>) -> Self {
        Self(tried.map_err(|error| error.to_string()))
    }
}

/// A place where runs are kept. Of what cannot be done, the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// The directory that was tried.
    pub dir: PathBuf,
    /// The kind of file system, such as `ext4` or `nfs4`.
    pub kind: Option<String>,
    /// Bytes that are free for this user.
    pub free_bytes: u64,
    /// Whether files can be made there.
    pub write: Ability,
    /// Whether a file is locked against others.
    pub lock: Ability,
    /// Whether a rename replaces a file at once.
    pub rename: Ability,
    /// Whether files and directories can be flushed.
    pub sync: Ability,
    /// Whether room can be set aside; runs do without it.
    pub preallocate: Ability,
}

impl FileSystem {
    /// What [`FileSystem::lacking`] calls [`FileSystem::lock`].
    pub const LOCK: &str = "lock";

    /// Tries out the directory, or the nearest one above it that is there. A hidden directory is made for that, and removed.
    pub fn try_out(wanted: &Path) -> io::Result<Self> {
        let dir = nearest(wanted)?;
        let trial = dir.join(trial_name());
        let made = fs::create_dir(&trial);
        let tried = |attempt: fn(&Path) -> io::Result<()>| match &made {
            Ok(()) => Ability::from(attempt(&trial)),
            Err(error) => Ability(Err(error.to_string())),
        };
        let storage = Self {
            kind: kind(&dir),
            free_bytes: free_bytes(&dir),
            write: tried(write),
            lock: tried(lock),
            rename: tried(rename),
            sync: tried(sync),
            preallocate: tried(preallocate),
            dir,
        };
        if made.is_ok() {
            fs::remove_dir_all(&trial)?;
        }
        Ok(storage)
    }

    /// What a run needs and does not have there, by name with the reason.
    pub fn lacking(&self) -> Vec<(&'static str, &str)> {
        let needed =
            [("write", &self.write), (Self::LOCK, &self.lock), ("rename", &self.rename), ("flush", &self.sync)];
        needed.into_iter().filter_map(|(name, ability)| Some((name, ability.0.as_ref().err()?.as_str()))).collect()
    }

    /// Whether it is memory, whose contents a restart forgets.
    pub fn is_memory(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind == "tmpfs" || kind == "ramfs")
    }
}

/// Bytes that this user may still write in a directory; 0 where that cannot be found out.
pub fn free_bytes(dir: &Path) -> u64 {
    statvfs(dir).map_or(0, |StatVfs { f_bavail, f_frsize, .. }| f_bavail.saturating_mul(f_frsize))
}

/// Not of the process alone: in a container each has the same number, and one that was killed leaves its trial behind.
fn trial_name() -> String {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!(".tmp-trial-{}-{moment}", std::process::id())
}

fn nearest(wanted: &Path) -> io::Result<PathBuf> {
    let wanted = std::path::absolute(wanted)?;
    let there = wanted.ancestors().find(|dir| dir.is_dir());
    there.map(Path::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn write(trial: &Path) -> io::Result<()> {
    fs::write(trial.join("old"), "old")?;
    fs::write(trial.join("new"), "new")
}

/// The second one that opens the file must be kept out.
fn lock(trial: &Path) -> io::Result<()> {
    let open = || Ok::<_, io::Error>(fs::File::create(trial.join("lock"))?.into_parts().0);
    let (first, second) = (open()?, open()?);
    first.try_lock()?;
    match second.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Err(io::Error::other("a file that is locked can be locked again")),
    }
}

fn rename(trial: &Path) -> io::Result<()> {
    fs::rename(trial.join("new"), trial.join("old"))?;
    match fs::read_to_string(trial.join("old"))?.as_str() {
        "new" if !trial.join("new").exists() => Ok(()),
        _ => Err(io::Error::other("a renamed file did not take the other one's place")),
    }
}

fn sync(trial: &Path) -> io::Result<()> {
    fs::File::open(trial.join("old"))?.sync_all()?;
    fs::File::open(trial)?.sync_all()
}

fn preallocate(trial: &Path) -> io::Result<()> {
    let file = fs::File::create(trial.join("room"))?;
    Ok(fallocate(file.file(), FallocateFlags::empty(), 0, TRIAL_BYTES)?)
}

/// As `/proc/self/mountinfo` (`proc(5)`) has it for the directory's device.
fn kind(dir: &Path) -> Option<String> {
    let device = stat(dir).ok()?.st_dev;
    kind_in(&fs::read_to_string("/proc/self/mountinfo").ok()?, &format!("{}:{}", major(device), minor(device)))
}

fn kind_in(mounts: &str, device: &str) -> Option<String> {
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    Some(mount.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_can_do_everything_and_stays_as_it_was() {
        let dir = tempfile::tempdir().expect("temp dir");
        let storage = FileSystem::try_out(&dir.path().join("not/yet")).expect("tried");
        assert_eq!(storage.dir, dir.path());
        assert_eq!(storage.lacking(), []);
        assert!(storage.free_bytes > 0, "{storage:?}");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    /// In a container the next process has the number of the one that was killed.
    #[test]
    fn what_a_killed_trial_of_the_same_process_number_left_is_no_obstacle() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join(trial_name())).expect("made");
        fs::create_dir(dir.path().join(format!(".tmp-trial-{}", std::process::id()))).expect("made");
        assert_eq!(FileSystem::try_out(dir.path()).expect("tried").lacking(), []);
    }

    #[test]
    fn where_nothing_can_be_made_everything_is_lacking() {
        let storage = FileSystem::try_out(Path::new("/proc/self")).expect("tried");
        let lacking = storage.lacking().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(lacking, ["write", "lock", "rename", "flush"]);
        assert_eq!(storage.kind.as_deref(), Some("proc"));
        assert_eq!(
            serde_json::to_value(&storage).expect("JSON")["lock"].as_str(),
            storage.lock.0.as_ref().err().map(String::as_str)
        );
    }

    #[test]
    fn the_kind_is_that_of_the_device() {
        let mounts =
            "22 1 254:0 / / rw - ext4 /dev/vda rw\n29 22 0:26 / /dev/shm rw,nosuid shared:4 - tmpfs tmpfs rw\n";
        assert_eq!(kind_in(mounts, "0:26").as_deref(), Some("tmpfs"));
        assert_eq!(kind_in(mounts, "254:0").as_deref(), Some("ext4"));
        assert_eq!(kind_in(mounts, "0:1"), None);
    }
}
