//! Whatever happens to a run, the next start goes on exactly.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Place, checkpoints};

const RUN: &str = "pretrain --config tiny.toml -q";

#[test]
fn a_run_resumed_at_any_checkpoint_ends_bit_identical() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir whole --set checkpoint.keep=0 --set checkpoint.every=1"));
    let expected = place.final_state("whole", 12);
    for step in [1, 5, 8, 11] {
        let part = format!("part-{step}");
        copy_until(&place, &part, step);
        place.ok(&format!("pretrain --resume {part} -q"));
        assert!(place.final_state(&part, 12) == expected, "resumed at step {step}");
        assert_eq!(place.losses(&part), place.losses("whole"), "resumed at step {step}");
    }
}

/// A copy of the whole run as it stood after `step`.
fn copy_until(place: &Place, part: &str, step: u64) {
    let (from, to) = (place.path("whole"), place.path(part));
    fs_err::create_dir_all(&to).expect("made");
    for entry in fs_err::read_dir(from).expect("a run") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("named").to_string_lossy().into_owned();
        let later = name.strip_prefix("step-").and_then(|digits| digits.parse::<u64>().ok()).is_some_and(|s| s > step);
        if path.is_dir() && name.starts_with("step-") && !later {
            fs_err::create_dir(to.join(&name)).expect("made");
            for file in fs_err::read_dir(&path).expect("a checkpoint") {
                let file = file.expect("entry").path();
                fs_err::copy(&file, to.join(&name).join(file.file_name().expect("named"))).expect("copied");
            }
        } else if path.is_file() && name != "finished" {
            fs_err::copy(&path, to.join(name)).expect("copied");
        }
    }
}

#[test]
fn killed_at_random_moments_it_still_ends_bit_identical() {
    let place = Place::new();
    let run = format!("{RUN} --set train.steps=60 --set checkpoint.every=3");
    place.ok(&format!("{run} --run-dir whole"));
    let mut kills = 0;
    for attempt in 0..8 {
        let mut child = place.start(&format!("{run} --resume killed"));
        sleep(Duration::from_millis(60 + 83 * attempt));
        if child.try_wait().expect("waits").is_none() {
            child.kill().expect("killed");
            kills += 1;
        }
        child.wait().expect("waits");
    }
    place.ok(&format!("{run} --resume killed"));
    assert!(kills >= 3, "only {kills} kills hit a running process");
    assert!(place.final_state("killed", 60) == place.final_state("whole", 60));
    assert_eq!(place.losses("killed"), place.losses("whole"), "no gaps, no repeats");
}

#[test]
fn sigterm_saves_and_exits_75() {
    let place = Place::new();
    let run = format!("{RUN} --set train.steps=100000 --set checkpoint.every=0 --run-dir run");
    let mut child = place.start(&run);
    let deadline = Instant::now() + Duration::from_mins(1);
    while !place.path("run/metrics.jsonl").exists() || place.losses("run").len() < 3 {
        assert!(Instant::now() < deadline, "no progress");
        sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(child.wait().expect("waits").code(), Some(75));
    assert_eq!(checkpoints(&place.path("run")).len(), 1);
}

#[test]
fn threads_and_prefetch_change_nothing() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir a --set data.workers=1 --set data.prefetch_steps=1"));
    place.ok(&format!("{RUN} --run-dir b --set data.workers=3 --set data.prefetch_steps=4"));
    assert!(place.final_state("a", 12) == place.final_state("b", 12));
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    let expected = place.final_state("run", 12);
    let path = place.path("run/step-00000012/optim.safetensors");
    let mut bytes = fs_err::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&path, bytes).expect("written");
    let done = place.ok("pretrain --resume run");
    assert!(done.stderr.contains("step-00000012") && done.stderr.contains("damaged"), "{}", done.stderr);
    assert!(done.stderr.contains("from step 8"), "{}", done.stderr);
    assert!(place.final_state("run", 12) == expected);
}

#[test]
fn a_changed_configuration_is_refused_with_the_differences() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    place.fails(
        "pretrain --resume run --set train.seed=9 --set train.max_grad_norm=2",
        2,
        &["train.seed", "train.max_grad_norm", "hint:"],
    );
    place.ok("pretrain --resume run --config tiny.toml --set train.steps=14 --set train.log_every=2 -q");
    assert_eq!(place.losses("run").last().map(|(step, _)| *step), Some(14));
}

#[test]
fn changed_data_are_refused() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    let resume = "pretrain --resume run -q --set train.steps=14";
    let (shard, elsewhere) = ("data/cc3m-train-0000.tar", "data/cc3m-train-0007.tar");
    // Of data that are made, the list of what was made speaks first.
    fs_err::rename(place.path(shard), place.path(elsewhere)).expect("renamed");
    place.fails(resume, 3, &["`data` is damaged: `cc3m-train-0000.tar` is gone", "hint: delete `data`"]);
    fs_err::rename(place.path(elsewhere), place.path(shard)).expect("renamed");

    // Names and sizes stay, words change.
    let original = place.read(shard);
    let changed = replaced(&original, b"small", b"large");
    assert!(changed != original && changed.len() == original.len());
    place.write(shard, &changed);
    place.fails(resume, 3, &["source `tiny` has other files or other content than before", "hint: restore the data"]);

    // The same bytes are the same data, whenever they were written.
    place.write(shard, &original);
    place.ok(resume);
    assert_eq!(place.losses("run").last().map(|(step, _)| *step), Some(14));
}

#[test]
fn a_renamed_shard_of_given_data_is_a_change() {
    let place = Place::new();
    place.ok("data synth --out plain --samples 48 --seed 3 --size 32");
    place.ok(&format!("{RUN} --data plain --run-dir run"));
    fs_err::rename(place.path("plain/cc3m-train-0000.tar"), place.path("plain/cc3m-train-0007.tar")).expect("renamed");
    let words = ["source `plain` has other files or other content than before", "hint: restore the data"];
    place.fails("pretrain --resume run --set train.steps=14", 3, &words);
}

/// `bytes` with every `from` made `to`, which is as long.
fn replaced(bytes: &[u8], from: &[u8; 5], to: &[u8; 5]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn a_signal_while_data_are_made_is_heeded_at_once_and_leaves_nothing_half_made() {
    let place = Place::new();
    let run = format!("{RUN} --run-dir run --set data.sources.0.synth.samples=2000000");
    for command in [run.as_str(), "data synth --out data --samples 2000000 --seed 3"] {
        let mut child = place.start(command);
        let deadline = Instant::now() + Duration::from_mins(1);
        while !place.path(".data.partial/cc3m-train-0000.tar").exists() {
            assert!(Instant::now() < deadline, "`{command}` makes no data");
            sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        assert_eq!(child.wait().expect("waits").code(), Some(75), "{command}");
        assert!(asked.elapsed() < Duration::from_secs(5), "`{command}` took {:?} to stop", asked.elapsed());
        assert!(["data", ".data.partial", ".data.lock"].iter().all(|name| !place.path(name).exists()), "{command}");
    }
}

#[test]
fn what_changed_in_the_data_is_said() {
    let place = Place::new();
    place.ok("data synth --out plain --samples 48 --seed 3 --size 32");
    place.ok(&format!("{RUN} --data plain --run-dir run"));
    place.ok("data synth --out other --samples 60 --seed 3 --size 32");
    fs_err::copy(place.path("other/cc3m-train-0000.tar"), place.path("plain/cc3m-train-0000.tar")).expect("copied");
    place.fails("pretrain --resume run --set train.steps=14", 3, &["plain", "samples, now", "hint:"]);
}

#[test]
fn a_run_directory_is_never_overwritten_and_has_one_owner() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    place.fails(&format!("{RUN} --run-dir run"), 4, &["already holds a run", "--resume run"]);
    let mut child = place.start(&format!("{RUN} --set train.steps=100000 --run-dir busy"));
    let deadline = Instant::now() + Duration::from_mins(1);
    while !place.path("busy/metrics.jsonl").exists() {
        assert!(Instant::now() < deadline, "no progress");
        sleep(Duration::from_millis(20));
    }
    place.fails("pretrain --resume busy", 4, &["in use", &format!("pid {}", child.id())]);
    child.kill().expect("killed");
    child.wait().expect("waits");
}
