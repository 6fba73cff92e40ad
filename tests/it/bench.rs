//! `mmtrain bench` measures fixed workloads.

use serde_json::Value;

use crate::support::Place;

#[test]
fn a_row_is_measured_as_often_as_asked_for() {
    let done = Place::new().ok("bench gemm --steps 3 --json");
    let row: Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    assert_eq!((row["row"].as_str(), row["device"].as_str()), (Some("gemm"), Some("cpu")));
    assert_eq!(row["seconds"].as_array().map(Vec::len), Some(3));
    assert!(
        ["gflops", "median_seconds", "peak_bytes"].iter().all(|key| row[*key].as_f64().is_some_and(|x| x > 0.0)),
        "{row}"
    );
}

/// Each in a process of its own; all rows, which take a minute, with `MMTRAIN_SLOW=1`.
#[test]
fn rows_make_a_table_beside_the_matrix_product() {
    let all = [
        "gemm",
        "decoder",
        "gemm_linear",
        "gemm_256",
        "gemm_512",
        "gemm_1024",
        "gemm_mlp",
        "vit",
        "vlm",
        "lora",
        "dpo",
        "prefill",
        "decode",
        "prefill_qwen2",
        "decode_qwen2",
        "pictures",
        "checkpoint",
    ];
    let rows = if std::env::var_os("MMTRAIN_SLOW").is_some() { &all[..] } else { &all[..2] };
    let done = Place::new().ok(&format!("bench {} --steps 1 --warmup 0 -q", rows.join(" ")));
    let lines = done.stdout.lines().skip(1).collect::<Vec<_>>();
    assert_eq!(lines.len(), rows.len(), "{}", done.stdout);
    for (row, line) in rows.iter().zip(lines) {
        assert!(line.starts_with(row) && !line.contains("NaN"), "{line}");
        assert!(line.contains('%') || ["pictures", "checkpoint"].contains(row), "{line}");
    }
}

#[test]
fn a_row_for_gpus_is_tried_in_small_on_a_cpu() {
    let refused = Place::new().run("bench nanovlm --json");
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("`nanovlm`") && refused.stderr.contains("--small"), "{}", refused.stderr);
    let done = Place::new().ok("bench nanovlm --small --steps 1 --warmup 0 --json");
    let row: Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    assert_eq!((row["small"].as_bool(), row["tokens"].as_f64()), (Some(true), Some(256.0)));
    assert!(row["gflops"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
}

#[test]
fn rows_are_listed_with_what_they_do() {
    let done = Place::new().ok("bench --list");
    assert!(done.stdout.lines().count() > 30, "{}", done.stdout);
    let decoder = done.stdout.lines().find(|line| line.starts_with("decoder[:N] ")).expect("it is among them");
    assert!(decoder.contains("rows of 256 tokens; N rows, usually 4"), "{decoder}");
    let listed: Value = serde_json::from_str(&Place::new().ok("bench --list --json").stdout).expect("JSON");
    let amount = listed.as_array().and_then(|rows| rows.iter().find(|row| row["row"] == "vit"));
    assert_eq!(
        amount.map(|row| (&row["amount"]["of"], &row["amount"]["usual"])),
        Some((&"pictures".into(), &8.into()))
    );
}

#[test]
fn a_row_has_as_many_rows_as_stand_behind_its_name() {
    let done = Place::new().ok("bench attention_7b:64 --small --steps 1 --warmup 0 --json");
    let row: Value = serde_json::from_str(&done.stdout).expect("one JSON object");
    assert_eq!((row["row"].as_str(), row["tokens"].as_f64()), (Some("attention_7b:64"), Some(64.0)));
    for (row, said) in [("gemm:2", "one size"), ("vit:0", "no number of pictures"), ("vit:", "no number of pictures")] {
        Place::new().fails(&format!("bench {row}"), 2, &[said, "hint:"]);
    }
}

#[test]
fn an_unknown_row_is_refused_with_those_there_are() {
    let done = Place::new().run("bench gemm transformer");
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("no row `transformer`") && done.stderr.contains("decoder, vit, vlm"),
        "{}",
        done.stderr
    );
    assert_eq!(Place::new().run("bench gemm --steps 0").code, 2);
}
