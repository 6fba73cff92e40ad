//! Textured, muted backgrounds: noise, gradients, stripes, checks and blotches.
//!
//! Saturation stays below what any object has and contrast is low, so objects stay visible.

use crate::rng::Stream;

/// Linear RGB-like values, 0 to 1.
type Rgb = [f32; 3];

/// How far the two tones of a texture may be apart.
const CONTRAST: f32 = 0.14;
/// Per-pixel noise, plus or minus.
const NOISE: f32 = 0.035;
/// Directions (unit vectors) of gradients and stripes, 0 to 157.5 degrees.
const DIRECTIONS: [(f32, f32); 8] = [
    (1.0, 0.0),
    (0.923_879_5, 0.382_683_43),
    (0.707_106_77, 0.707_106_77),
    (0.382_683_43, 0.923_879_5),
    (0.0, 1.0),
    (-0.382_683_43, 0.923_879_5),
    (-0.707_106_77, 0.707_106_77),
    (-0.923_879_5, 0.382_683_43),
];
/// Cells along a side of the blotch grid.
const BLOTCHES: usize = 5;

/// A mix of two tones per place of the unit square: 0 is the one, 1 the other.
enum Texture {
    Flat,
    Gradient { direction: (f32, f32) },
    Stripes { direction: (f32, f32), per_side: f32 },
    Checks { per_side: f32 },
    Blotches { grid: [[f32; BLOTCHES + 1]; BLOTCHES + 1] },
}

impl Texture {
    fn sample(rng: &mut Stream) -> Self {
        match rng.below(5) {
            0 => Self::Flat,
            1 => Self::Gradient { direction: rng.pick(&DIRECTIONS) },
            2 => Self::Stripes { direction: rng.pick(&DIRECTIONS), per_side: rng.between(3.0, 9.0) },
            3 => Self::Checks { per_side: rng.between(3.0, 8.0) },
            _ => Self::Blotches { grid: std::array::from_fn(|_| std::array::from_fn(|_| rng.between(0.0, 1.0))) },
        }
    }

    /// `x`, `y` in 0 to 1.
    fn mix(&self, x: f32, y: f32) -> f32 {
        match self {
            Self::Flat => 0.0,
            Self::Gradient { direction } => (along(*direction, x - 0.5, y - 0.5) + 0.7) / 1.4,
            Self::Stripes { direction, per_side } => triangle_wave(along(*direction, x, y) * per_side),
            Self::Checks { per_side } => {
                let parity = (x * per_side) as u32 + (y * per_side) as u32;
                (parity % 2) as f32
            }
            Self::Blotches { grid } => interpolate(grid, x, y),
        }
    }
}

fn along(direction: (f32, f32), x: f32, y: f32) -> f32 {
    x * direction.0 + y * direction.1
}

/// 0 at whole numbers, 1 half way between.
fn triangle_wave(t: f32) -> f32 {
    1.0 - (2.0 * (t - t.floor()) - 1.0).abs()
}

fn interpolate(grid: &[[f32; BLOTCHES + 1]; BLOTCHES + 1], x: f32, y: f32) -> f32 {
    let (x, y) = (x * BLOTCHES as f32, y * BLOTCHES as f32);
    let (column, row) = ((x as usize).min(BLOTCHES - 1), (y as usize).min(BLOTCHES - 1));
    let (dx, dy) = (x - column as f32, y - row as f32);
    let mix = |row: &[f32]| row[column] * (1.0 - dx) + row[column + 1] * dx;
    mix(&grid[row]) * (1.0 - dy) + mix(&grid[row + 1]) * dy
}

/// A grey with a tint too weak to pass for an object's colour.
fn muted(rng: &mut Stream, brightness: f32) -> Rgb {
    std::array::from_fn(|_| brightness + rng.between(-0.04, 0.04))
}

/// Paints `[size, size, 3]`.
pub(crate) fn paint(rng: &mut Stream, size: u32) -> Vec<f32> {
    let brightness = rng.between(0.22, 0.72);
    let one = muted(rng, brightness);
    let contrast = if rng.coin() { CONTRAST } else { -CONTRAST } * rng.between(0.4, 1.0);
    let other = muted(rng, brightness + contrast);
    let texture = Texture::sample(rng);
    let mut noise = vec![0; (size * size) as usize];
    rng.fill(&mut noise);
    let at = |i: u32| (i as f32 + 0.5) / size as f32;
    let places = (0..size).flat_map(|y| (0..size).map(move |x| (at(x), at(y))));
    let mut pixels = Vec::with_capacity(noise.len() * 3);
    for ((x, y), noise) in places.zip(noise) {
        let mix = texture.mix(x, y);
        let noise = (f32::from(noise) / 127.5 - 1.0) * NOISE;
        pixels.extend([0, 1, 2].map(|c| one[c] * (1.0 - mix) + other[c] * mix + noise));
    }
    pixels
}
