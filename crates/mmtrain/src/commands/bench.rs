//! `mmtrain bench`: how fast this machine trains and answers.

use std::num::NonZeroUsize;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use mmtrain_bench::{Place, Row, Set, Size, measure};
use serde_json::{Value, json};

use super::{Context, note, print, print_json};
use crate::cli::BenchArgs;
use crate::fail::Refusal;
use crate::setup;

/// The row that others are compared with.
const GEMM: &str = "gemm";

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
    let mut measured = Vec::new();
    for row in rows {
        if !context.quiet {
            note(&format!("{} …", row.name));
        }
        measured.push(in_a_process(context, args, row)?);
    }
    if args.json {
        print_json(&measured)?;
    } else {
        print(&table(&measured))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    if args.json {
        let rows =
            Row::ALL.iter().map(|row| json!({"row": row.name, "about": row.about, "usual": row.set == Set::Usual}));
        print_json(&rows.collect::<Vec<_>>())?;
    } else {
        let lines = Row::ALL.iter().map(|row| format!("{:<20} {}", row.name, row.about));
        print(&lines.collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(names: &[String]) -> anyhow::Result<Vec<Row>> {
    if names.is_empty() {
        return Ok(Row::of(Set::Usual).collect());
    }
    let known = || Row::ALL.map(|row| row.name).join(", ");
    let row = |name: &String| {
        Row::from_name(name).ok_or_else(|| Refusal::usage(format!("no row `{name}`"), format!("rows: {}", known())))
    };
    Ok(names.iter().map(row).collect::<Result<_, _>>()?)
}

fn one(context: &Context, args: &BenchArgs, row: Row) -> anyhow::Result<Value> {
    let device = context.device.open()?;
    if device.is_cpu() && row.set == Set::Gpu && !args.small {
        let hint = "`--small` tries it here, without a figure that says anything; `--device cuda` measures it";
        return Err(Refusal::usage(format!("row `{}` is of a size for GPUs", row.name), hint.to_owned()).into());
    }
    let ranks = args.ranks.map_or(if device.is_cpu() { setup::cores() } else { 1 }, NonZeroUsize::get);
    let size = if args.small { Size::Small } else { Size::Whole };
    let place = Place { device: device.device.clone(), ranks, size };
    let measured = measure(row, &place, args.warmup, args.steps.get())?;
    Ok(json!({
        "row": row.name,
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
    command.args(["--quiet", "--device", &context.device.to_string(), "bench", row.name, "--json"]);
    command.args(["--steps", &args.steps.to_string(), "--warmup", &args.warmup.to_string()]);
    if args.small {
        command.arg("--small");
    }
    if let Some(ranks) = args.ranks {
        command.args(["--ranks", &ranks.to_string()]);
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("`{}` ended with {}", row.name, output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what `{}` measured", row.name))
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
        let is_product = row["row"].as_str().is_some_and(|name| name.starts_with(GEMM));
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
