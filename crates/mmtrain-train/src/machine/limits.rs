//! Cores, memory and limits, of the machine and of the control group that the process is in.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::memory::{available_bytes, groups, total_bytes};

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
            memory_group_bytes: groups::limit(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")),
            open_files: getrlimit(Resource::Nofile).current,
            address_space_bytes: getrlimit(Resource::As).current,
            file_size_bytes: getrlimit(Resource::Fsize).current,
        }
    }
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
}
