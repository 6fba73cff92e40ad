//! Whatever happens to a run, the next start goes on exactly.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Place, checkpoints};

const RUN: &str = "pretrain --config tiny.toml -q";

#[test]
fn a_run_resumed_at_any_checkpoint_ends_bit_identical() {
    ends_bit_identical(RUN, 12, &[1, 5, 8, 11]);
}

/// A run, in a place of its own, that goes on from each of these steps ends at step `last` as it did without a break.
#[track_caller]
pub(crate) fn ends_bit_identical(run: &str, last: u64, steps: &[u64]) {
    let place = Place::new();
    place.ok(&format!("{run} --run-dir whole --set checkpoint.keep=0 --set checkpoint.every=1"));
    let expected = place.final_state("whole", last);
    for step in steps {
        let part = format!("part-{step}");
        copy_until(&place, &part, *step);
        place.ok(&format!("pretrain --resume {part} -q"));
        assert!(place.final_state(&part, last) == expected, "{run}: resumed at step {step}");
        assert_eq!(place.losses(&part), place.losses("whole"), "{run}: resumed at step {step}");
    }
}

/// A copy of the whole run as it stood after `step`.
pub(crate) fn copy_until(place: &Place, part: &str, step: u64) {
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
    // Seconds of work, of which each attempt gets a fraction of one: the kills hit however fast the machine is.
    let run = format!("{RUN} --set train.steps=500 --set checkpoint.every=3");
    place.ok(&format!("{run} --run-dir whole"));
    let mut kills = 0;
    for attempt in 0..6 {
        let mut child = place.start(&format!("{run} --resume killed"));
        sleep(Duration::from_millis(60 + 41 * attempt));
        if child.try_wait().expect("waits").is_none() {
            child.kill().expect("killed");
            kills += 1;
        }
        child.wait().expect("waits");
    }
    place.ok(&format!("{run} --resume killed"));
    assert!(kills >= 3, "only {kills} kills hit a running process");
    assert!(place.final_state("killed", 500) == place.final_state("whole", 500));
    assert_eq!(place.losses("killed"), place.losses("whole"), "no gaps, no repeats");
}

#[test]
fn threads_and_prefetch_change_nothing() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir a --set data.workers=1 --set data.prefetch_steps=1"));
    place.ok(&format!("{RUN} --run-dir b --set data.workers=3 --set data.prefetch_steps=4"));
    assert!(place.final_state("a", 12) == place.final_state("b", 12));
}

/// Large enough for products and rows to be shared out among threads.
const WIDE: &str = "--set model.encoder.arch.hidden_size=128 --set model.encoder.arch.intermediate_size=384 \
                    --set model.encoder.arch.patch_size=8 --set model.encoder.arch.num_hidden_layers=2 \
                    --set model.decoder.arch.hidden_size=96 --set model.decoder.arch.intermediate_size=256 \
                    --set train.global_batch_size=8 --set train.micro_batch_size=8 --set train.ranks=1";

#[test]
fn a_hundred_steps_are_the_same_bits_twice_and_on_one_thread() {
    let place = Place::new();
    for (run, threads) in [("once", "2"), ("twice", "2"), ("one", "1"), ("four", "4")] {
        let mut command = place.command(&format!("{RUN} --run-dir {run} {WIDE} --set train.steps=100"));
        let status = command.env("RAYON_NUM_THREADS", threads).status().expect("starts");
        assert!(status.success(), "{status}");
        assert!(place.final_state(run, 100) == place.final_state("once", 100), "{threads} threads");
        assert_eq!(place.losses(run), place.losses("once"), "{threads} threads");
    }
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
    let changed = replaced(&original, *b"small", *b"large");
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
fn replaced(bytes: &[u8], from: [u8; 5], to: [u8; 5]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(&from) {
            bytes[at..at + to.len()].copy_from_slice(&to);
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

#[test]
fn an_edited_configuration_in_the_run_directory_is_refused_with_the_differences() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    let good = place.read("run/config.toml");
    place.edit("run/config.toml", "seed = 42", "seed = 77");
    place.edit("run/config.toml", "max_grad_norm = 1.0", "max_grad_norm = 2.0");
    let words =
        ["run/config.toml", "train.seed", "42", "77", "train.max_grad_norm", "hint:", "step-00000012/config.toml"];
    place.fails("pretrain --resume run --set train.steps=14", 2, &words);
    place.fails("pretrain --resume run --config tiny.toml --set train.steps=14", 2, &words);
    for broken in [&b"[train\n"[..], b"seed = \xff\n"] {
        place.write("run/config.toml", broken);
        let copy = "cp run/step-00000012/config.toml run/config.toml";
        place.fails("pretrain --resume run -q", 2, &["run/config.toml", "hint:", copy]);
    }
    place.write("run/config.toml", &good);
    place.edit("run/config.toml", "steps = 12", "steps = 13");
    place.ok("pretrain --resume run -q");
    assert_eq!(checkpoints(&place.path("run")).last().map(String::as_str), Some("step-00000013"), "longer is allowed");
}

#[test]
fn without_its_configuration_a_run_goes_on_with_the_checkpoints() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir run"));
    let good = place.read("run/config.toml");
    fs_err::remove_file(place.path("run/config.toml")).expect("removed");
    place.fails("pretrain --resume run --config tiny.toml --set train.seed=77", 2, &["train.seed", "42", "77"]);
    let done = place.ok("pretrain --resume run");
    assert!(done.stderr.contains("run/config.toml"), "{}", done.stderr);
    assert_eq!(place.read("run/config.toml"), good, "written anew");
}

#[test]
fn a_changed_tokenizer_in_the_run_directory_is_put_back_and_never_used() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir whole --set train.steps=14"));
    copy_until(&place, "part", 8);
    let good = place.read("part/tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&good).expect("JSON");
    let vocab = json["model"]["vocab"].as_object_mut().expect("a vocabulary");
    let (a, b) = (vocab["a"].clone(), vocab["d"].clone());
    vocab.insert("a".into(), b);
    vocab.insert("d".into(), a);
    place.write("part/tokenizer.json", json.to_string().as_bytes());
    let done = place.ok("pretrain --resume part");
    assert!(done.stderr.contains("warning: `part/tokenizer.json`"), "{}", done.stderr);
    assert_eq!(place.read("part/tokenizer.json"), good);
    assert!(place.final_state("part", 14) == place.final_state("whole", 14));
}

#[test]
fn a_resume_of_nothing_says_so_and_with_a_configuration_it_starts() {
    let place = Place::new();
    place.fails("pretrain --resume nonexist", 2, &["`nonexist` does not exist", "hint:", "--config"]);
    assert!(!place.path("nonexist").exists());
    place.write("empty/note.txt", b"");
    place.fails("pretrain --resume empty", 2, &["`empty` holds no run"]);
    let done = place.ok("pretrain --resume nonexist --config tiny.toml --set train.steps=1");
    assert!(done.stderr.contains("no checkpoint in `nonexist` yet: starting at step 0"), "{}", done.stderr);
}

#[test]
fn a_bare_resume_with_a_configuration_takes_the_newest_run_of_that_one() {
    let place = Place::new();
    place.write("other.toml", crate::support::TINY.replace("hidden_size = 16", "hidden_size = 8").as_bytes());
    place.ok(&format!("{RUN} --set train.steps=2"));
    place.ok("pretrain --config other.toml -q --run-dir checkpoints/mine --set train.steps=2");
    let done = place.ok("pretrain --config tiny.toml --resume --set train.steps=3");
    assert!(done.stderr.contains("going on with `checkpoints/pretrain-tiny` from step 2"), "{}", done.stderr);
    let done = place.ok("pretrain --config ./other.toml --resume --set train.steps=3");
    assert!(done.stderr.contains("going on with `checkpoints/mine`"), "{}", done.stderr);
    let words = ["no pretrain run of `cc3m`", "`checkpoints/pretrain-tiny` (of tiny)", "`checkpoints/mine` (of other)"];
    place.fails("pretrain --config cc3m.toml --resume", 2, &words);
}

#[test]
fn a_failed_start_leaves_no_directory_behind() {
    let place = Place::new();
    let fails = "pretrain --config tiny.toml -q --set data.sources.0.path=nothing --set data.eval.path=elsewhere";
    place.write("nothing/readme.txt", b"no shards");
    place.write("elsewhere/readme.txt", b"no shards");
    assert_eq!(place.run(fails).code, 3);
    assert_eq!(place.entries("checkpoints"), [""; 0]);
    // A start that was killed could not clean up.
    place.write("checkpoints/pretrain-tiny/run.lock", b"pid 1\n");
    place.ok(&format!("{RUN} --set train.steps=1"));
    assert_eq!(place.entries("checkpoints"), ["pretrain-tiny"]);
}

#[test]
fn a_run_that_began_from_another_goes_on_with_its_frozen_parts() {
    let place = Place::new();
    place.ok(&format!("{RUN} --run-dir first"));
    let frozen = "--set train.encoder.tuning=frozen --set train.decoder.tuning=frozen --set checkpoint.keep=0";
    let begin = format!("{RUN} --init first {frozen}");
    place.ok(&format!("{begin} --run-dir whole"));
    copy_until(&place, "part", 4);
    place.ok("pretrain --resume part -q");
    assert!(place.final_state("part", 12) == place.final_state("whole", 12));
    place.ok("generate --model whole --image whole/samples/0.jpg --max-new-tokens 2");
    // One command line starts such a run and goes on with it; another origin is refused.
    place.ok(&format!("{begin} --resume job"));
    place.ok(&format!("{begin} --resume job"));
    place.fails(&format!("{begin} --resume whole --init whole"), 2, &["--init"]);
    place.fails("pretrain --resume whole --init whole", 2, &["--init whole", "began from", "first", "hint:"]);
    place.fails("pretrain --resume first --init whole", 2, &["its configuration alone"]);
}
