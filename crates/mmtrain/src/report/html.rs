//! The page: head with figures, curves, ledger, held-out samples, configuration.

use std::collections::BTreeMap;

use super::chart::{Chart, Line, Look, Values, figure};
use super::medium::element;
use super::series::{self, Point};
use super::text::{escaped, grouped, percent, push};
use super::{LedgerRow, ReportInput, ShownSample};
use crate::run_dir::Ancestor;

/// Nothing may be loaded or run, whatever a caption holds.
const POLICY: &str = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'";
const STYLE: &str = include_str!("page.css");
/// Tiles side by side.
const MOST_COLUMNS: usize = 5;
const WIDE: (f64, f64) = (1120.0, 330.0);
const HALF: (f64, f64) = (550.0, 250.0);

/// The whole page.
pub(super) fn page(input: &ReportInput) -> String {
    let mut html = head(input);
    html.push_str(&tiles(input.summary));
    html.push_str(&curves(input));
    html.push_str(&samples(input.samples));
    html.push_str(&ledger(input.ledger));
    html.push_str(&lineage(input.lineage));
    html.push_str(&configuration(input.config_toml));
    push(
        &mut html,
        format_args!("<footer>mmtrain {}</footer>\n</main>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION")),
    );
    html
}

fn head(input: &ReportInput) -> String {
    let (run, stage) = (escaped(input.run_name), escaped(input.stage));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{run} · {stage}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header><p>{stage}</p><h1>{run}</h1></header>\n"
    )
}

fn tiles(summary: &[(String, String)]) -> String {
    if summary.is_empty() {
        return String::new();
    }
    let rows = summary.len().div_ceil(MOST_COLUMNS);
    let mut html = format!("<dl class=\"tiles\" style=\"--columns: {}\">\n", summary.len().div_ceil(rows));
    for (name, value) in summary {
        push(&mut html, format_args!("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped(name), escaped(value)));
    }
    html + "</dl>\n"
}

fn curves(input: &ReportInput) -> String {
    let mut html = String::from("<section>\n<h2>Training</h2>\n<div class=\"charts\">\n");
    html.push_str(&figure(&loss(input)));
    let shares = series::held_out_shares(input.metrics);
    if !shares.is_empty() {
        let lines = named(shares, Look::Dotted, 1);
        html.push_str(&figure(&chart("Held-out accuracy", "share of right answers", lines, Values::Shares)));
    }
    let margins = series::held_out_margins(input.metrics);
    if !margins.is_empty() {
        let lines = named(margins, Look::Dotted, 1);
        html.push_str(&figure(&chart(
            "Held-out margin",
            "reward of better less worse answers",
            lines,
            Values::Numbers,
        )));
    }
    let rates = named(series::learning_rates(input.metrics), Look::Strong, 0);
    html.push_str(&figure(&chart("Learning rate", "per trained part", rates, Values::Amounts)));
    let norms = noisy("gradient norm", series::train(input.metrics, |report| report.grad_norm));
    html.push_str(&figure(&chart("Gradient norm", "before clipping", norms, Values::Amounts)));
    let speed = noisy("samples/s", series::train(input.metrics, |report| report.samples_per_sec));
    html.push_str(&figure(&chart("Throughput", "samples per second", speed, Values::Amounts)));
    html + "</div>\n</section>\n"
}

fn loss(input: &ReportInput) -> Chart {
    let mut lines = noisy("training", series::train(input.metrics, |report| report.loss));
    lines.extend(named(series::held_out_loss(input.metrics), Look::Dotted, 1));
    Chart { title: "Loss", unit: "nats per token", lines, values: Values::Numbers, size: WIDE }
}

fn chart(title: &'static str, unit: &'static str, lines: Vec<Line>, values: Values) -> Chart {
    Chart { title, unit, lines, values, size: HALF }
}

/// A noisy line, pale, and its smoothed one.
fn noisy(label: &str, points: Vec<Point>) -> Vec<Line> {
    let smooth = series::smoothed(&points);
    let faint = Line { label: label.into(), points, look: Look::Faint, colour: 0 };
    let strong = Line { label: format!("{label}, smoothed"), points: smooth, look: Look::Strong, colour: 0 };
    vec![faint, strong]
}

fn named(lines: BTreeMap<String, Vec<Point>>, look: Look, first_colour: usize) -> Vec<Line> {
    let coloured = lines.into_iter().zip(first_colour..);
    coloured.map(|((label, points), colour)| Line { label: spaced(&label), points, look, colour }).collect()
}

/// `held_out attribute_accuracy` as `held out attribute accuracy`.
fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn samples(samples: &[ShownSample]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section>\n<h2>Held-out samples</h2>\n");
    html.push_str(&score(samples));
    html.push_str("<div class=\"samples\">\n");
    for sample in samples {
        html.push_str(&card(sample));
    }
    html + "</div>\n</section>\n"
}

fn score(samples: &[ShownSample]) -> String {
    let known: Vec<(u32, u32)> = samples.iter().filter_map(|sample| sample.correct).collect();
    let right: u64 = known.iter().map(|&(right, _)| u64::from(right)).sum();
    let total: u64 = known.iter().map(|&(_, total)| u64::from(total)).sum();
    if total == 0 {
        return String::new();
    }
    let share = percent(right as f64 / total as f64);
    format!("<p class=\"note\">{right} of {total} right in these {} samples ({share}).</p>\n", known.len())
}

fn card(sample: &ShownSample) -> String {
    let (id, target, generated) = (escaped(&sample.id), escaped(&sample.target), escaped(&sample.generated));
    let medium = element(&sample.medium, &format!("held-out medium {}", sample.id));
    let badge = sample.correct.map_or(String::new(), badge);
    let generated = if sample.generated.trim().is_empty() { "<em>nothing</em>".into() } else { generated };
    format!(
        "<article>\n{medium}\n<div>\n\
         <h3>generated{badge}</h3>\n<p dir=\"auto\">{generated}</p>\n\
         <h3>target</h3>\n<p dir=\"auto\" class=\"target\">{target}</p>\n<code>{id}</code>\n</div>\n</article>\n"
    )
}

fn badge((right, total): (u32, u32)) -> String {
    let class = if right == total { "right" } else { "partly" };
    format!("<span class=\"badge {class}\" title=\"attributes stated rightly\">{right}/{total}</span>")
}

fn ledger(rows: &[LedgerRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section>\n<h2>Trained parameters</h2>\n<div class=\"table\"><table>\n\
         <thead><tr><th>part</th><th>tuning</th><th>parameters</th><th>trained</th><th>share</th></tr></thead>\n\
         <tbody>\n",
    );
    for row in rows {
        html.push_str(&table_row(&row.part, &row.tuning, row.parameters, row.trained));
    }
    let sum = |count: fn(&LedgerRow) -> u64| rows.iter().map(count).sum();
    html.push_str("</tbody>\n<tfoot>\n");
    html.push_str(&table_row("total", "", sum(|row| row.parameters), sum(|row| row.trained)));
    html + "</tfoot>\n</table></div>\n</section>\n"
}

fn table_row(part: &str, tuning: &str, parameters: u64, trained: u64) -> String {
    let share = if parameters == 0 { "–".into() } else { percent(trained as f64 / parameters as f64) };
    let (part, tuning) = (escaped(part), escaped(tuning));
    let (parameters, trained) = (grouped(parameters), grouped(trained));
    format!("<tr><td>{part}</td><td>{tuning}</td><td>{parameters}</td><td>{trained}</td><td>{share}</td></tr>\n")
}

/// What the run began from, and what that began from.
fn lineage(ancestors: &[Ancestor]) -> String {
    if ancestors.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<section>\n<h2>Lineage</h2>\n<div class=\"table\"><table>\n\
         <thead><tr><th>stage</th><th>step</th><th>checkpoint</th><th>blake3</th></tr></thead>\n<tbody>\n",
    );
    for Ancestor { path, stage, step, hash } in ancestors {
        let (stage, step) = (stage.as_deref().unwrap_or("–"), step.map_or_else(|| "–".to_owned(), grouped));
        let (stage, path, hash) = (escaped(stage), escaped(&path.display().to_string()), escaped(hash));
        push(&mut html, format_args!("<tr><td>{stage}</td><td>{step}</td><td>{path}</td><td>{hash}</td></tr>\n"));
    }
    html + "</tbody>\n</table></div>\n</section>\n"
}

fn configuration(toml: &str) -> String {
    format!(
        "<section>\n<h2>Configuration</h2>\n<details><summary>Resolved <code>config.toml</code></summary>\n\
         <pre>{}</pre></details>\n</section>\n",
        escaped(toml)
    )
}
