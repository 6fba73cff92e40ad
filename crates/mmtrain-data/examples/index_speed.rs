//! How long it takes to index a large file of rows, how much memory that needs, and how long any row takes.
//!
//! `cargo run --release -p mmtrain-data --example index_speed [ROWS]`: a JSON array on one line, by default of a
//! million rows (300 MB), and the same rows as lines.

#![expect(clippy::print_stdout, reason = "figures for people")]

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use mmtrain_data::rows::{Json, Rows};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    for (name, frame, between) in [("array", ("[", "]"), ", "), ("lines", ("", "\n"), "\n")] {
        let file = dir.path().join(name);
        write(&file, rows, frame, between)?;
        measure(name, &file, rows)?;
        fs_err::remove_file(&file)?;
    }
    Ok(())
}

/// Rows in the shape of `LLaVA`'s, of some 300 bytes.
fn write(file: &Path, rows: usize, frame: (&str, &str), between: &str) -> std::io::Result<()> {
    let mut out = BufWriter::new(fs_err::File::create(file)?);
    write!(out, "{}", frame.0)?;
    for row in 0..rows {
        let separator = if row == 0 { "" } else { between };
        write!(
            out,
            r#"{separator}{{"id": "{row:09}", "image": "{:05}/{row:09}.jpg", "conversations": [{{"from": "human", "value": "Render a clear and concise summary of the photo.\n<image>"}}, {{"from": "gpt", "value": "two dogs run over the grass, the \"{row}\" of them in front, a lake and some trees far behind"}}]}}"#,
            row / 1000,
        )?;
    }
    writeln!(out, "{}", frame.1)
}

fn measure(name: &str, file: &Path, expected: usize) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = fs_err::metadata(file)?.len();
    let started = Instant::now();
    let rows = Json::open(file, &[])?;
    let indexed = started.elapsed();
    assert_eq!(rows.len(), expected, "rows found");
    let mut slowest = Duration::ZERO;
    for step in 0..1000 {
        let index = step * 7919 % rows.len();
        let started = Instant::now();
        let row = rows.row(index).map_err(|reject| reject.detail)?;
        slowest = slowest.max(started.elapsed());
        assert_eq!(row.get("id").as_str(), Some(format!("{index:09}").as_str()));
    }
    println!(
        "{name}: {expected} rows, {:.0} MB: indexed and hashed in {:.2} s ({:.0} MB/s), slowest of 1000 rows {:.2} ms, peak memory {} MiB",
        bytes as f64 / 1e6,
        indexed.as_secs_f64(),
        bytes as f64 / 1e6 / indexed.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
        peak_mib()?
    );
    Ok(())
}

/// The largest resident size of this process so far, in MiB.
fn peak_mib() -> std::io::Result<u64> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024)
}
