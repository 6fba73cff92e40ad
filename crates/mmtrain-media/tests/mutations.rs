//! Ten thousand damaged pictures and ten thousand damaged sounds: each is decoded or refused by name, in less than a second
//! of processor time, and none makes the process grow beyond what the limits justify.
//!
//! One test in a process of its own, so that the process' size is that of the decoders.

use std::path::{Path, PathBuf};

use mmtrain_media::{Alpha, AudioLimits, MediaError, MediaLimits, decode, decode_audio, probe, probe_audio};

const MUTATIONS: u64 = 10_000;

/// A megapixel; 16 bytes for each, twice that for coefficients.
const PICTURES: MediaLimits = MediaLimits { max_bytes: 1 << 20, max_pixels: 1 << 20, max_side: 1 << 14 };

/// 20 seconds of the highest rate are 15 MB.
const SOUNDS: AudioLimits = AudioLimits { max_bytes: 1 << 20, max_secs: 20, max_channels: 8, max_rate: 192_000 };

/// By how much the process' address space may grow, in KiB.
const MOST_GROWTH: u64 = 192 << 10;

#[test]
fn damaged_files_cost_neither_the_process_nor_its_time_nor_its_memory() {
    let (pictures, sounds) = (files("decode", |_| true), files("sound", is_sound));
    assert!(pictures.len() > 30 && sounds.len() > 4);
    // panics that are caught need not be told; the hook is put back before anything is asserted
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let before = peak_kib();
    let picture = Trial::run(&pictures, |bytes| {
        let probed = probe(bytes, &PICTURES).map(|_| ());
        decode(bytes, &PICTURES, Alpha::White).map(|_| ()).and(probed)
    });
    let sound = Trial::run(&sounds, |bytes| {
        let probed = probe_audio(bytes, &SOUNDS).map(|_| ());
        decode_audio(bytes, &SOUNDS).map(|_| ()).and(probed)
    });
    let growth = peak_kib() - before;
    std::panic::set_hook(hook);
    for (what, trial) in [("pictures", picture), ("sounds", sound)] {
        let Trial { escaped, unnamed, decoded, refused, slowest } = trial;
        assert_eq!((escaped, unnamed), (0, 0), "{what}");
        assert!(
            decoded > 100 && refused > 1000,
            "{what}: {decoded} decoded, {refused} refused: damage too small or great"
        );
        assert!(slowest < 1.0, "{what}: {slowest} seconds");
    }
    assert!(growth < MOST_GROWTH, "{growth} KiB");
}

/// What became of damaged files.
#[derive(Default)]
struct Trial {
    escaped: u64,
    unnamed: u64,
    decoded: u64,
    refused: u64,
    /// In seconds of processor time.
    slowest: f64,
}

impl Trial {
    fn run(files: &[Vec<u8>], open: impl Fn(&[u8]) -> Result<(), MediaError>) -> Self {
        let mut trial = Self::default();
        for seed in 0..MUTATIONS {
            trial.look_at(&damaged(files, &mut Dice(seed)), &open);
        }
        // the shapes that decoders have looped on are short: every beginning of every file
        for file in files {
            for length in 0..file.len().min(300) {
                trial.look_at(&file[..length], &open);
            }
        }
        trial
    }

    fn look_at(&mut self, bytes: &[u8], open: impl Fn(&[u8]) -> Result<(), MediaError>) {
        let start = cpu_secs();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open(bytes)));
        self.slowest = self.slowest.max(cpu_secs() - start);
        match result {
            Err(_) => self.escaped += 1,
            Ok(Ok(())) => self.decoded += 1,
            Ok(Err(error)) => {
                self.refused += 1;
                self.unnamed += u64::from(error.reason().is_empty() || error.to_string().is_empty());
            }
        }
    }
}

/// A file with one to eight wounds.
fn damaged(files: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = files[dice.below(files.len())].clone();
    for _ in 0..=dice.below(8) {
        wound(&mut bytes, files, dice);
    }
    bytes
}

fn wound(bytes: &mut Vec<u8>, files: &[Vec<u8>], dice: &mut Dice) {
    if bytes.is_empty() {
        return;
    }
    let anywhere = dice.below(bytes.len());
    let in_header = dice.below(bytes.len().min(96));
    match dice.below(8) {
        0 | 1 => bytes[anywhere] ^= 1 << dice.below(8),
        2 => bytes[in_header] = dice.below(256) as u8,
        3 | 4 => overwrite(bytes, in_header, &EXTREMES[dice.below(EXTREMES.len())]),
        5 => bytes.truncate(anywhere),
        6 => {
            let donor = &files[dice.below(files.len())];
            let from = dice.below(donor.len());
            let length = dice.below(32);
            overwrite(bytes, in_header, &donor[from..donor.len().min(from + length)]);
        }
        _ => {
            let end = bytes.len().min(anywhere + dice.below(16));
            bytes.drain(anywhere..end);
        }
    }
}

/// Fields as a header would have them to do harm.
const EXTREMES: [[u8; 4]; 7] = [
    [0; 4],
    [0xFF; 4],
    [0x7F, 0xFF, 0xFF, 0xFF],
    [0xFF, 0xFF, 0xFF, 0x7F],
    [0x80, 0, 0, 0],
    [0, 0, 0x10, 0],
    [0x01, 0, 0, 0],
];

fn overwrite(bytes: &mut [u8], at: usize, field: &[u8]) {
    for (byte, new) in bytes[at..].iter_mut().zip(field) {
        *byte = *new;
    }
}

/// `SplitMix64`
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

fn files(directory: &str, wanted: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/media").join(directory);
    let entries = fs_err::read_dir(root).expect("fixtures").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_file() && wanted(path)).collect();
    paths.sort();
    let mut files: Vec<Vec<u8>> = paths.iter().map(|path| fs_err::read(path).expect("a fixture")).collect();
    files.push(wav());
    files
}

fn is_sound(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["flac", "mp3", "ogg"].iter().any(|known| extension == *known))
}

/// 400 samples of 16 bits.
fn wav() -> Vec<u8> {
    let mut file =
        b"RIFF\x44\x03\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1F\0\0\x80\x3E\0\0\x02\0\x10\0data\x20\x03\0\0".to_vec();
    file.extend((0..800_u32).map(|i| (i * i * 7 % 251) as u8));
    file
}

/// Of this thread, as Linux counts it.
fn cpu_secs() -> f64 {
    let text = fs_err::read_to_string("/proc/thread-self/schedstat").expect("linux");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.expect("nanoseconds on a processor") * 1e-9
}

/// The largest address space so far, in KiB.
fn peak_kib() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
