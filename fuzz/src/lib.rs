//! What all fuzzers have in common.
//!
//! Each target has a program of its own in `bin`: after every input libFuzzer looks at the counters of all code that the program holds, and
//! those of all readers are half a million, which takes longer than most inputs do.

pub use libfuzzer_sys;
pub use mmtrain_fuzz::Target;

use mmtrain_fuzz::Mutator;

/// A program that gives libFuzzer's inputs to the reader of its own name.
#[macro_export]
macro_rules! fuzzer {
    () => {
        const TARGET: $crate::Target = $crate::target(env!("CARGO_BIN_NAME"));

        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.try_on(bytes));

        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate(&TARGET, data, size, max_size, seed)
        });
    };
}

/// The target of a name, looked up when a fuzzer is compiled: a fuzzer holds no other reader.
///
/// # Panics
///
/// Where there is no such target.
pub const fn target(name: &str) -> Target {
    match mmtrain_fuzz::target::named(name) {
        Some(target) => target,
        None => panic!("a fuzzer has the name of a target"),
    }
}

/// One input of three is damaged with what such inputs are made of, the others as libFuzzer does it. Says how long it is now.
pub fn mutate(target: &Target, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed % 3 != 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let damaged = Mutator::new(&[data[..size].to_vec()], target.words).damaged(u64::from(seed));
    let size = damaged.len().min(max_size);
    data[..size].copy_from_slice(&damaged[..size]);
    size
}
