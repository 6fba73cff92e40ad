//! `mmtrain bench`: how fast this machine trains and answers.

use std::num::NonZeroUsize;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use mmtrain_bench::{Amount, Place, Row, RowError, Set, Size, measure};
use serde_json::{Value, json};

use super::{Context, note, print, print_json};
use crate::cli::BenchArgs;
use crate::fail::Refusal;
use crate::setup;

/// The row that others are compared with.
const GEMM: &str = "gemm";
/// How the names of products begin, a token of which is 10⁹ operations.
const PRODUCTS: [&str; 2] = [GEMM, "linear"];

/// Runs the command.
pub(crate) fn run(context: &Context, args: &BenchArgs) -> anyhow::Result<ExitCode> {
    if args.list {
        return listed(args);
    }
    let rows = rows(&args.rows)?;
    if let ([row], true) = (rows.as_slice(), args.json) {
        print_json(&one(context, args, *row)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut measured, mut failed) = (Vec::new(), 0);
    for row in rows {
        if !context.quiet {
            note(&format!("{row} …"));
        }
        // What is measured stays, whatever becomes of the others; a row has said itself why it failed.
        match in_a_process(context, args, row) {
            Ok(found) => measured.push(found),
            Err(error) => {
                note(&format!("error: {error:#}"));
                failed += 1;
            }
        }
    }
    if args.json {
        print_json(&measured)?;
    } else {
        print(&table(&measured))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn listed(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    if args.json {
        let json_of = |row: &Row| {
            let amount = row.amount().map(|Amount { what, usual, .. }| json!({ "of": what, "usual": usual }));
            json!({ "row": row.name, "about": row.about, "usual": row.set == Set::Usual, "amount": amount })
        };
        print_json(&Row::ALL.iter().map(json_of).collect::<Vec<_>>())?;
    } else {
        let line = |row: &Row| match row.amount() {
            Some(Amount { what, usual, .. }) => {
                format!("{:<22} {}; N {what}, usually {usual}", format!("{}[:N]", row.name), row.about)
            }
            None => format!("{:<22} {}", row.name, row.about),
        };
        print(&Row::ALL.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(names: &[String]) -> anyhow::Result<Vec<Row>> {
    if names.is_empty() {
        return Ok(Row::of(Set::Usual).collect());
    }
    let hint = |error: &RowError| match error {
        RowError::Unknown(_) => format!("rows: {}", Row::ALL.map(|row| row.name).join(", ")),
        RowError::Fixed(row) => {
            format!("`mmtrain bench {row}`; those that `mmtrain bench --list` shows with [:N] take one")
        }
        RowError::Amount { row, .. } => format!("such as `{row}:16`; `mmtrain bench --list` says what is usual"),
    };
    let row = |name: &String| name.parse().map_err(|error: RowError| Refusal::usage(error.to_string(), hint(&error)));
    Ok(names.iter().map(row).collect::<Result<_, _>>()?)
}

fn one(context: &Context, args: &BenchArgs, row: Row) -> anyhow::Result<Value> {
    let device = context.device.open()?;
    if device.is_cpu() && row.set == Set::Gpu && !args.small {
        let hint = "`--small` tries it here, without a figure that says anything; `--device cuda` measures it";
        return Err(Refusal::usage(format!("row `{row}` is of a size for GPUs"), hint.to_owned()).into());
    }
    let ranks = args.ranks.map_or(if device.is_cpu() { setup::cores() } else { 1 }, NonZeroUsize::get);
    let size = if args.small { Size::Small } else { Size::Whole };
    let place = Place { device: device.device.clone(), ranks, size };
    let measured = measure(row, &place, args.warmup, args.steps.get())?;
    Ok(json!({
        "row": row.to_string(),
        "device": device.name,
        "ranks": ranks,
        "small": args.small,
        "seconds": measured.seconds,
        "median_seconds": measured.median(),
        "tokens": measured.tokens,
        "tokens_per_second": measured.tokens_per_second(),
        "gflops": measured.gflops(),
        "peak_bytes": measured.peak_bytes,
        "device_bytes": measured.device_bytes,
    }))
}

/// The row measured by a process of its own, so that its peak memory is its own.
fn in_a_process(context: &Context, args: &BenchArgs, row: Row) -> anyhow::Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--quiet", "--device", &context.device.to_string(), "bench", &row.to_string(), "--json"]);
    command.args(["--steps", &args.steps.to_string(), "--warmup", &args.warmup.to_string()]);
    if args.small {
        command.arg("--small");
    }
    if let Some(ranks) = args.ranks {
        command.args(["--ranks", &ranks.to_string()]);
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("`{row}` ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what `{row}` measured"))
}

fn table(measured: &[Value]) -> String {
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or(f64::NAN);
    let product = measured.iter().find(|row| row["row"] == GEMM).map(|row| number(row, "gflops"));
    let mut lines = vec![format!(
        "{:<20} {:>10} {:>12} {:>9} {:>8} {:>9}",
        "row", "step", "tokens/s", "GFLOP/s", "of gemm", "peak"
    )];
    for row in measured {
        let gflops = number(row, "gflops");
        let share = product.filter(|_| gflops > 0.0);
        let share = share.map_or_else(String::new, |product| format!("{:.0} %", 100.0 * gflops / product));
        let is_product =
            row["row"].as_str().is_some_and(|name| PRODUCTS.iter().any(|product| name.starts_with(product)));
        let tokens = if is_product { "–".to_owned() } else { format!("{:.1}", number(row, "tokens_per_second")) };
        lines.push(format!(
            "{:<20} {:>8.1} ms {tokens:>12} {:>9.1} {share:>8} {:>5.0} MiB",
            row["row"].as_str().unwrap_or_default(),
            1e3 * number(row, "median_seconds"),
            gflops,
            number(row, "peak_bytes") / f64::from(1 << 20),
        ));
    }
    lines.join("\n")
}
