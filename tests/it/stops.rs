//! Signals that stop a run, in whatever it is busy with; and a run in which nothing moves any more.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::sounds::{has_ffmpeg, place_like};
use crate::support::{Place, checkpoints};

const RUN: &str = "pretrain --config tiny.toml -q";
const ENDLESS: &str = "pretrain --config tiny.toml -q --set train.steps=100000 --set checkpoint.every=0";

/// Sends a signal, and says how the process ended and after how long.
fn ended_by(mut child: Child, signal: &str) -> (Option<i32>, Duration) {
    let sent = Instant::now();
    Place::signal(&child, signal);
    (child.wait().expect("waits").code(), sent.elapsed())
}

/// Waits until `is_so`.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5));
    }
}

fn lines(place: &Place, run: &str) -> usize {
    if place.path(&format!("{run}/metrics.jsonl")).exists() { place.metrics(run).len() } else { 0 }
}

#[test]
fn sigterm_saves_and_exits_75() {
    let place = Place::new();
    let child = place.start_long(place.command(&format!("{ENDLESS} --run-dir run")));
    assert_eq!(ended_by(child, "TERM").0, Some(75));
    assert_eq!(checkpoints(&place.path("run")).len(), 1);
}

#[test]
fn two_signals_in_one_moment_are_one() {
    let place = Place::new();
    let child = place.start(&format!("{ENDLESS} --run-dir run"));
    until("no start", || place.path("run/metrics.jsonl").exists());
    // As coreutils' `timeout` does: one to the process, one to its group.
    Place::signal(&child, "TERM");
    assert_eq!(ended_by(child, "TERM").0, Some(75));
    assert_eq!(checkpoints(&place.path("run")).len(), 1);
}

/// A step of ten thousand micro-batches would take minutes.
#[test]
fn a_signal_in_the_midst_of_a_step_drops_the_step() {
    let place = Place::new();
    let child = place.start(&format!("{RUN} --set train.global_batch_size=20000 --run-dir run"));
    until("no start", || place.path("run/metrics.jsonl").exists());
    sleep(Duration::from_millis(1500)); // by now its data are there
    let (code, took) = ended_by(child, "TERM");
    assert_eq!(code, Some(75));
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(checkpoints(&place.path("run")), ["step-00000000"]);
}

/// One that is dropped is made by who goes on: neither numbers nor weights tell that there was a signal.
#[test]
fn a_signal_in_the_midst_of_an_evaluation_leaves_the_evaluation_to_the_next_start() {
    for (steps, at) in [(12, 4), (4, 4)] {
        let place = Place::new();
        let run = format!("{RUN} --set train.steps={steps} --set train.eval_every=4");
        place.ok(&format!("{run} --run-dir whole"));
        // Thousands of tokens for each of its samples.
        let child = place.start(&format!("{run} --run-dir cut --set eval.generate=8 --set eval.max_new_tokens=100000"));
        until("no step", || lines(&place, "cut") == at);
        sleep(Duration::from_millis(50));
        let (code, took) = ended_by(child, "INT");
        assert_eq!(code, Some(75));
        assert!(took < Duration::from_secs(10), "{took:?}");
        let cut = place.metrics("cut");
        assert!(cut.len() == at && cut.iter().all(|line| line["kind"] == "train"), "{cut:?}");
        assert!(!place.path("cut/finished").exists());
        place.ok("pretrain --resume cut -q --set eval.generate=2 --set eval.max_new_tokens=8");
        assert!(place.final_state("cut", steps) == place.final_state("whole", steps));
        assert!(place.path("cut/finished").exists());
        let evaluations = |run: &str| place.metrics(run).into_iter().filter(|line| line["kind"] == "eval").collect();
        let (cut, whole): (Vec<_>, Vec<_>) = (evaluations("cut"), evaluations("whole"));
        assert_eq!(cut, whole);
    }
}

/// What is the best decides what comes later, so such an evaluation is made to its end.
#[test]
fn a_signal_in_an_evaluation_that_may_be_the_best_waits_for_it() {
    let place = Place::new();
    let run = format!("{RUN} --set train.eval_every=4 --set checkpoint.best.metric=loss --set eval.generate=8");
    place.ok(&format!("{run} --run-dir whole --set eval.max_new_tokens=8"));
    let child = place.start(&format!("{run} --run-dir cut --set eval.max_new_tokens=2000"));
    until("no step", || lines(&place, "cut") == 4);
    assert_eq!(ended_by(child, "TERM").0, Some(75));
    assert_eq!(place.metrics("cut").last().expect("lines")["kind"], "eval");
    place.ok("pretrain --resume cut -q --set eval.max_new_tokens=8");
    assert!(place.final_state("cut", 12) == place.final_state("whole", 12));
}

/// Checkpoints that were removed are not taken for a run that has not begun.
#[test]
fn a_run_whose_checkpoints_are_gone_does_not_begin_anew() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    let metrics = place.read("run/metrics.jsonl");
    for step in checkpoints(&place.path("run")) {
        fs_err::remove_dir_all(place.path("run").join(step)).expect("removed");
    }
    place.fails("pretrain --resume run -q", 4, &["`step-00000012`: `latest` names it, and it is gone"]);
    assert_eq!(place.read("run/metrics.jsonl"), metrics);
    let done = place.exits("doctor run", 4);
    assert!(done.stdout.contains("there is no checkpoint any more"), "{}", done.stdout);
}

/// Killed after its last save, before it was written down that it is finished.
#[test]
fn a_run_that_made_all_its_steps_is_finished_by_the_next_start() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    let expected = place.final_state("run", 12);
    for file in ["finished", "report.html"] {
        fs_err::remove_file(place.path("run").join(file)).expect("removed");
    }
    place.ok("pretrain --resume run -q");
    assert!(place.final_state("run", 12) == expected);
    let entries = place.entries("run");
    assert!(entries.contains(&"finished".to_owned()) && entries.contains(&"report.html".to_owned()), "{entries:?}");
    // Killed while an old checkpoint was removed: a start that has nothing else to do clears that up.
    fs_err::create_dir(place.path("run/.trash-step-00000004")).expect("made");
    place.ok("pretrain --resume run -q");
    assert_eq!(place.entries("run"), entries);
}

/// A place with clips, and an ffmpeg that never answers once it is asked for frames.
fn place_with_a_reader_that_hangs() -> Place {
    let place = place_like("msr-vtt", "[data.video]\nsampling = 'uniform'\nframes = 2\n");
    place.ok("pretrain --config other.toml --run-dir first -q --set train.steps=1");
    for program in ["ffmpeg", "ffprobe"] {
        let script = "#!/bin/sh\ncase \"$*\" in *-version) echo version 6 ;; *) exec sleep 100 ;; esac\n";
        place.write(&format!("bin/{program}"), script.as_bytes());
        let path = place.path(&format!("bin/{program}"));
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("may be run");
    }
    place
}

fn start_in(place: &Place, args: &str) -> Child {
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut command: Command = place.command(args);
    command.env("PATH", path).stderr(std::process::Stdio::piped()).spawn().expect("starts")
}

#[test]
fn a_run_in_which_nothing_moves_ends_with_a_code_of_its_own() {
    if !has_ffmpeg() {
        return;
    }
    let place = place_with_a_reader_that_hangs();
    let started = Instant::now();
    let child = start_in(&place, "pretrain --config other.toml --run-dir run -q --set train.hang_secs=2");
    let done = child.wait_with_output().expect("waits");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(6), "{said}");
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    for word in ["nothing has moved for 2 s", "\n    mmtrain: ", "hint:", "`train.hang_secs`"] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
}

#[test]
fn a_second_signal_ends_at_once_with_a_code_of_its_own() {
    if !has_ffmpeg() {
        return;
    }
    let place = place_with_a_reader_that_hangs();
    let mut child = start_in(&place, "pretrain --config other.toml --run-dir run -q");
    until("no start", || place.path("run/config.toml").exists());
    let deadline = Instant::now() + Duration::from_mins(1);
    // Two that come before the first is handled count as one, so they are sent until it ends.
    while child.try_wait().expect("waits").is_none() {
        assert!(Instant::now() < deadline, "no end");
        Place::signal(&child, "TERM");
        sleep(Duration::from_millis(700)); // signals closer together count as one
    }
    assert_eq!(child.wait().expect("waits").code(), Some(128 + 15), "not 75: nothing was saved");
    assert_eq!(checkpoints(&place.path("run")), [""; 0]);
}
