//! `plots/loss.png`: training loss pale, smoothed loss strong, held-out loss as points.

use mmtrain_train::metrics::Metric;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ReportError;
use super::axis::Axis;
use super::canvas::{
    Area, BOTTOM, GRID, HEAD, INK, LEFT, RIGHT, SCALE, SOFT, TOP, failed, legend, line, png, scaled, style, text,
};
use super::series::{self, Point, thinned};

/// Two points for each pixel across.
const MOST_POINTS: usize = 2 * (RIGHT - LEFT) as usize;

const TRAIN: RGBColor = RGBColor(47, 95, 179);
const PALE: RGBColor = RGBColor(183, 201, 230);
/// Colours of the evaluations, in the order of their names.
const HELD_OUT: [RGBColor; 4] =
    [RGBColor(200, 85, 61), RGBColor(42, 140, 122), RGBColor(132, 87, 168), RGBColor(169, 122, 18)];

/// The loss of a run as an encoded PNG.
pub(super) fn loss_png(metrics: &[Metric]) -> Result<Vec<u8>, ReportError> {
    png(|area| Plot::of(metrics).draw(area))
}

/// The held-out loss of one evaluation.
struct Evaluated {
    name: String,
    points: Vec<Point>,
    colour: RGBColor,
}

/// The lines and the axes they lie on.
struct Plot {
    train: Vec<Point>,
    smooth: Vec<Point>,
    held_out: Vec<Evaluated>,
    x: Axis,
    y: Axis,
}

impl Plot {
    fn of(metrics: &[Metric]) -> Self {
        let train = series::train(metrics, |report| report.loss);
        let named = series::held_out_loss(metrics).into_iter().zip(HELD_OUT.into_iter().cycle());
        let held_out: Vec<_> = named.map(|((name, points), colour)| Evaluated { name, points, colour }).collect();
        let points = || train.iter().chain(held_out.iter().flat_map(|line| &line.points));
        let x = Axis::counts(points().map(|point| point.0), 8.0);
        let y = Axis::around(points().map(|point| point.1), 6.0);
        Self { smooth: series::smoothed(&train), train, held_out, x, y }
    }

    fn draw(&self, area: &Area) -> Result<(), ReportError> {
        self.draw_axes(area)?;
        self.curve(area, &self.train, PALE, 1)?;
        self.curve(area, &self.smooth, TRAIN, 2)?;
        for line in &self.held_out {
            self.curve(area, &line.points, line.colour, 1)?;
            self.dots(area, &line.points, line.colour)?;
        }
        if self.train.len() == 1 {
            self.dots(area, &self.train, TRAIN)?;
        }
        self.draw_legend(area)
    }

    fn draw_axes(&self, area: &Area) -> Result<(), ReportError> {
        for tick in self.y.ticks() {
            let (_, y) = self.place((self.x.min, tick));
            line(area, vec![(scaled(LEFT), y), (scaled(RIGHT), y)], GRID, 1)?;
            text(
                area,
                &self.y.label(tick),
                (scaled(LEFT - 12), y + scaled(2)),
                &style(SOFT, HPos::Right, VPos::Center),
            )?;
        }
        for tick in self.x.ticks() {
            let (x, y) = self.place((tick, self.y.min));
            line(area, vec![(x, y), (x, y + scaled(5))], SOFT, 1)?;
            text(area, &self.x.label(tick), (x, y + scaled(12)), &style(SOFT, HPos::Center, VPos::Top))?;
        }
        line(area, vec![(scaled(LEFT), scaled(BOTTOM)), (scaled(RIGHT), scaled(BOTTOM))], SOFT, 1)?;
        let middle = scaled(i32::midpoint(LEFT, RIGHT));
        text(area, "step", (middle, scaled(BOTTOM + 38)), &style(INK, HPos::Center, VPos::Top))?;
        let heading = style(INK, HPos::Left, VPos::Center);
        text(area, "loss (nats per token)", (scaled(LEFT - 56), scaled(HEAD)), &heading)
    }

    /// Names the lines, from the right end of the head to the left.
    fn draw_legend(&self, area: &Area) -> Result<(), ReportError> {
        let mut right = scaled(RIGHT);
        for line in self.held_out.iter().rev() {
            right = legend(area, &line.name.replace('_', " "), line.colour, right)?;
        }
        right = legend(area, "training, smoothed", TRAIN, right)?;
        legend(area, "training", PALE, right).map(|_| ())
    }

    fn place(&self, point: Point) -> (i32, i32) {
        let x = f64::from(LEFT) + self.x.share(point.0) * f64::from(RIGHT - LEFT);
        let y = f64::from(BOTTOM) - self.y.share(point.1) * f64::from(BOTTOM - TOP);
        let scale = f64::from(SCALE);
        ((x * scale).round() as i32, (y * scale).round() as i32)
    }

    /// Drawn piece by piece: a long bent line loses its inside where it turns back on itself.
    fn curve(&self, area: &Area, points: &[Point], colour: RGBColor, width: u32) -> Result<(), ReportError> {
        let places: Vec<_> = thinned(points, MOST_POINTS).into_iter().map(|point| self.place(point)).collect();
        for piece in places.windows(2) {
            line(area, piece.to_vec(), colour, width)?;
        }
        for &place in places.iter().filter(|_| width > 1) {
            area.draw(&Circle::new(place, width * SCALE / 2, colour.filled())).map_err(failed)?;
        }
        Ok(())
    }

    fn dots(&self, area: &Area, points: &[Point], colour: RGBColor) -> Result<(), ReportError> {
        for &point in points {
            let place = self.place(point);
            area.draw(&Circle::new(place, scaled(5), WHITE.filled())).map_err(failed)?;
            area.draw(&Circle::new(place, scaled(4), colour.filled())).map_err(failed)?;
        }
        Ok(())
    }
}
