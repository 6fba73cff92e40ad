//! The lines that `metrics.jsonl` holds, smoothed and thinned for drawing.

use std::collections::BTreeMap;

use mmtrain_train::metrics::{EvalReport, Metric, StepReport};

use super::text::is_share;

/// Step and value.
pub(super) type Point = (f64, f64);

/// Beyond this a value says nothing but that something broke, and differences of it are no longer finite.
const LARGEST: f64 = 1e30;

/// A value of every training step, without those that are not finite.
pub(super) fn train(metrics: &[Metric], value: impl Fn(&StepReport) -> f64) -> Vec<Point> {
    let points = steps(metrics).map(|report| (report.step as f64, value(report)));
    points.filter(drawable).collect()
}

/// Learning rate per trained part.
pub(super) fn learning_rates(metrics: &[Metric]) -> BTreeMap<String, Vec<Point>> {
    let mut lines = BTreeMap::new();
    for report in steps(metrics) {
        for (part, &lr) in &report.lr {
            add(&mut lines, part.clone(), (report.step as f64, lr));
        }
    }
    lines
}

/// Loss of every evaluation, by its name.
pub(super) fn held_out_loss(metrics: &[Metric]) -> BTreeMap<String, Vec<Point>> {
    let mut lines = BTreeMap::new();
    for report in evaluations(metrics) {
        if let Some(&loss) = report.values.get("loss") {
            add(&mut lines, report.name.clone(), (report.step as f64, loss));
        }
    }
    lines
}

/// Every result of an evaluation that is a share, such as attribute accuracy.
pub(super) fn held_out_shares(metrics: &[Metric]) -> BTreeMap<String, Vec<Point>> {
    let mut lines = BTreeMap::new();
    for report in evaluations(metrics) {
        for (name, &share) in report.values.iter().filter(|(name, _)| is_share(name)) {
            add(&mut lines, format!("{} {name}", report.name), (report.step as f64, share));
        }
    }
    lines
}

/// By how much better answers are ahead in every evaluation, and what of that the media make.
pub(super) fn held_out_margins(metrics: &[Metric]) -> BTreeMap<String, Vec<Point>> {
    let mut lines = BTreeMap::new();
    for report in evaluations(metrics) {
        for (name, title) in [("rewards/margins", "margin"), ("rewards/image_gap", "image gap")] {
            if let Some(&value) = report.values.get(name) {
                add(&mut lines, format!("{} {title}", report.name), (report.step as f64, value));
            }
        }
    }
    lines
}

fn add(lines: &mut BTreeMap<String, Vec<Point>>, name: String, point: Point) {
    if drawable(&point) {
        lines.entry(name).or_default().push(point);
    }
}

fn steps(metrics: &[Metric]) -> impl Iterator<Item = &StepReport> {
    metrics.iter().filter_map(|metric| if let Metric::Train(report) = metric { Some(report) } else { None })
}

fn evaluations(metrics: &[Metric]) -> impl Iterator<Item = &EvalReport> {
    metrics.iter().filter_map(|metric| if let Metric::Eval(report) = metric { Some(report) } else { None })
}

fn drawable(point: &Point) -> bool {
    point.1.abs() < LARGEST
}

/// An exponential moving average with the bias of its start taken out (Kingma and Ba 2014, section 3).
///
/// It reaches over about half the root of the number of points: long lines are averaged over more of them, and
/// still over a smaller part of the line, so that it does not trail behind.
pub(super) fn smoothed(points: &[Point]) -> Vec<Point> {
    let keep = 1.0 - 1.0 / (0.5 * (points.len() as f64).sqrt()).max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let smooth = |&(step, value): &Point| {
        sum = keep * sum + (1.0 - keep) * value;
        weight = keep * weight + (1.0 - keep);
        (step, sum / weight)
    };
    points.iter().map(smooth).collect()
}

/// At most about `most` points: of each stretch its lowest and its highest, so that spikes stay.
pub(super) fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretches = points.chunks(points.len().div_ceil(most.div_ceil(2)));
    let mut kept: Vec<Point> = stretches.flat_map(ends).collect();
    kept.dedup();
    kept
}

/// The lowest and the highest point, in the order of the steps.
fn ends(stretch: &[Point]) -> impl Iterator<Item = Point> {
    let by_value = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
    let (low, high) = (stretch.iter().min_by(by_value), stretch.iter().max_by(by_value));
    let in_order = low.map(|point| point.0) <= high.map(|point| point.0);
    let (first, second) = if in_order { (low, high) } else { (high, low) };
    first.into_iter().chain(second).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_starts_at_the_first_value_and_keeps_a_constant() {
        let noisy: Vec<Point> = (0..300).map(|step| (f64::from(step), 5.0 + f64::from(step % 2))).collect();
        let smooth = smoothed(&noisy);
        assert_eq!(smooth[0], (0.0, 5.0));
        assert!((smooth[299].1 - 5.5).abs() < 0.1, "{:?}", smooth[299]);
        assert_eq!(smoothed(&[(1.0, 2.0)]), [(1.0, 2.0)]);
    }

    #[test]
    fn thinning_keeps_the_ends_of_the_range() {
        let mut points: Vec<Point> = (0..10_000).map(|step| (f64::from(step), f64::from(step % 7))).collect();
        points[5000].1 = 99.0;
        points[5001].1 = -99.0;
        let thin = thinned(&points, 400);
        assert!(thin.len() <= 402, "{}", thin.len());
        assert!(thin.contains(&points[5000]) && thin.contains(&points[5001]));
        assert!(thin.is_sorted_by(|a, b| a.0 < b.0));
    }
}
