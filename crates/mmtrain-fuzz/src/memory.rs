//! The most that the process had in memory, as Linux counts it.

/// Forgets the peak; where that cannot be done it stays what it was.
pub fn forget_peak() {
    drop(fs_err::write("/proc/self/clear_refs", "5"));
}

/// Resident memory at most since the peak was last forgotten, in KiB.
pub fn peak_kib() -> u64 {
    field("VmHWM:")
}

/// Resident memory now, in KiB.
pub fn resident_kib() -> u64 {
    field("VmRSS:")
}

/// The address space at most, in KiB: what was asked for, whether or not it was used.
pub fn peak_space_kib() -> u64 {
    field("VmPeak:")
}

fn field(name: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
