//! A fuzzer for the reader that has this program's name.

#![no_main]

mmtrain_fuzz_targets::fuzzer!();
