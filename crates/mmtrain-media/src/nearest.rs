//! Pillow's nearest-neighbour resize.

use crate::pixels::Window;
use crate::{Rgb8, Size};

/// The `window` of the picture that `Image.resize(to, NEAREST)` makes.
pub(crate) fn nearest(image: &Rgb8, to: Size, window: Window) -> Rgb8 {
    let columns = sources(image.width, to.width);
    let rows = sources(image.height, to.height);
    let mut data = Vec::with_capacity(window.size.pixels() as usize * 3);
    for &y in &rows[window.rows()] {
        let row = image.row(y);
        for &x in &columns[window.columns()] {
            data.extend_from_slice(&row[x * 3..x * 3 + 3]);
        }
    }
    Rgb8 { width: window.size.width, height: window.size.height, data }
}

/// For each output position the input position, by the running sum of `ImagingScaleAffine` in `Geometry.c`.
fn sources(input: u32, output: u32) -> Vec<usize> {
    let scale = f64::from(input) / f64::from(output);
    let last = input as usize - 1;
    let mut at = scale * 0.5;
    let step = |_| {
        let source = (at as usize).min(last);
        at += scale;
        source
    };
    (0..output).map(step).collect()
}
