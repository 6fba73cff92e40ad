//! Cores, memory and limits, of the machine and of the control group that the process is in.

use std::path::Path;

use fs_err as fs;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::memory::{available_bytes, total_bytes};

/// What a process may use. What is not limited is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Cores that it may run on.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Of that, what can be had without swapping.
    pub memory_available_bytes: u64,
    /// Memory that its control group may have (`memory.max`).
    pub memory_group_bytes: Option<u64>,
    /// Files that it may have open (`ulimit -n`).
    pub open_files: Option<u64>,
    /// Address space (`ulimit -v`), in bytes.
    pub address_space_bytes: Option<u64>,
    /// The largest file that it may write (`ulimit -f`), in bytes.
    pub file_size_bytes: Option<u64>,
}

impl Limits {
    /// Of this process.
    pub fn read() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: total_bytes(),
            memory_available_bytes: available_bytes(),
            memory_group_bytes: memory_of_group(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")),
            open_files: getrlimit(Resource::Nofile).current,
            address_space_bytes: getrlimit(Resource::As).current,
            file_size_bytes: getrlimit(Resource::Fsize).current,
        }
    }
}

/// The least that the group or one above it may have: `cgroups(7)`, version 2, else the first group of version 1.
fn memory_of_group(membership: &Path, root: &Path) -> Option<u64> {
    let text = fs::read_to_string(membership).ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let groups =
        own.into_iter().flat_map(|own| Path::new(own).ancestors()).map(|group| root.join(group).join("memory.max"));
    let first = root.join("memory/memory.limit_in_bytes");
    let limits = groups.chain([first]).filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    // Version 1 writes the largest number of pages where there is no limit.
    limits.filter(|limit| *limit < 1 << 62).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_cores_and_memory() {
        let limits = Limits::read();
        assert!(limits.cores > 0 && limits.memory_available_bytes <= limits.memory_bytes, "{limits:?}");
        assert!(limits.memory_bytes > 1 << 20, "{limits:?}");
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        let dir = tempfile::tempdir().expect("temp dir");
        let of = || memory_of_group(&dir.path().join("cgroup"), dir.path());
        assert_eq!(of(), None);
        fs::create_dir_all(dir.path().join("jobs/mine")).expect("made");
        fs::write(dir.path().join("cgroup"), "0::/jobs/mine\n").expect("written");
        fs::write(dir.path().join("jobs/mine/memory.max"), "max\n").expect("written");
        assert_eq!(of(), None);
        fs::write(dir.path().join("jobs/memory.max"), "4096\n").expect("written");
        assert_eq!(of(), Some(4096));
        fs::write(dir.path().join("jobs/mine/memory.max"), "8192\n").expect("written");
        assert_eq!(of(), Some(4096));
    }

    #[test]
    fn a_first_version_without_a_limit_has_none() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join("memory")).expect("made");
        fs::write(dir.path().join("cgroup"), "4:memory:/\n").expect("written");
        let file = dir.path().join("memory/memory.limit_in_bytes");
        for (text, expected) in [("9223372036854771712\n", None), ("1048576\n", Some(1 << 20))] {
            fs::write(&file, text).expect("written");
            assert_eq!(memory_of_group(&dir.path().join("cgroup"), dir.path()), expected);
        }
    }
}
