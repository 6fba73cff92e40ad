//! Pillow's resampling filters.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How a picture is resized; the names and numbers are those of `PIL.Image.Resampling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The pixel whose cell holds the centre; 0 in Pillow.
    Nearest,
    /// Windowed sinc over six pixels; 1 in Pillow (`Idefics3`).
    Lanczos,
    /// A triangle over two pixels; 2 in Pillow (Mllama, `SigLIP` 2).
    Bilinear,
    /// Keys' cubic with a = -0.5 over four pixels; 3 in Pillow (CLIP, `Qwen2-VL` and most others).
    #[default]
    Bicubic,
}

/// Half the width of a filter in pixels, and its value at a distance.
pub(crate) type Curve = (f64, fn(f64) -> f64);

impl Filter {
    /// The filter that a `preprocessor_config.json` calls `resample`.
    pub fn from_pillow(number: u64) -> Option<Self> {
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic].into_iter().find(|f| f.to_pillow() == number)
    }

    /// The number of [`from_pillow`](Self::from_pillow).
    pub fn to_pillow(self) -> u64 {
        match self {
            Self::Nearest => 0,
            Self::Lanczos => 1,
            Self::Bilinear => 2,
            Self::Bicubic => 3,
        }
    }

    /// What the pixels are weighted with; nothing for [`Nearest`](Self::Nearest), which takes one pixel.
    pub(crate) fn curve(self) -> Option<Curve> {
        match self {
            Self::Nearest => None,
            Self::Lanczos => Some((3.0, lanczos)),
            Self::Bilinear => Some((1.0, triangle)),
            Self::Bicubic => Some((2.0, bicubic)),
        }
    }
}

/// `bilinear_filter` of Pillow's `Resample.c`.
fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys' cubic convolution kernel with a = -0.5, in Pillow's order of operations.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// `lanczos_filter` of Pillow's `Resample.c`.
fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}
