//! Pictures for the tests: files made with Pillow (see their META.toml) and formulas.

use std::path::PathBuf;

use crate::{Alpha, MediaError, MediaLayout, MediaLimits, MediaValues, Normalise, Processor, Rgb8, Size, decode};

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

/// `cases.json` of a directory made by `make_preprocess_fixtures.py`.
pub(crate) fn cases<T: serde::de::DeserializeOwned>(directory: &str) -> T {
    serde_json::from_slice(&fixture_bytes(&format!("{directory}/cases.json"))).expect("cases of the expected shape")
}

/// FNV-1a, 64 bits, in hexadecimal.
pub(crate) fn fnv1a(bytes: &[u8]) -> String {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// A configuration of `make_preprocess_fixtures.py`, and what `transformers` makes with it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// As `transformers` saves it.
    pub(crate) config: serde_json::Value,
    #[serde(default)]
    pub(crate) patch_size: u32,
    /// Width, height, and what META.toml says comes behind.
    #[serde(default)]
    pub(crate) layouts: Vec<Vec<Option<u32>>>,
    pub(crate) pictures: Vec<Picture>,
    #[serde(default)]
    pub(crate) videos: Vec<Video>,
}

/// Pixels of `formula(size)`.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Picture {
    size: [u32; 2],
    shape: Vec<usize>,
    /// Of the values as 8-bit levels.
    fnv1a: String,
    /// Of `Qwen2-VL`.
    grid: Option<[u32; 3]>,
}

/// Pixels of a clip whose frame k is `formula(width + k, height)`, cut.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Video {
    size: [u32; 2],
    frames: u32,
    grid: [u32; 3],
    shape: Vec<usize>,
    fnv1a: String,
}

impl Case {
    pub(crate) fn processor(&self) -> Processor {
        Processor::from_hf(&self.config.to_string()).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Every picture has the shape and, bit for bit, the levels that `transformers` gives it.
    pub(crate) fn check_pictures(&self, normalise: &Normalise) {
        let processor = self.processor();
        assert!(!self.pictures.is_empty(), "{}", self.name);
        for Picture { size: [width, height], shape, fnv1a: hash, grid } in &self.pictures {
            let pixels = processor.process(&formula(*width, *height)).expect("a usable size");
            if matches!(processor, Processor::Square(_)) {
                assert_eq!(
                    (1, &shape[..]),
                    (pixels.shape()[0], &pixels.shape()[1..]),
                    "{} {width}x{height}",
                    self.name
                );
            } else {
                assert_eq!(&pixels.shape(), shape, "{} {width}x{height}", self.name);
            }
            if let MediaLayout::Grid(layout) = &pixels.layout {
                assert_eq!(Some(layout.thw()), *grid);
            }
            assert_eq!(&fnv1a(&levels(&pixels, normalise)), hash, "{} {width}x{height}", self.name);
        }
    }

    pub(crate) fn check_videos(&self, normalise: &Normalise) {
        let processor = self.processor();
        assert!(!self.videos.is_empty());
        for Video { size: [width, height], frames, grid, shape, fnv1a: hash } in &self.videos {
            let frame = |k: u32| formula(width + k, *height).crop(0, 0, *width, *height);
            let pixels = processor.process_video(&(0..*frames).map(frame).collect::<Vec<_>>()).expect("a usable clip");
            let MediaLayout::Grid(layout) = &pixels.layout else { panic!("no grid") };
            assert_eq!((layout.thw(), &pixels.shape()), (*grid, shape), "{frames} frames of {width}x{height}");
            assert_eq!(&fnv1a(&levels(&pixels, normalise)), hash, "{frames} frames of {width}x{height}");
        }
    }

    /// The float32 values that `transformers` makes of `formula(97, 61)`, ours within 1e-6.
    pub(crate) fn check_values(&self, directory: &str) {
        let expected = floats(directory, &self.name);
        let values = self.processor().process(&formula(97, 61)).expect("a usable size").values;
        assert_eq!(values.len(), expected.len());
        let worst = values.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-6, "{}: {worst}", self.name);
    }

    /// Calls `check` with each size, what the processor answers, and what `transformers` answers.
    pub(crate) fn check_layouts(&self, check: impl Fn(Size, Result<MediaLayout, MediaError>, &[Option<u32>])) {
        let processor = self.processor();
        assert!(self.layouts.len() > 50, "{}", self.name);
        for layout in &self.layouts {
            let [Some(width), Some(height), expected @ ..] = layout.as_slice() else { panic!("{layout:?}") };
            let size = Size::new(*width, *height);
            check(size, processor.layout(size), expected);
        }
    }
}

/// A tensor of `values.safetensors`.
pub(crate) fn floats(directory: &str, name: &str) -> Vec<f32> {
    let bytes = fixture_bytes(&format!("{directory}/values.safetensors"));
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("a tensor file");
    let tensor = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (words, _) = tensor.data().as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// The values back as 8-bit levels.
fn levels(pixels: &MediaValues, normalise: &Normalise) -> Vec<u8> {
    let plane = match &pixels.layout {
        MediaLayout::Grid(layout) => layout.patch_values() / 3,
        _ => pixels.shape()[2..].iter().product(),
    };
    let level = |(i, value): (usize, &f32)| {
        let channel = i / plane % 3;
        let scaled = value * normalise.std[channel] + normalise.mean[channel];
        (scaled * 255.0).round() as u8
    };
    pixels.values.iter().enumerate().map(level).collect()
}
