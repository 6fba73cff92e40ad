#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mmtrain_fuzz::target::read("config_toml", bytes));
