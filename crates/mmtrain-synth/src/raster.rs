//! Scenes to pixels: objects drawn with 4x4 samples per pixel over a textured background.
//!
//! Only additions, multiplications and divisions of `f32` are used (no `sin`, no fused operations), so
//! the pixels are the same wherever floats are IEEE 754.

use crate::background;
use crate::caption::caption;
use crate::rng::{Domain, Stream};
use crate::{Color, ObjectTruth, SceneKey, SceneTruth, Shape, Size, Split};

/// Samples along one side of a pixel.
const SAMPLES: u32 = 4;
/// Half a cell of the grid, as a share of the picture's side.
const HALF_CELL: f32 = 1.0 / 6.0;
/// No outline reaches further from its centre, sideways or up and down, than this many radii.
const REACH: f32 = 1.12;
/// Largest shift of a centre from the middle of its cell, as a share of the picture's side.
const MAX_SHIFT: f32 = 0.04;

/// Makes one picture of a default dataset (one or two objects).
///
/// Returns the pixels `[size, size, 3]`, what is in them, and the caption.
pub fn scene_image(seed: u64, split: Split, index: u64, size: u32) -> (Vec<u8>, SceneTruth, String) {
    render(&SceneKey { seed, split, index, objects: (1, 2) }, size)
}

/// Makes the picture, the truth and the caption of a scene.
pub(crate) fn render(key: &SceneKey, size: u32) -> (Vec<u8>, SceneTruth, String) {
    let mut truth = SceneTruth::sample(key, size);
    let mut pixels = background::paint(&mut Stream::new(key, Domain::Background), size);
    let mut rng = Stream::new(key, Domain::Objects);
    for object in &mut truth.objects {
        let drawn = Drawn::sample(&mut rng, object);
        object.bounds = drawn.bounds(size);
        drawn.draw(&mut pixels, size, object.bounds);
    }
    let caption = caption(&mut Stream::new(key, Domain::Caption), &truth);
    (to_bytes(&pixels), truth, caption)
}

/// Values of 0 to 1 as bytes.
pub(crate) fn to_bytes(pixels: &[f32]) -> Vec<u8> {
    pixels.iter().map(|v| (v * 255.0 + 0.5).clamp(0.0, 255.0) as u8).collect()
}

/// An object with its jitter; lengths are shares of the picture's side.
#[derive(Clone)]
pub(crate) struct Drawn {
    shape: Shape,
    x: f32,
    y: f32,
    radius: f32,
    /// Cosine and sine of the tilt.
    tilt: (f32, f32),
    rgb: [f32; 3],
}

impl Drawn {
    pub(crate) fn sample(rng: &mut Stream, object: &ObjectTruth) -> Self {
        let radius = match object.size {
            Size::Small => rng.between(0.078, 0.084),
            Size::Large => rng.between(0.134, 0.140),
        };
        let slack = (HALF_CELL - radius * REACH).min(MAX_SHIFT);
        let angle = rng.between(-0.10, 0.10);
        Self {
            shape: object.shape,
            x: (object.position.column() as f32 + 0.5) / 3.0 + rng.between(-slack, slack),
            y: (object.position.row() as f32 + 0.5) / 3.0 + rng.between(-slack, slack),
            radius,
            // Taylor series: exact to 1e-4 at this angle, the same on every machine
            tilt: (1.0 - angle * angle / 2.0, angle - angle * angle * angle / 6.0),
            rgb: paint_of(rng, object.color),
        }
    }

    /// The same object further right and further down.
    pub(crate) fn moved(&self, right: f32, down: f32) -> Self {
        Self { x: self.x + right, y: self.y + down, ..self.clone() }
    }

    /// The same object turned clockwise by so many small steps, of which this is the cosine and the sine.
    pub(crate) fn turned(&self, (step_cos, step_sin): (f32, f32), steps: u32) -> Self {
        let turn = |(cos, sin): (f32, f32)| (cos * step_cos - sin * step_sin, sin * step_cos + cos * step_sin);
        Self { tilt: (0..steps).fold(self.tilt, |tilt, _| turn(tilt)), ..self.clone() }
    }

    /// Pixels that the outline can touch.
    pub(crate) fn bounds(&self, size: u32) -> [u32; 4] {
        let (size, reach) = (size as f32, self.radius * REACH);
        let low = |centre: f32| ((centre - reach) * size).max(0.0) as u32;
        let high = |centre: f32| ((centre + reach) * size).min(size - 1.0) as u32 + 1;
        [low(self.x), low(self.y), high(self.x), high(self.y)]
    }

    pub(crate) fn draw(&self, pixels: &mut [f32], size: u32, [left, top, right, bottom]: [u32; 4]) {
        for y in top..bottom {
            for x in left..right {
                let coverage = self.coverage(x, y, size);
                let at = ((y * size + x) * 3) as usize;
                for (value, colour) in pixels[at..at + 3].iter_mut().zip(self.rgb) {
                    *value = *value * (1.0 - coverage) + colour * coverage;
                }
            }
        }
    }

    /// Share of the pixel's samples inside the outline.
    fn coverage(&self, x: u32, y: u32, size: u32) -> f32 {
        let step = 1.0 / (size * SAMPLES) as f32;
        let at = |pixel: u32, sample: u32| ((pixel * SAMPLES + sample) as f32 + 0.5) * step;
        let mut inside = 0;
        for row in 0..SAMPLES {
            for column in 0..SAMPLES {
                inside += u32::from(self.contains(at(x, column), at(y, row)));
            }
        }
        inside as f32 / (SAMPLES * SAMPLES) as f32
    }

    fn contains(&self, x: f32, y: f32) -> bool {
        let (dx, dy) = ((x - self.x) / self.radius, (y - self.y) / self.radius);
        let (cos, sin) = self.tilt;
        inside(self.shape, dx * cos + dy * sin, dy * cos - dx * sin)
    }
}

/// Whether a place is inside the outline of radius 1 around the origin, `y` downwards.
///
/// Outlines of one size reach about as far; they differ in area, as cut-out shapes do.
fn inside(shape: Shape, x: f32, y: f32) -> bool {
    match shape {
        Shape::Circle => x * x + y * y <= 0.86 * 0.86,
        Shape::Square => x.abs().max(y.abs()) <= 0.92,
        Shape::Triangle => y <= 0.56 && 1.732_050_8 * x.abs() - y <= 1.12,
        Shape::Star => inside_polygon(&STAR, x, y),
    }
}

/// Five points at radius 1.12, first one up, with notches at 0.44.
const STAR: [(f32, f32); 10] = [
    (0.0, -1.12),
    (0.258_63, -0.355_97),
    (1.065_18, -0.346_1),
    (0.418_46, 0.135_97),
    (0.658_32, 0.906_1),
    (0.0, 0.44),
    (-0.658_32, 0.906_1),
    (-0.418_46, 0.135_97),
    (-1.065_18, -0.346_1),
    (-0.258_63, -0.355_97),
];

/// Even-odd rule.
fn inside_polygon(corners: &[(f32, f32)], x: f32, y: f32) -> bool {
    let next = corners.iter().cycle().skip(1);
    let crossings = corners
        .iter()
        .zip(next)
        .filter(|&(&(x0, y0), &(x1, y1))| (y0 > y) != (y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0));
    crossings.count() % 2 == 1
}

/// The named colour with jitter in hue, saturation and brightness.
fn paint_of(rng: &mut Stream, color: Color) -> [f32; 3] {
    let hue = match color {
        Color::Red => 0.0,
        Color::Orange => 27.0,
        Color::Yellow => 56.0,
        Color::Green => 128.0,
        Color::Blue => 220.0,
        Color::Purple => 285.0,
    };
    let jitter = rng.between(-5.0, 5.0);
    let saturation = rng.between(0.82, 0.98);
    let value = rng.between(0.82, 1.0);
    from_hsv(hue + jitter, saturation, value)
}

/// `hue` in degrees, -360 to 360.
fn from_hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [5.0, 3.0, 1.0].map(|offset| {
        let k = offset + hue / 60.0 + 6.0;
        let k = k - (k / 6.0).floor() * 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[test]
    fn objects_stay_in_their_cells() {
        for index in 0..2_000 {
            let key = SceneKey { seed: 3, split: Split::Train, index, objects: (1, 9) };
            let (_, truth, _) = render(&key, 64);
            for object in &truth.objects {
                let [left, top, right, bottom] = object.bounds.map(|v| v as f32 * 3.0 / 64.0);
                let (column, row) = (object.position.column() as f32, object.position.row() as f32);
                // a pixel on the border between two cells belongs to both
                let border = 3.0 / 64.0;
                assert!(left > column - border && right < column + 1.0 + border, "{object:?}");
                assert!(top > row - border && bottom < row + 1.0 + border, "{object:?}");
            }
        }
    }

    #[test]
    fn outlines_stay_within_reach() {
        let steps = || (-200..=200).map(|i| i as f32 / 100.0);
        for &shape in Shape::ALL {
            for (x, y) in steps().flat_map(|y| steps().map(move |x| (x, y))) {
                let tilted = |angle: f32| [x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()];
                let reach = [-0.1, 0.0, 0.1].into_iter().flat_map(tilted).fold(0.0, |far: f32, v| far.max(v.abs()));
                assert!(!inside(shape, x, y) || reach <= REACH + 0.03, "{shape} {x} {y} reaches {reach}");
            }
        }
    }

    #[test]
    fn large_is_clearly_larger_than_small() {
        let pixels = |size: Size| {
            let object = ObjectTruth {
                shape: Shape::Circle,
                color: Color::Red,
                size,
                position: Position::Center,
                bounds: [0; 4],
            };
            let key = SceneKey { seed: 1, split: Split::Train, index: 0, objects: (1, 1) };
            let drawn = Drawn::sample(&mut Stream::new(&key, Domain::Objects), &object);
            (0..64 * 64).map(|i| drawn.coverage(i % 64, i / 64, 64)).sum::<f32>()
        };
        let ratio = pixels(Size::Large) / pixels(Size::Small);
        assert!((2.3..3.6).contains(&ratio), "area ratio {ratio}");
    }

    #[test]
    fn the_middle_of_an_object_has_its_colour() {
        for index in 0..500 {
            let (pixels, truth, _) = scene_image(9, Split::Train, index, 64);
            for object in &truth.objects {
                let [left, top, right, bottom] = object.bounds;
                let at = ((top.midpoint(bottom) * 64 + left.midpoint(right)) * 3) as usize;
                let [r, g, b] = [0, 1, 2].map(|c| i32::from(pixels[at + c]));
                let looks = match object.color {
                    Color::Red => r > g + 100 && r > b + 100,
                    Color::Green => g > r + 100 && g > b + 80,
                    Color::Blue => b > r + 100 && b > g + 60,
                    Color::Yellow => r > b + 100 && g > b + 100 && (r - g).abs() < 60,
                    Color::Purple => b > g + 80 && r > g + 50 && b > r,
                    Color::Orange => r > g + 60 && g > b + 40,
                };
                assert!(looks, "{object:?} shows {r} {g} {b}");
            }
        }
    }

    #[test]
    fn a_scene_is_a_pure_function_of_its_key() {
        assert_eq!(scene_image(1, Split::Train, 5, 64), scene_image(1, Split::Train, 5, 64));
        assert_ne!(scene_image(1, Split::Train, 5, 64), scene_image(2, Split::Train, 5, 64));
        assert_ne!(scene_image(1, Split::Train, 5, 64), scene_image(1, Split::Train, 6, 64));
        assert_ne!(scene_image(1, Split::Train, 5, 64), scene_image(1, Split::Validation, 5, 64));
    }
}
