//! Headers and indexes with random mistakes: whatever they say, opening and reading ends, with the tensors or with an
//! error that names the file.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Vlm;
use crate::config::read_vlm;

const MUTATIONS: u64 = 2000;

/// What mistakes and attacks are made of.
const WORDS: [&str; 24] = [
    "0",
    "-1",
    "4",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "1e999",
    "0.5",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\"F8_E4M3\"",
    "\"U16\"",
    "\"BF16\"",
    "[0,0]",
    "[4294967296,4294967296]",
    "../",
    "/etc/passwd",
    "\\u0000",
    "\\ud800",
    "\"__metadata__\":",
    ",",
    "model-00001-of-00003.safetensors",
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/llava_sharded")
}

/// Makes a few mistakes in a text.
fn mistaken(text: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        if text.is_empty() {
            break;
        }
        let at = rng.random_range(0..text.len());
        let to = text.len().min(at + rng.random_range(1..40));
        match rng.random_range(0..8) {
            0 => text[at] = rng.random(),
            1 => drop(text.drain(at..to)),
            2 => drop(text.splice(at..at, text[at..to].to_vec())),
            3 => drop(text.splice(at..at, WORDS[rng.random_range(0..WORDS.len())].bytes())),
            4 => text[at..to].reverse(),
            5 => number(&mut text, at, rng),
            6 => space(&mut text, at),
            _ => name(&mut text, at),
        }
    }
    text
}

/// Changes the next digit.
fn number(text: &mut [u8], at: usize, rng: &mut ChaCha8Rng) {
    if let Some(digit) = text[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
        *digit = rng.random_range(b'0'..=b'9');
    }
}

/// Puts a blank behind the next comma, which is no mistake.
fn space(text: &mut Vec<u8>, at: usize) {
    if let Some(comma) = (at..text.len()).find(|&at| text[at] == b',') {
        text.insert(comma + 1, b' ');
    }
}

/// Puts a word in place of the next string.
fn name(text: &mut Vec<u8>, at: usize) {
    let quotes = (at..text.len()).filter(|&at| text[at] == b'"').take(2).collect::<Vec<_>>();
    if let [from, to] = quotes[..] {
        text.splice(from + 1..to, WORDS[(at + to) % WORDS.len()].bytes());
    }
}

/// A file with mistakes in its header, its length, or what says how long the header is.
fn mistaken_shard(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    let (header, data) = bytes[8..].split_at(length as usize);
    let header = mistaken(header, rng);
    let said = match rng.random_range(0..8) {
        0 => rng.random(),
        1 => length.wrapping_sub(rng.random_range(0..9)),
        _ => header.len() as u64,
    };
    let kept = if rng.random_range(0..8) == 0 { rng.random_range(0..data.len()) } else { data.len() };
    [&said.to_le_bytes(), header.as_slice(), &data[..kept]].concat()
}

/// Opens and reads everything; the error, if there is one.
fn attempt(dir: &Path, infos: &[ParamInfo]) -> Option<String> {
    let read = Checkpoint::open(dir).and_then(|checkpoint| {
        checkpoint.coverage(infos);
        let stored = checkpoint.bytes(infos, LoadDtype::AsStored);
        assert!(stored <= checkpoint.bytes(infos, LoadDtype::F32));
        checkpoint.read_all(infos)
    });
    match read {
        Ok(values) => {
            assert!(infos.iter().all(|info| values[&info.name].dims() == [info.elements()]));
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn two_thousand_mistakes_in_headers_and_indexes_end_in_tensors_or_in_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().expect("temp dir");
    let files = fs_err::read_dir(fixture()).expect("listed").map(|entry| entry.expect("entry").file_name());
    let mut files = files.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
    files.retain(|name| name.starts_with("model"));
    files.sort();
    let whole = files.iter().map(|name| fs_err::read(fixture().join(name)).expect("read")).collect::<Vec<_>>();
    let restore = |file: usize| fs_err::write(dir.path().join(&files[file]), &whole[file]).expect("written");
    (0..files.len()).for_each(restore);
    let config = read_vlm(&fixture()).expect("config");
    let model = Vlm::zeros(&config, &Device::flex());
    let infos = Part::ALL.iter().flat_map(|&part| model.infos(part)).collect::<Vec<_>>();
    assert_eq!(attempt(dir.path(), &infos), None);
    let (mut refused, mut read) = (0, 0);
    for seed in 0..MUTATIONS {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let file = rng.random_range(0..files.len());
        let is_index = Path::new(&files[file]).extension().is_some_and(|extension| extension == "json");
        let change = if is_index { mistaken } else { mistaken_shard };
        fs_err::write(dir.path().join(&files[file]), change(&whole[file], &mut rng)).expect("written");
        let start = Instant::now();
        let outcome = catch_unwind(|| attempt(dir.path(), &infos));
        let outcome = outcome.unwrap_or_else(|_| panic!("seed {seed}: panics on {}", files[file]));
        assert!(start.elapsed() < Duration::from_secs(10), "seed {seed}: takes {:?}", start.elapsed());
        match outcome {
            None => read += 1,
            Some(message) => {
                refused += 1;
                assert!(message.contains(&dir.path().display().to_string()), "seed {seed}: {message}");
                assert!(message.len() < 4000 && !message.contains(char::is_control), "seed {seed}: {message}");
            }
        }
        restore(file);
    }
    // A blank, or what puts in what was there, changes nothing; almost everything else does.
    assert!(refused > 1500 && read > 50, "{refused} refused, {read} read");
}
