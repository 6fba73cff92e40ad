//! `mmtrain data stats`

use std::process::ExitCode;

use mmtrain_data::{DataStats, Histogram, stats};
use serde_json::{Map, Value};

use super::view::View;
use crate::cli::StatsArgs;
use crate::commands::{note, print, print_json, write_output};
use crate::report::histogram_png;
use crate::setup;

/// Width of the longest bar, in characters.
const BAR: u64 = 50;

/// Prints figures of each source, and draws the lengths of all.
pub(super) fn run(args: &StatsArgs) -> anyhow::Result<ExitCode> {
    let view = View::open(&args.data)?;
    setup::warn_of_shards(&view.mixture);
    let named = view
        .sources
        .iter()
        .map(|source| (source.name().to_owned(), stats(source.as_ref(), &view.preparer, args.data.limit)));
    let named = named.collect::<Vec<_>>();
    if let Some(path) = &args.png {
        let histograms: Vec<_> = named.iter().map(|(name, stats)| (name.as_str(), &stats.seq_histogram)).collect();
        write_output(path, &histogram_png("tokens per sample", &histograms)?)?;
        note(&format!("drawn: `{}`", path.display()));
    }
    if args.data.json {
        let all = named.iter().map(|(name, stats)| Ok((name.clone(), serde_json::to_value(stats)?)));
        print_json(&all.collect::<serde_json::Result<Map<_, _>>>()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, stats) in &named {
        print(&format!("{name}\n{}\n{}", figures(stats)?, bars(&stats.seq_histogram)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn figures(stats: &DataStats) -> serde_json::Result<String> {
    let value = serde_json::to_value(stats)?;
    let shown = value.as_object().into_iter().flatten().filter(|(key, _)| *key != "seq_histogram");
    let lines = shown.map(|(key, value)| format!("  {key:<18} {}", figure(value)));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn figure(value: &Value) -> String {
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    match (number("min"), number("mean"), number("max")) {
        (Some(min), Some(mean), Some(max)) => format!("{min} to {max}, mean {mean:.1}"),
        _ => {
            value.as_f64().filter(|value| value.fract() != 0.0).map_or(value.to_string(), |value| format!("{value:.3}"))
        }
    }
}

/// A bar for each range of lengths.
fn bars(histogram: &Histogram) -> String {
    let most = histogram.counts.iter().max().copied().unwrap_or(0).max(1);
    let lines = histogram.bars().map(|(start, count)| {
        let bar = "█".repeat((count * BAR).div_ceil(most) as usize);
        format!("  {start:>7} {bar}{}{count}", if count > 0 { " " } else { "" })
    });
    let head = format!("  tokens per sample, bars of {}", histogram.width);
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_length_has_the_longest_bar() {
        let lengths = [vec![10; 8], vec![12; 4], vec![13]].concat();
        let text = bars(&Histogram::of(&lengths));
        let widths: Vec<_> = text.lines().skip(1).map(|line| line.matches('█').count()).collect();
        assert_eq!(widths, [50, 0, 25, 7]);
        assert!(text.lines().nth(1).is_some_and(|line| line.trim_start().starts_with("10 ") && line.ends_with(" 8")));
    }

    #[test]
    fn spreads_and_shares_are_short() {
        assert_eq!(figure(&serde_json::json!({ "count": 2, "min": 1, "mean": 1.25, "max": 3 })), "1 to 3, mean 1.2");
        assert_eq!(figure(&serde_json::json!(0.123_456)), "0.123");
        assert_eq!(figure(&serde_json::json!(7)), "7");
    }
}
