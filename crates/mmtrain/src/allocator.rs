//! How the C library keeps memory that was freed (docs/decisions/0011-allocator.md).
//!
//! Tensors of megabytes come and go with every operation. Left alone, glibc gives such a block back when it is freed and has
//! the kernel map the next one anew, page by page, each zeroed at the first touch. It reads how it is to go about it from the
//! environment, when a process begins, so the program begins once more with that set.

/// Blocks up to 4 GiB lie in the heap, and up to 16 GiB of that are not given back.
const KEPT: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "4294967296"), ("MALLOC_TRIM_THRESHOLD_", "17179869184")];

/// Whoever sets one of these has chosen.
const CHOICES: [&str; 3] = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"];

/// Sets what is to be set, if nothing is, and begins the program again in the same process. Returns where that is not needed, or
/// cannot be.
pub(crate) fn keep_freed_memory() {
    if is_open(|name| std::env::var_os(name).is_some()) {
        begin_again();
    }
}

/// Whether nobody has chosen yet.
fn is_open(is_set: impl Fn(&str) -> bool) -> bool {
    !KEPT.iter().map(|(name, _)| *name).chain(CHOICES).any(is_set)
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn begin_again() {
    use std::ffi::OsStr;
    use std::os::unix::process::CommandExt;

    let Ok(program) = std::env::current_exe() else { return };
    let mut args = std::env::args_os();
    let name = args.next();
    let mut command = std::process::Command::new(program);
    command.arg0(name.as_deref().unwrap_or(OsStr::new("mmtrain"))).args(args).envs(KEPT);
    // It comes back only if it fails, and then all goes on more slowly.
    let _ = command.exec();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
fn begin_again() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_already_is_left_alone() {
        assert!(is_open(|_| false));
        for name in ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"] {
            assert!(!is_open(|set| set == name), "{name}");
        }
        // So it does not begin a third time.
        assert!(KEPT.iter().all(|(name, _)| !is_open(|set| set == *name)));
    }
}
