//! `mmtrain data check`

use std::process::ExitCode;

use mmtrain_data::hints::hint;
use mmtrain_data::{CheckReport, Skip, check};
use serde_json::Value;

use super::view::View;
use crate::cli::DataArgs;
use crate::commands::{print, print_json};
use crate::fail::DATA;
use crate::terminal::one_line;

/// How many bad samples and shards are named for each reason without `--json`.
const SHOWN_CASES: usize = 3;

/// Prepares every sample, those that a configuration holds out too; data with something wrong end with the exit code of data.
pub(super) fn run(args: &DataArgs) -> anyhow::Result<ExitCode> {
    let view = View::open(args)?;
    let mut total = CheckReport::default();
    let held_out = if args.data.is_none() { view.held_out()? } else { Vec::new() };
    for source in view.sources.iter().chain(&held_out) {
        total.merge(check(source, &view.of_run, args.limit)?);
    }
    if args.json {
        print_json(&with_hints(&total)?)?;
    } else {
        print(&text(&total))?;
    }
    let clean = total.bad == 0 && total.problems.is_empty();
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(DATA) })
}

/// The report, and what to do about each reason.
fn with_hints(report: &CheckReport) -> serde_json::Result<Value> {
    let mut json = serde_json::to_value(report)?;
    json["hints"] = report.reasons.keys().map(|reason| (reason.clone(), Value::from(hint(reason)))).collect();
    Ok(json)
}

fn text(report: &CheckReport) -> String {
    let mut lines = vec![format!("ok   {}", report.ok), format!("bad  {}", report.bad)];
    lines.extend(report.fitted.iter().map(|(how, count)| format!("{count:>7}  made to fit: {how}")));
    for (reason, count) in &report.reasons {
        lines.push(format!("\n{count:>7}  {reason}"));
        lines.push(format!("         hint: {}", hint(reason)));
        lines.extend(cases(report, reason, *count));
    }
    lines.join("\n")
}

/// The first cases of a reason, and how many there are beyond.
fn cases(report: &CheckReport, reason: &str, count: usize) -> Vec<String> {
    let samples = report.left_out.iter().filter(|skip| skip.reason == reason).map(sample);
    let shards = report.problems.iter().filter(|problem| problem.reason == reason).map(ToString::to_string);
    let mut lines: Vec<_> =
        samples.chain(shards).take(SHOWN_CASES).map(|case| format!("         {}", one_line(&case))).collect();
    if count > SHOWN_CASES {
        lines.push(format!("         and {} more (all of them with `--json`)", count - SHOWN_CASES));
    }
    lines
}

fn sample(skip: &Skip) -> String {
    format!("{}: {}", skip.id, skip.detail)
}

#[cfg(test)]
mod tests {
    use mmtrain_data::SampleId;

    use serde_json::json;

    use super::*;

    fn report(bad: usize) -> CheckReport {
        let id = |index| SampleId { source: "s".into(), shard: "a.json".into(), key: format!("{index}"), index };
        let skip = |index| Skip { id: id(index), reason: "too_long".into(), detail: "70 tokens".into() };
        CheckReport {
            ok: 5,
            bad,
            reasons: [("too_long".to_owned(), bad)].into(),
            left_out: (0..bad).map(skip).collect(),
            ..CheckReport::default()
        }
    }

    #[test]
    fn each_reason_comes_with_its_count_a_hint_and_its_first_cases() {
        let text = text(&report(5));
        assert!(text.starts_with("ok   5\nbad  5\n\n      5  too_long\n         hint: raise `data.max_seq`"), "{text}");
        assert_eq!(text.matches(": 70 tokens").count(), SHOWN_CASES);
        assert!(text.ends_with("and 2 more (all of them with `--json`)"), "{text}");
    }

    #[test]
    fn json_keeps_every_case_and_adds_hints() {
        let json = with_hints(&report(5)).expect("JSON");
        assert_eq!(
            (json["ok"].clone(), json["bad"].clone(), json["reasons"]["too_long"].clone()),
            (json!(5), json!(5), json!(5))
        );
        assert_eq!(json["left_out"].as_array().map(Vec::len), Some(5));
        assert!(json["hints"]["too_long"].as_str().is_some_and(|hint| hint.contains("max_seq")));
    }
}
