//! Histograms as a PNG: bars side by side, a colour for each data set.

use mmtrain_data::Histogram;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ReportError;
use super::axis::Axis;
use super::canvas::{
    Area, BOTTOM, GRID, HEAD, INK, LEFT, RIGHT, SCALE, SOFT, TOP, failed, legend, line, png, scaled, style, text,
};

const COLOURS: [RGBColor; 5] = [
    RGBColor(47, 95, 179),
    RGBColor(200, 85, 61),
    RGBColor(42, 140, 122),
    RGBColor(132, 87, 168),
    RGBColor(169, 122, 18),
];

/// Named histograms of the same quantity in one drawing; `quantity` names what is counted.
pub(crate) fn histogram_png(quantity: &str, named: &[(&str, &Histogram)]) -> Result<Vec<u8>, ReportError> {
    png(|area| Bars::of(named).draw(area, quantity))
}

struct Bars<'a> {
    named: Vec<(&'a str, &'a Histogram, RGBColor)>,
    x: Axis,
    y: Axis,
}

impl<'a> Bars<'a> {
    fn of(named: &[(&'a str, &'a Histogram)]) -> Self {
        let ends = named.iter().flat_map(|(_, histogram)| {
            histogram.bars().flat_map(|(start, _)| [start as f64, (start + histogram.width) as f64])
        });
        let counts = named.iter().flat_map(|(_, histogram)| histogram.counts.iter().map(|&count| count as f64));
        let coloured = named.iter().zip(COLOURS.into_iter().cycle());
        Self {
            named: coloured.map(|(&(name, histogram), colour)| (name, histogram, colour)).collect(),
            x: Axis::counts(ends, 10.0),
            y: Axis::around(counts.chain([0.0]), 6.0),
        }
    }

    fn draw(&self, area: &Area, quantity: &str) -> Result<(), ReportError> {
        self.draw_axes(area, quantity)?;
        let mut right = scaled(RIGHT);
        for (name, histogram, colour) in self.named.iter().rev() {
            for (start, count) in histogram.bars() {
                self.bar(area, start as f64, (start + histogram.width) as f64, count as f64, *colour)?;
            }
            right = legend(area, name, *colour, right)?;
        }
        Ok(())
    }

    /// Half transparent, so that bars of several sets can be seen through each other.
    fn bar(&self, area: &Area, from: f64, to: f64, count: f64, colour: RGBColor) -> Result<(), ReportError> {
        let ((left, top), (right, bottom)) = (self.place(from, count), self.place(to, 0.0));
        let gap = SCALE.cast_signed().min((right - left) / 4);
        let bar = Rectangle::new([(left + gap, top), (right - gap, bottom)], colour.mix(0.7).filled());
        area.draw(&bar).map_err(failed)
    }

    fn draw_axes(&self, area: &Area, quantity: &str) -> Result<(), ReportError> {
        for tick in self.y.ticks() {
            let (_, y) = self.place(self.x.min, tick);
            line(area, vec![(scaled(LEFT), y), (scaled(RIGHT), y)], GRID, 1)?;
            let place = (scaled(LEFT - 12), y + scaled(2));
            text(area, &self.y.label(tick), place, &style(SOFT, HPos::Right, VPos::Center))?;
        }
        for tick in self.x.ticks() {
            let (x, y) = self.place(tick, 0.0);
            line(area, vec![(x, y), (x, y + scaled(5))], SOFT, 1)?;
            text(area, &self.x.label(tick), (x, y + scaled(12)), &style(SOFT, HPos::Center, VPos::Top))?;
        }
        line(area, vec![(scaled(LEFT), scaled(BOTTOM)), (scaled(RIGHT), scaled(BOTTOM))], SOFT, 1)?;
        let middle = scaled(i32::midpoint(LEFT, RIGHT));
        text(area, quantity, (middle, scaled(BOTTOM + 38)), &style(INK, HPos::Center, VPos::Top))?;
        text(area, "samples", (scaled(LEFT - 56), scaled(HEAD)), &style(INK, HPos::Left, VPos::Center))
    }

    fn place(&self, x: f64, y: f64) -> (i32, i32) {
        let across = f64::from(LEFT) + self.x.share(x) * f64::from(RIGHT - LEFT);
        let down = f64::from(BOTTOM) - self.y.share(y) * f64::from(BOTTOM - TOP);
        let scale = f64::from(SCALE);
        ((across * scale).round() as i32, (down * scale).round() as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_a_picture_with_as_much_colour_as_its_bars_are_high() {
        let blue = |counts: Vec<u64>| {
            let histogram = Histogram { start: 10, width: 5, counts };
            let png = histogram_png("tokens", &[("a", &histogram)]).expect("drawn");
            let picture = image::load_from_memory(&png).expect("a PNG").into_rgb8();
            picture.pixels().filter(|pixel| pixel[2] > 180 && pixel[0] < 130).count()
        };
        let (full, half) = (blue(vec![8, 8]), blue(vec![8, 4]));
        let ratio = half as f64 / full as f64;
        assert!((0.72..0.78).contains(&ratio), "{half} of {full}");
        assert!(histogram_png("tokens", &[]).is_ok(), "nothing to draw is an empty drawing");
    }
}
