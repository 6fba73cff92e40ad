//! Pictures for the tests: files made with Pillow (see their META.toml) and formulas.

use std::path::PathBuf;

use crate::{Alpha, MediaLimits, Rgb8, decode};

pub(crate) fn fixture_bytes(name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/media");
    fs_err::read(root.join(name)).expect("a committed fixture")
}

pub(crate) fn fixture(name: &str) -> Rgb8 {
    decode(&fixture_bytes(name), &MediaLimits::default(), Alpha::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The largest difference in levels, and the share of values that differ.
pub(crate) fn difference(a: &Rgb8, b: &Rgb8) -> (u8, f64) {
    assert_eq!((a.width, a.height), (b.width, b.height), "sizes");
    let levels = || a.data.iter().zip(&b.data).map(|(x, y)| x.abs_diff(*y));
    let differing = levels().filter(|&d| d > 0).count();
    (levels().max().unwrap_or(0), differing as f64 / a.data.len() as f64)
}

/// The noise of `formula` in `make_resize_fixtures.py`.
pub(crate) fn formula(width: u32, height: u32) -> Rgb8 {
    let byte = |i: u32| {
        let mixed = i.wrapping_mul(2_654_435_761).wrapping_add(40_503);
        ((mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519) >> 24) as u8
    };
    Rgb8 { width, height, data: (0..width * height * 3).map(byte).collect() }
}
