//! What was put where a run works and is not its own.

use std::os::unix::ffi::OsStrExt;

use crate::support::Place;

const RUN: &str = "pretrain --config tiny.toml -q --set train.steps=4 --set checkpoint.every=2 --run-dir run";

/// A run with checkpoints at steps 2 and 4.
fn finished() -> Place {
    let place = Place::new();
    place.ok(RUN);
    place
}

#[test]
fn weights_that_no_manifest_vouches_for_are_not_read() {
    let place = finished();
    let step = place.path("run/step-00000004");
    fs_err::copy(place.path("run/step-00000002/model.safetensors"), step.join("evil.safetensors")).expect("copied");
    place.fails("doctor run", 4, &[]);
    fs_err::write(step.join("model.safetensors.index.json"), br#"{"weight_map":{}}"#).expect("written");
    let done = place.run("pretrain --resume run");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("passed over `step-00000004`: `"), "{}", done.stderr);
    assert!(done.stderr.contains("step 2"), "it goes on from the one before: {}", done.stderr);
}

#[test]
fn a_damaged_run_json_is_blamed_itself() {
    let place = finished();
    let text = String::from_utf8(place.read("run/run.json")).expect("UTF-8");
    let id = text.split("\"id\": \"").nth(1).and_then(|rest| rest.chars().next()).expect("an id");
    let other = if id == 'z' { 'y' } else { 'z' };
    place.edit("run/run.json", &format!("\"id\": \"{id}"), &format!("\"id\": \"{other}"));
    place.fails(
        "pretrain --resume run",
        4,
        &["another run than `run.json` says", "hint:", "`run.json` is what is damaged"],
    );
    let doctor = place.run("doctor run");
    assert!(
        doctor.code == 4 && doctor.stdout.contains("rm run/run.json && mmtrain pretrain --resume run"),
        "{}",
        doctor.stdout
    );
    fs_err::remove_file(place.path("run/run.json")).expect("removed");
    place.ok("pretrain --resume run -q --set train.steps=6");
}

#[test]
fn a_directory_of_something_else_is_not_written_over() {
    let place = finished();
    place.write("other/config.json", b"{}");
    place.fails(&RUN.replace("--run-dir run", "--run-dir other"), 4, &["`other` holds no run", "config.json", "hint:"]);
    assert_eq!(place.read("other/config.json"), b"{}");
    place.fails(
        "eval --model run --data data --limit 2 --output run/step-00000004/state.json",
        4,
        &["in a checkpoint"],
    );
    place.ok("doctor run");
}

#[test]
fn a_run_goes_on_in_its_own_stage() {
    let place = finished();
    place.fails(
        "sft --resume run",
        2,
        &["is a run of `pretrain`", "hint:", "mmtrain pretrain --resume run", "--init run"],
    );
}

#[test]
fn a_run_directory_has_a_name_that_can_be_written_down() {
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"b\xff");
    let mut command = place.command("pretrain --config tiny.toml -q --set train.steps=2 --run-dir");
    let done = command.arg(name).output().expect("runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(2) && said.contains("not UTF-8") && said.contains("hint:"), "{said}");
    assert!(!place.path("").join(name).exists());
}
