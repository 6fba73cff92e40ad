//! Files of rows and archives with seeded damage: no panic escapes, nothing takes long, whatever is read.
//!
//! `MMTRAIN_SLOW=1` tries ten times as many.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mmtrain_text::MediaKind;

use crate::DataError;
use crate::panics::confined;
use crate::rows::{Arrow, Delimited, Dialect, Json, Parquet, Rows};
use crate::store::{MediaRoots, MediaStore};

const TRIES: u64 = 1000;

fn tries() -> u64 {
    if std::env::var_os("MMTRAIN_SLOW").is_some() { 10 * TRIES } else { TRIES }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

/// A number of `seed` and `draw`, below `bound`.
fn draw(seed: u64, draw: u64, bound: usize) -> usize {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(draw.wrapping_mul(0xd1b5_4a32_d192_ed03));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) % bound.max(1) as u64) as usize
}

/// One damage of each kind: bytes changed, cut off, taken out, doubled, a number made huge, brackets and quotes put in.
fn damage(bytes: &mut Vec<u8>, seed: u64) {
    let at = draw(seed, 1, bytes.len());
    let len = draw(seed, 2, 64).min(bytes.len() - at);
    match seed % 7 {
        0 => bytes[at] ^= 1 << draw(seed, 3, 8),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..at + len)),
        3 => {
            let piece = bytes[at..at + len].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => bytes[at..at + len.min(8)].fill(0xff),
        5 => bytes[at] = b"[]{}\",:\\\n\0\xff"[draw(seed, 3, 11)],
        _ => {
            // Where indexes and footers stand.
            let near_end = bytes.len() - 1 - draw(seed, 3, bytes.len().min(600));
            bytes[near_end] = draw(seed, 4, 256) as u8;
        }
    }
}

/// Damages a file often and lets `read` read it.
#[track_caller]
fn survives(original: &Path, name: &str, read: impl Fn(&Path)) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    let whole = fs_err::read(original).expect("bytes");
    for seed in 0..tries() {
        let mut bytes = whole.clone();
        for round in 0..=seed % 3 {
            if !bytes.is_empty() {
                damage(&mut bytes, seed.wrapping_add(round << 32));
            }
        }
        fs_err::write(&path, &bytes).expect("written");
        // A busy machine may need a second try; what hangs hangs again.
        let in_time = (0..2).any(|_| time(&path, seed, &read) < Duration::from_secs(1));
        assert!(in_time, "seed {seed} takes more than a second");
    }
}

fn time(path: &Path, seed: u64, read: &impl Fn(&Path)) -> Duration {
    let started = Instant::now();
    confined(|| read(path)).unwrap_or_else(|panic| panic!("seed {seed}: {panic}"));
    started.elapsed()
}

/// Reads all rows of what can be opened.
fn read_all<R: Rows>(rows: Result<R, DataError>) {
    if let Ok(rows) = rows {
        for index in 0..rows.len() {
            drop(rows.row(index));
        }
    }
}

#[test]
fn damaged_json_arrays() {
    let json = fixture("data/llava_mix665k/llava_v1_5_mix665k.json");
    survives(&json, "a.json", |path| read_all(Json::open(path, &[])));
    survives(&fixture("data/coco/annotations/captions_train2017.json"), "a.json", |path| {
        read_all(Json::open(path, &["annotations"]));
    });
}

#[test]
fn damaged_json_lines() {
    survives(&fixture("data/ms_swift/train.jsonl"), "a.jsonl", |path| read_all(Json::open(path, &[])));
}

#[test]
fn damaged_csv() {
    let csv = fixture("data/clotho/clotho_captions_development.csv");
    survives(&csv, "a.csv", |path| read_all(Delimited::open(path, Dialect::csv())));
}

#[test]
fn damaged_parquet() {
    for name in
        ["rlhf_v/RLHF-V-Dataset", "vlfeedback/data/train-00000-of-00001", "preference/data/train-00000-of-00001"]
    {
        let file = fixture(&format!("data/{name}.parquet"));
        survives(&file, "a.parquet", |path| read_all(Parquet::open(path, None)));
    }
}

#[test]
fn damaged_arrow() {
    for name in ["tables/stream", "tables/file", "saved_to_disk/train/data-00000-of-00001"] {
        survives(&fixture(&format!("data/{name}.arrow")), "a.arrow", |path| read_all(Arrow::open(path)));
    }
}

/// Opens an archive and reads what it had.
fn read_members(path: &Path, names: &[&str]) {
    if let Ok(roots) = MediaRoots::open(&[path.to_path_buf()], Vec::new()) {
        for name in names {
            drop(roots.open(name, MediaKind::Image));
        }
    }
}

#[test]
fn damaged_zips() {
    for name in ["deflated", "zip64", "stored"] {
        survives(&fixture(&format!("data/tables/{name}.zip")), "a.zip", |path| {
            read_members(path, &["a.txt", "d/b.jpg", "big.txt", "ü.txt"]);
        });
    }
}

#[test]
fn damaged_tars() {
    survives(&fixture("webdataset/python-webdataset-000000.tar"), "a.tar", |path| {
        read_members(path, &["000000000.jpg", "000000000.txt", "000000001.png"]);
    });
}
