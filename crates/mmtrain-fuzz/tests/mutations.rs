//! Every reader against seeded damage of its corpus, and against what did harm once.
//!
//! `MMTRAIN_SLOW=1` tries 10,000 inputs of each reader, `MMTRAIN_FUZZ_TRIES=N` any other number.

#![expect(clippy::print_stdout, reason = "figures, for who asks the test runner to show them")]

use std::sync::{Mutex, PoisonError};

use mmtrain_fuzz::{Mutator, Trial, corpus, target, targets};

/// Inputs of each reader.
const TRIES: u64 = 1000;
const SLOW_TRIES: u64 = 10_000;

/// By how much the address space of the process may grow, in MiB: a deep stack for parsers is 256 of them.
const MOST_SPACE_MIB: u64 = 1024;

/// One reader at a time has the process, so that time and memory are its own.
static TURN: Mutex<()> = Mutex::new(());

fn tries() -> u64 {
    let said = std::env::var("MMTRAIN_FUZZ_TRIES").ok().and_then(|tries| tries.parse().ok());
    let usual = if std::env::var_os("MMTRAIN_SLOW").is_some() { SLOW_TRIES } else { TRIES };
    said.unwrap_or(usual)
}

/// Whole inputs, what did harm once, and damage.
fn holds(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target::named(name).expect("a target");
    let seeds = corpus::seeds(name);
    assert!(!seeds.is_empty(), "`fuzz/corpus/{name}` is empty");
    let space = mmtrain_fuzz::memory::peak_space_kib();
    // What is made once (tokenizers, models) is no input's.
    std::panic::catch_unwind(|| (target.read)(&seeds[0].1)).expect("a whole input");
    let mut trial = Trial::new(target);
    for (file, bytes) in seeds.iter().chain(&corpus::regressions(name)) {
        trial.look_at(file, bytes);
    }
    let wholes = seeds.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    let mutator = Mutator::new(&wholes, target.words);
    for seed in 0..tries() {
        trial.look_at(&format!("seed {seed}"), &mutator.damaged(seed));
    }
    let outcome = trial.end();
    let space = (mmtrain_fuzz::memory::peak_space_kib() - space) >> 10;
    println!("{name}: {outcome}, address space {space} MiB");
    assert!(outcome.findings.is_empty(), "{name}: {outcome}");
    assert!(space <= MOST_SPACE_MIB, "{name}: the address space grew by {space} MiB");
}

macro_rules! try_each {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                holds(stringify!($name));
            }
        )+

        #[test]
        fn each_target_is_tried() {
            let tried = [$(stringify!($name)),+];
            for target in targets() {
                assert!(tried.contains(&target.name), "`{}` is not tried here", target.name);
                // A fuzzer is run for each of these folders.
                let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
                assert!(fuzz.join("corpus").join(target.name).is_dir(), "`{}` has no seeds", target.name);
                assert!(fuzz.join(format!("src/bin/{}.rs", target.name)).is_file(), "`{}` has no fuzzer", target.name);
            }
        }
    };
}

try_each!(
    config_toml,
    image_decode,
    audio_decode,
    ffprobe_json,
    preprocessor_config_json,
    tokenizer_json_load,
    tokenize_text,
    chat_template_render,
    rows_json,
    rows_csv,
    parquet_file,
    arrow_file,
    tar_stream,
    zip_stream,
    path_resolver,
    safetensors_file,
    safetensors_index,
    packed_weights,
    quant_blocks,
    model_config_json,
    adapter_config_json,
    manifest_json,
    train_state_json,
    run_ledgers,
    reference_bin,
    chat_request_json,
    grounding_box_parser,
);
