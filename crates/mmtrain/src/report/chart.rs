//! Line charts as inline SVG: no script, colours from the page's style sheet, values on hover as titles.

use super::axis::Axis;
use super::series::{Point, thinned};
use super::text::{escaped, measured, percent, push};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Thin and pale: a noisy line behind its smoothed one.
    Faint,
    /// A strong line.
    Strong,
    /// A line with a dot on every point.
    Dotted,
}

/// One line of a chart.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its name in the legend.
    pub(super) label: String,
    /// Its points, by step.
    pub(super) points: Vec<Point>,
    /// How it looks.
    pub(super) look: Look,
    /// Which colour of the palette.
    pub(super) colour: usize,
}

/// What the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Numbers of any size.
    Numbers,
    /// Amounts, shown from 0.
    Amounts,
    /// Shares from 0 to 1, shown as percent.
    Shares,
}

/// Lines over the training steps.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// What is shown.
    pub(super) title: &'static str,
    /// In which unit.
    pub(super) unit: &'static str,
    /// The lines, those in front last.
    pub(super) lines: Vec<Line>,
    /// What the values are.
    pub(super) values: Values,
    /// Width and height in units of the drawing; text is 12 high.
    pub(super) size: (f64, f64),
}

const COLOURS: usize = 6;
const MOST_POINTS: usize = 1200;
const MOST_BANDS: usize = 100;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

/// Where points lie in the drawing.
struct Frame {
    x: Axis,
    y: Axis,
    size: (f64, f64),
}

impl Frame {
    fn of(chart: &Chart) -> Self {
        let points = || chart.lines.iter().flat_map(|line| &line.points);
        let y = match chart.values {
            Values::Shares => Axis::shares(),
            Values::Amounts => Axis::around(points().map(|point| point.1).chain([0.0]), 5.0),
            Values::Numbers => Axis::around(points().map(|point| point.1), 5.0),
        };
        Self { x: Axis::counts(points().map(|point| point.0), 8.0), y, size: chart.size }
    }

    fn right(&self) -> f64 {
        self.size.0 - RIGHT
    }

    fn bottom(&self) -> f64 {
        self.size.1 - BOTTOM
    }

    fn place(&self, point: Point) -> (f64, f64) {
        let x = LEFT + self.x.share(point.0) * (self.right() - LEFT);
        (x, self.bottom() - self.y.share(point.1) * (self.bottom() - TOP))
    }
}

/// The chart with its title and legend.
pub(super) fn figure(chart: &Chart) -> String {
    let mut html = format!("<figure>\n<figcaption><b>{}</b> <span>{}</span>", chart.title, chart.unit);
    html.push_str(&legend(chart));
    html.push_str("</figcaption>\n");
    html.push_str(&svg(chart));
    html.push_str("</figure>\n");
    html
}

fn legend(chart: &Chart) -> String {
    let mut html = String::from("<span class=\"legend\">");
    for line in chart.lines.iter().filter(|line| line.look != Look::Faint) {
        let last = line.points.last().map_or(String::new(), |point| format!(" <b>{}</b>", shown(chart, point.1)));
        let class = class(line);
        push(&mut html, format_args!("<span><i class=\"{class}\"></i>{}{last}</span>", escaped(&line.label)));
    }
    html + "</span>"
}

fn svg(chart: &Chart) -> String {
    let (width, height) = chart.size;
    let mut svg =
        format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{} over steps\">\n", chart.title);
    let frame = Frame::of(chart);
    push_axes(&mut svg, chart, &frame);
    if chart.lines.iter().all(|line| line.points.is_empty()) {
        let (x, y) = (f64::midpoint(LEFT, frame.right()), f64::midpoint(TOP, frame.bottom()));
        push(&mut svg, format_args!("<text class=\"none\" x=\"{x}\" y=\"{y}\">nothing recorded</text>\n"));
    }
    for line in &chart.lines {
        push_line(&mut svg, line, &frame);
    }
    push_bands(&mut svg, chart, &frame);
    svg + "</svg>\n"
}

fn push_axes(svg: &mut String, chart: &Chart, frame: &Frame) {
    let (right, bottom) = (frame.right(), frame.bottom());
    for tick in frame.y.ticks() {
        let y = frame.place((frame.x.min, tick)).1;
        let label = if chart.values == Values::Shares { format!("{:.0} %", tick * 100.0) } else { frame.y.label(tick) };
        push(svg, format_args!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        push(svg, format_args!("<text class=\"y\" x=\"{}\" y=\"{:.1}\">{label}</text>\n", LEFT - 8.0, y + 4.0));
    }
    for tick in frame.x.ticks() {
        let x = frame.place((tick, frame.y.min)).0;
        push(
            svg,
            format_args!("<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>", bottom + 4.0),
        );
        push(
            svg,
            format_args!("<text class=\"x\" x=\"{x:.1}\" y=\"{}\">{}</text>\n", bottom + 18.0, frame.x.label(tick)),
        );
    }
    push(svg, format_args!("<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>"));
    push(
        svg,
        format_args!("<text class=\"x\" x=\"{}\" y=\"{}\">step</text>\n", f64::midpoint(LEFT, right), bottom + 35.0),
    );
}

fn push_line(svg: &mut String, line: &Line, frame: &Frame) {
    let points = thinned(&line.points, MOST_POINTS);
    push(svg, format_args!("<path class=\"{}\" d=\"{}\"/>\n", class(line), path(&points, frame)));
    if line.look == Look::Dotted || points.len() == 1 {
        for point in points {
            let (x, y) = frame.place(point);
            push(svg, format_args!("<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>\n", class(line)));
        }
    }
}

/// The `d` of a path; a value that is not finite leaves a gap.
fn path(points: &[Point], frame: &Frame) -> String {
    let mut path = String::new();
    let mut pen = 'M';
    for &point in points {
        let (x, y) = frame.place(point);
        if x.is_finite() && y.is_finite() {
            push(&mut path, format_args!("{pen}{x:.1} {y:.1}"));
            pen = 'L';
        } else {
            pen = 'M';
        }
    }
    path
}

/// Upright bands that show the values at a step when the pointer rests on them.
fn push_bands(svg: &mut String, chart: &Chart, frame: &Frame) {
    let steps = band_steps(chart);
    let places: Vec<f64> = steps.iter().map(|&step| frame.place((step, frame.y.min)).0).collect();
    for (index, &step) in steps.iter().enumerate() {
        let left = index.checked_sub(1).map_or(LEFT, |before| f64::midpoint(places[before], places[index]));
        let right = places.get(index + 1).map_or(frame.right(), |after| f64::midpoint(places[index], *after));
        let (width, height) = (right - left, frame.bottom() - TOP);
        let title = escaped(&values_at(chart, step));
        push(
            svg,
            format_args!("<rect class=\"band\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\">"),
        );
        push(svg, format_args!("<title>{title}</title></rect>\n"));
    }
}

fn band_steps(chart: &Chart) -> Vec<f64> {
    let longest = chart.lines.iter().map(|line| &line.points).max_by_key(|points| points.len());
    let Some(points) = longest else { return Vec::new() };
    points.iter().rev().step_by(points.len().div_ceil(MOST_BANDS).max(1)).map(|point| point.0).rev().collect()
}

/// `step 120`, then the last value of each line up to there.
fn values_at(chart: &Chart, step: f64) -> String {
    let mut text = format!("step {step}");
    for line in chart.lines.iter().filter(|line| line.look != Look::Faint) {
        let until = line.points.partition_point(|point| point.0 <= step);
        if let Some(point) = until.checked_sub(1).map(|last| line.points[last]) {
            push(&mut text, format_args!("\n{}: {}", line.label, shown(chart, point.1)));
        }
    }
    text
}

fn shown(chart: &Chart, value: f64) -> String {
    if chart.values == Values::Shares { percent(value) } else { measured(value) }
}

fn class(line: &Line) -> String {
    let look = match line.look {
        Look::Faint => "faint",
        Look::Strong => "strong",
        Look::Dotted => "dotted",
    };
    format!("{look} c{}", line.colour % COLOURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[Point]) -> Chart {
        let line = Line { label: "a<b".into(), points: points.to_vec(), look: Look::Strong, colour: 7 };
        Chart { title: "Loss", unit: "", lines: vec![line], values: Values::Numbers, size: (288.0, 150.0) }
    }

    fn d(points: &[Point]) -> String {
        path(points, &Frame { x: axis(0.0, 10.0), y: axis(0.0, 4.0), size: (288.0, 150.0) })
    }

    fn axis(min: f64, max: f64) -> Axis {
        Axis { min, max, tick: 1.0 }
    }

    #[test]
    fn paths_start_at_the_axes_and_grow_upwards() {
        assert_eq!(d(&[(0.0, 0.0), (5.0, 2.0), (10.0, 4.0)]), "M58.0 110.0L158.0 60.0L258.0 10.0");
        assert_eq!(d(&[(5.0, 4.0)]), "M158.0 10.0");
        assert_eq!(d(&[]), "");
    }

    #[test]
    fn values_that_are_not_finite_leave_a_gap() {
        let nan = [(0.0, 0.0), (5.0, f64::NAN), (10.0, 4.0)];
        assert_eq!(d(&nan), "M58.0 110.0M258.0 10.0");
        assert_eq!(d(&[(0.0, f64::INFINITY), (10.0, 4.0)]), "M258.0 10.0");
    }

    #[test]
    fn charts_hold_only_finite_numbers() {
        let cases: [&[Point]; 5] =
            [&[], &[(3.0, 2.0)], &[(0.0, 0.0)], &[(1.0, 2.0), (1.0, 2.0)], &[(1.0, 0.1), (2.0, 7.0)]];
        for points in cases {
            let svg = svg(&chart(points));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.contains("nothing recorded"), points.is_empty());
        }
    }

    #[test]
    fn one_point_is_a_dot() {
        assert_eq!(svg(&chart(&[(3.0, 2.0)])).matches("<circle").count(), 1);
        assert_eq!(svg(&chart(&[(3.0, 2.0), (4.0, 2.0)])).matches("<circle").count(), 0);
    }

    #[test]
    fn labels_are_escaped_in_legend_and_titles() {
        let html = figure(&chart(&[(3.0, 2.0), (4.0, 2.5)]));
        assert!(html.contains("<i class=\"strong c1\"></i>a&lt;b <b>2.5000</b>"), "{html}");
        assert!(html.contains("<title>step 3\na&lt;b: 2.0000</title>"), "{html}");
        assert!(!html.contains("a<b"), "{html}");
    }

    #[test]
    fn long_lines_are_thinned() {
        let points: Vec<Point> = (0..100_000).map(|step| (f64::from(step), f64::from(step % 17))).collect();
        let svg = svg(&chart(&points));
        assert!(svg.len() < 60_000, "{} bytes", svg.len());
        assert!(svg.contains("<title>step 99999\n"));
    }
}
