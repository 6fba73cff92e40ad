//! All fuzzers in one program: `MMTRAIN_FUZZ_TARGET` names the reader that gets libFuzzer's inputs.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use mmtrain_fuzz::{Mutator, Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("MMTRAIN_FUZZ_TARGET").unwrap_or_default();
    let names = || target::targets().map(|target| target.name).collect::<Vec<_>>().join(", ");
    target::named(&name).unwrap_or_else(|| panic!("MMTRAIN_FUZZ_TARGET has to be one of {}", names()))
});

fuzz_target!(
    init: {
        LazyLock::force(&TARGET);
    },
    |bytes: &[u8]| target::read(TARGET.name, bytes)
);

// One input of three is damaged with what such inputs are made of, the others as libFuzzer does it.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 3 != 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let damaged = Mutator::new(&[data[..size].to_vec()], TARGET.words).damaged(u64::from(seed));
    let size = damaged.len().min(max_size);
    data[..size].copy_from_slice(&damaged[..size]);
    size
});
