//! Memory of control groups (`cgroups(7)`), in which containers run.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// A group, by the names that its files have in its version.
struct Group {
    dir: PathBuf,
    limit: &'static str,
    used: &'static str,
    /// What of it are pages of files that can go, in `memory.stat`.
    inactive: &'static str,
}

/// The least that the group or one above it may have: version 2, else the first group of version 1.
pub(crate) fn limit(membership: &Path, root: &Path) -> Option<u64> {
    groups(membership, root).iter().filter_map(Group::limit).min()
}

/// The least that is left in the group or one above it.
pub(crate) fn left(membership: &Path, root: &Path) -> Option<u64> {
    groups(membership, root).iter().filter_map(Group::left).min()
}

fn groups(membership: &Path, root: &Path) -> Vec<Group> {
    let text = fs::read_to_string(membership).unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let second = |group: &Path| Group {
        dir: root.join(group),
        limit: "memory.max",
        used: "memory.current",
        inactive: "inactive_file",
    };
    let first = Group {
        dir: root.join("memory"),
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        inactive: "total_inactive_file",
    };
    own.into_iter().flat_map(|own| Path::new(own).ancestors()).map(second).chain([first]).collect()
}

impl Group {
    fn limit(&self) -> Option<u64> {
        // Version 1 writes the largest number of pages where there is no limit.
        self.number(self.limit).filter(|limit| *limit < 1 << 62)
    }

    fn left(&self) -> Option<u64> {
        let (limit, used) = (self.limit()?, self.number(self.used).unwrap_or(0));
        let stat = fs::read_to_string(self.dir.join("memory.stat")).unwrap_or_default();
        let inactive = stat.lines().find_map(|line| line.strip_prefix(self.inactive)?.trim().parse::<u64>().ok());
        Some(limit.saturating_sub(used.saturating_sub(inactive.unwrap_or(0))))
    }

    fn number(&self, name: &str) -> Option<u64> {
        fs::read_to_string(self.dir.join(name)).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        let dir = tempfile::tempdir().expect("temp dir");
        let of = || limit(&dir.path().join("cgroup"), dir.path());
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
    fn what_is_left_is_not_used_but_for_pages_that_can_go() {
        let dir = tempfile::tempdir().expect("temp dir");
        let of = || left(&dir.path().join("cgroup"), dir.path());
        fs::create_dir(dir.path().join("job")).expect("made");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("cgroup", "0::/job\n");
        assert_eq!(of(), None);
        write("job/memory.max", "10000\n");
        assert_eq!(of(), Some(10_000));
        write("job/memory.current", "7000\n");
        assert_eq!(of(), Some(3000));
        write("job/memory.stat", "anon 5000\ninactive_file 1500\n");
        assert_eq!(of(), Some(4500));
        write("job/memory.current", "12000\n");
        assert_eq!(of(), Some(0));
    }

    #[test]
    fn a_first_version_without_a_limit_has_none() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join("memory")).expect("made");
        fs::write(dir.path().join("cgroup"), "4:memory:/\n").expect("written");
        let file = dir.path().join("memory/memory.limit_in_bytes");
        for (text, expected) in [("9223372036854771712\n", None), ("1048576\n", Some(1 << 20))] {
            fs::write(&file, text).expect("written");
            assert_eq!(limit(&dir.path().join("cgroup"), dir.path()), expected);
        }
    }
}
