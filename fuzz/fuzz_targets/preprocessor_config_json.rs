#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mmtrain_fuzz::target::read("preprocessor_config_json", bytes));
