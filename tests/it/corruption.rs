//! Checkpoints that are damaged: found, named, and the one before is used.

use std::path::Path;

use mmtrain_train::checkpoint::{find_newest, verify};

use crate::support::{Place, checkpoints};

/// A run with the checkpoints of steps 4, 8 and 12.
fn run() -> Place {
    let place = Place::new();
    place.ok("pretrain --config tiny.toml -q --run-dir run --set checkpoint.keep=0");
    place
}

/// Every file of a checkpoint, those in its folders too.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).expect("readable") {
        let path = entry.expect("entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A number of `seed` and `draw` below `bound`.
fn draw(seed: u64, draw: u64, bound: usize) -> usize {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ draw.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 11) as usize % bound
}

#[track_caller]
fn the_one_before_is_used(run: &Path, damaged: &str, what: &str) {
    let found = find_newest(run).expect("readable").expect("one that verifies");
    assert_eq!(found.step, 8, "{what}");
    assert_eq!(found.rejected.len(), 1, "{what}: {:?}", found.rejected);
    let said = found.rejected[0].to_string();
    assert!(said.contains("step-00000012") && said.contains(damaged), "{what}: {said}");
}

/// What a message must hold for damage to a file.
fn named(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    // The list itself names no file: it is not JSON, or a file is not what it says.
    if name == "manifest.json" { String::new() } else { name }
}

#[test]
fn each_of_a_thousand_flipped_bytes_is_found() {
    let place = run();
    let newest = place.path("run/step-00000012");
    let files = files(&newest);
    let mut found = 0;
    for number in 0..1000_u64 {
        let path = &files[number as usize % files.len()];
        let whole = fs_err::read(path).expect("readable");
        let mut bytes = whole.clone();
        let at = draw(number, 1, bytes.len());
        bytes[at] ^= 1 << draw(number, 2, 8);
        fs_err::write(path, &bytes).expect("written");
        the_one_before_is_used(&place.path("run"), &named(path), &format!("byte {at} of {}", path.display()));
        fs_err::write(path, &whole).expect("written");
        found += 1;
    }
    assert_eq!(found, 1000);
    verify(&newest).expect("whole again");
}

#[test]
fn each_file_cut_at_twenty_places_or_missing_is_found() {
    let place = run();
    for path in files(&place.path("run/step-00000012")) {
        let whole = fs_err::read(&path).expect("readable");
        for cut in 0..20 {
            fs_err::write(&path, &whole[..whole.len() * cut / 20]).expect("written");
            the_one_before_is_used(&place.path("run"), &named(&path), &format!("{} cut", path.display()));
        }
        fs_err::remove_file(&path).expect("removed");
        the_one_before_is_used(&place.path("run"), &named(&path).replace("manifest.json", ""), "missing");
        fs_err::write(&path, &whole).expect("written");
    }
}

#[test]
fn files_and_checkpoints_of_another_run_are_found() {
    let place = run();
    place.ok("pretrain --config tiny.toml -q --run-dir other --set checkpoint.keep=0 --set train.seed=7");
    for path in files(&place.path("run/step-00000012")) {
        let whole = fs_err::read(&path).expect("readable");
        let inside = path.strip_prefix(place.path("run")).expect("inside");
        let foreign = fs_err::read(place.path("other").join(inside)).expect("readable");
        if foreign == whole {
            continue;
        }
        fs_err::write(&path, foreign).expect("written");
        the_one_before_is_used(&place.path("run"), &named(&path), &format!("{} of another run", path.display()));
        fs_err::write(&path, &whole).expect("written");
    }
    // A whole checkpoint of another run is sound in itself, and still none of this run.
    fs_err::rename(place.path("run/step-00000012"), place.path("set-aside")).expect("renamed");
    fs_err::rename(place.path("other/step-00000012"), place.path("run/step-00000012")).expect("renamed");
    let seen = place.exits("doctor run", 4);
    assert!(seen.stdout.contains("another run"), "{}", seen.stdout);
    let done = place.ok("pretrain --resume run");
    assert!(done.stderr.contains("step-00000012") && done.stderr.contains("another run"), "{}", done.stderr);
    assert!(place.read("run/step-00000012/model.safetensors") == place.read("set-aside/model.safetensors"));
    assert!(place.path("run/.bad-step-00000012").is_dir(), "it is set aside and not deleted");
}

#[test]
fn no_good_checkpoint_goes_for_one_that_is_not() {
    let place = run();
    let run = "pretrain --resume run -q --set checkpoint.keep=1 --set checkpoint.every=1";
    // Newer by number, and not good; older, and damaged.
    for step in [97, 98] {
        copy_dir(&place.path("run/step-00000012"), &place.path(&format!("run/step-{step:08}")));
    }
    fs_err::remove_file(place.path("run/step-00000008/manifest.json")).expect("removed");
    place.ok(&format!("{run} --set train.steps=14"));
    assert!(place.path("run/step-00000014/manifest.json").exists());
    assert_eq!(checkpoints(&place.path("run")), ["step-00000014", "step-00000097", "step-00000098"]);
    place.ok("eval --model run --data data --limit 2 --max-new-tokens 2");
    let keep_two = run.replace("keep=1", "keep=2");
    place.ok(&format!("{keep_two} --set train.steps=15"));
    place.write("run/step-00000015/state.json", b"{}");
    place.ok(&format!("{keep_two} --set train.steps=16").replace("every=1", "every=2"));
    let left = ["step-00000014", "step-00000015", "step-00000016", "step-00000097", "step-00000098"];
    assert_eq!(checkpoints(&place.path("run")), left, "two good ones, and none is older");
}

fn copy_dir(from: &Path, to: &Path) {
    fs_err::create_dir(to).expect("made");
    for file in files(from) {
        fs_err::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
}

#[test]
fn a_link_where_a_run_writes_is_refused_and_what_it_leads_to_stays() {
    let place = run();
    place.write("precious", b"precious");
    for name in ["run.lock", "reference.bin", "samples", "plots", "metrics.jsonl", "quarantine.jsonl", "latest"] {
        let path = place.path("run").join(name);
        let aside = place.path("aside");
        let was_there = fs_err::rename(&path, &aside).is_ok();
        std::os::unix::fs::symlink(place.path("precious"), &path).expect("linked");
        let named = format!("`{name}` is a link");
        place.fails("pretrain --resume run -q --set train.steps=14", 4, &[&named, "hint:"]);
        place.fails("doctor run", 4, &[&named, "hint:"]);
        fs_err::remove_file(&path).expect("removed");
        if was_there {
            fs_err::rename(&aside, &path).expect("put back");
        }
        assert_eq!(place.read("precious"), b"precious");
    }
    // A checkpoint may lie elsewhere; a link that leads nowhere is set aside when its step is saved.
    std::os::unix::fs::symlink("nowhere", place.path("run/step-00000013")).expect("linked");
    place.ok("pretrain --resume run -q --set train.steps=13");
    assert!(place.path("run/step-00000013/manifest.json").exists());
    assert!(place.path("run/.bad-step-00000013").symlink_metadata().is_ok());
    // What was set aside stands in nobody's way, and of a checkpoint elsewhere no more than the link goes.
    fs_err::rename(place.path("run/step-00000012"), place.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("run/step-00000012")).expect("linked");
    place.ok("pretrain --resume run -q --set train.steps=14 --set checkpoint.keep=1");
    assert_eq!(checkpoints(&place.path("run")), ["step-00000014"]);
    assert!(place.path("elsewhere/model.safetensors").exists());
    place.ok("pretrain --resume run -q --set train.steps=15");
}

#[test]
fn of_a_list_of_rows_that_ends_in_zeros_without_end_as_much_is_read_as_shows_it() {
    let place = Place::new();
    for (name, start) in
        [("a.jsonl", "{\"image\": \"a.jpg\", \"caption\": \"a dog\"}\n"), ("b.json", "["), ("c.csv", "image,caption\n")]
    {
        place.write(&format!("list/{name}"), start.as_bytes());
        let file = std::fs::OpenOptions::new().write(true).open(place.path("list").join(name)).expect("there");
        file.set_len(300 << 30).expect("sparse");
        let start = std::time::Instant::now();
        place.fails("data check list", 3, &[name, "nothing but zeros from byte"]);
        assert!(start.elapsed().as_secs() < 20, "{name}: {:?}", start.elapsed());
        fs_err::remove_file(place.path("list").join(name)).expect("removed");
    }
}

#[test]
fn pointers_to_checkpoints_are_hints_and_nothing_more() {
    let place = run();
    let expected = place.final_state("run", 12);
    for pointer in ["", "step-00000099", "../other", "\0\u{1b}[2J", "step-00000004"] {
        place.write("run/latest", pointer.as_bytes());
        assert_eq!(find_newest(&place.path("run")).expect("readable").expect("one").step, 12, "{pointer:?}");
        place.ok("pretrain --resume run -q");
    }
    fs_err::remove_file(place.path("run/latest")).expect("removed");
    fs_err::remove_dir_all(place.path("run/step-00000012")).expect("removed");
    place.ok("pretrain --resume run -q");
    assert!(place.final_state("run", 12) == expected);
    assert_eq!(place.read("run/latest"), b"step-00000012");
}

/// A run as mmtrain 0.1.0 left it when manifests had no checksum (format 1), with its data.
#[test]
fn a_run_of_format_1_goes_on() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/checkpoints/format-1");
    let place = Place::new();
    for path in files(&fixture) {
        let inside = path.strip_prefix(&fixture).expect("inside");
        place.write(&inside.display().to_string(), &fs_err::read(&path).expect("a fixture"));
    }
    let recorded = String::from_utf8(place.read("expected.jsonl")).expect("UTF-8");
    let recorded = recorded.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    place.ok("pretrain --resume run -q");
    let losses = place.losses("run");
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (line, (step, loss)) in recorded.zip(&losses[2..]) {
        let expected = line["loss"].as_f64().expect("a loss");
        assert!((loss / expected - 1.0).abs() < 1e-5, "step {step}: {loss}, then {expected}");
    }
    let manifest = verify(&place.path("run/step-00000004")).expect("sound");
    assert_eq!(manifest.format_version, 2);
}

/// Puts something else where a file is, and gives the file back.
fn instead_of(path: &Path, put: impl FnOnce(&Path), look: impl FnOnce()) {
    let kept = path.with_extension("kept");
    fs_err::rename(path, &kept).expect("moved");
    put(path);
    look();
    fs_err::rename(&kept, path).expect("moved back");
}

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
}

/// It says that it has 200 GiB and takes no room.
fn endless(path: &Path) {
    let file = fs_err::File::create(path).expect("made");
    file.set_len(200 << 30).expect("sparse");
}

const OF_RUN: [&str; 6] = ["run.json", "latest", "metrics.jsonl", "quarantine.jsonl", "run.lock", "config.toml"];

#[test]
fn a_pipe_or_a_list_without_end_in_a_run_is_named_and_neither_waited_for_nor_read() {
    let place = run();
    fs_err::remove_file(place.path("run/finished")).expect("removed");
    for (put, said) in [(pipe as fn(&Path), "is no file but a pipe"), (endless, "has 214748364800 bytes")] {
        for name in OF_RUN {
            instead_of(&place.path(&format!("run/{name}")), put, || {
                for command in ["pretrain --resume run -q", "doctor run", "eval --model run --data tiny --limit 1"] {
                    let done = place.run(command);
                    let named = done.stderr.contains(&format!("`{name}` {said}"));
                    assert!(done.code == 4 && named, "{command} with {name}: {} {}", done.code, done.stderr);
                }
            });
        }
    }
    place.ok("pretrain --resume run -q");
}

#[test]
fn of_a_checkpoint_with_a_pipe_or_a_list_without_end_the_one_before_is_used() {
    let place = run();
    for (put, said) in [(pipe as fn(&Path), "is no file but a pipe"), (endless, "has 214748364800 bytes")] {
        for name in ["manifest.json", "state.json", "config.json"] {
            instead_of(&place.path(&format!("run/step-00000012/{name}")), put, || {
                the_one_before_is_used(&place.path("run"), &format!("`{name}` {said}"), name);
                let done = place.run("doctor run");
                assert!(done.code == 4 && done.stdout.contains(&format!("`{name}` {said}")), "{}", done.stdout);
                let done = place.run("inspect run/step-00000012");
                assert!(done.code == 4 && done.stderr.contains(name), "{} {}", done.code, done.stderr);
            });
        }
    }
    assert_eq!(find_newest(&place.path("run")).expect("readable").expect("one").step, 12);
}

#[test]
fn a_directory_where_a_file_belongs_is_named() {
    for file in ["run.lock", "metrics.jsonl", "quarantine.jsonl", "latest"] {
        let place = run();
        fs_err::remove_file(place.path("run/finished")).expect("removed");
        let path = place.path(&format!("run/{file}"));
        fs_err::remove_file(&path).expect("removed");
        fs_err::create_dir(&path).expect("made");
        for command in ["pretrain --resume run -q", "doctor run"] {
            let done = place.run(command);
            let named = done.stderr.contains(&format!("`{file}` is a directory"));
            assert!(done.code == 4 && named, "{command}, {file}: {} {}", done.code, done.stderr);
        }
    }
}

#[test]
fn a_pipe_among_data_or_shown_to_a_model_is_named_and_not_waited_for() {
    let place = run();
    fs_err::create_dir(place.path("pipes")).expect("made");
    pipe(&place.path("pipes/train-0000.tar"));
    let done = place.run("data check pipes");
    assert!(done.code == 3 && done.stderr.contains("train-0000.tar"), "{} {}", done.code, done.stderr);
    pipe(&place.path("pipe.jpg"));
    let done = place.run("generate --model run --image pipe.jpg");
    assert!(done.code == 3 && done.stderr.contains("`pipe.jpg` is no file"), "{} {}", done.code, done.stderr);
}
