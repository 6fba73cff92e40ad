//! `mmtrain doctor` says how a run stands and what to do next, and changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use crate::support::{Done, Place};

const RUN: &str = "pretrain --config tiny.toml -q --run-dir run";

/// A finished run with checkpoints of steps 4, 8 and 12.
fn place() -> Place {
    let place = Place::new();
    place.ok(&format!("{RUN} --set checkpoint.keep=0"));
    place
}

/// One that was stopped on its way: no file says that it is finished, and its newest checkpoint is of step 8.
fn stopped() -> Place {
    let place = place();
    fs_err::remove_file(place.path("run/finished")).expect("removed");
    fs_err::remove_dir_all(place.path("run/step-00000012")).expect("removed");
    place.write("run/latest", b"step-00000008");
    place
}

fn report(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

/// The report, with the exit code that goes with its verdict.
#[track_caller]
fn doctor(place: &Place) -> Value {
    let done = place.run("doctor run --json");
    let report = report(&done);
    assert_eq!(done.code, if report["healthy"] == true { 0 } else { 4 }, "{report:#}");
    report
}

#[track_caller]
fn check(report: &Value, healthy: bool, findings: &[(&str, &str)], command: &str) {
    assert_eq!(report["healthy"], healthy, "{report:#}");
    for (severity, words) in findings {
        assert!(has(report, severity, words), "no {severity} `{words}` in {:#}", report["findings"]);
    }
    assert_eq!(report["next"]["command"], command, "{:#}", report["next"]);
}

fn has(report: &Value, severity: &str, words: &str) -> bool {
    let findings = report["findings"].as_array().expect("a list").iter();
    findings.into_iter().any(|finding| {
        finding["severity"] == severity && finding["message"].as_str().is_some_and(|message| message.contains(words))
    })
}

/// When every file and directory was changed last, and what is in it.
fn contents(dir: &Path) -> BTreeMap<String, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let modified = |path: &Path| fs_err::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
    found.insert(dir.display().to_string(), (modified(dir), Vec::new()));
    for entry in fs_err::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.display().to_string(), (modified(&path), fs_err::read(&path).expect("read")));
        }
    }
    found
}

fn damage(place: &Place, name: &str) {
    let mut bytes = place.read(name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write(name, &bytes);
}

#[test]
fn a_healthy_run_is_left_as_it_is_and_tried_out() {
    let place = place();
    let before = contents(&place.path("run"));
    let found = doctor(&place);
    check(&found, true, &[], "mmtrain eval --model run --data data");
    let run = &found["run"];
    assert_eq!((&run["stage"], &run["finished"], &run["newest_good"]), (&"pretrain".into(), &12.into(), &12.into()));
    assert_eq!(run["checkpoints"].as_array().map(Vec::len), Some(3), "{run:#}");
    assert_eq!(
        (&run["latest"]["to"], &run["best"], &run["lock"]["state"]),
        (&12.into(), &"absent".into(), &"free".into())
    );
    assert_eq!((&run["metrics"]["last_step"], &run["metrics"]["torn"]), (&12.into(), &false.into()));
    assert_eq!((&run["config"]["state"], &run["writable"]), (&"good".into(), &true.into()));
    let text = place.ok("doctor run").stdout;
    for words in
        ["finished at step 12", "step-00000008", "good", "next: all steps are made\n  mmtrain eval --model run"]
    {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
    assert!(contents(&place.path("run")) == before, "nothing was changed");
    place.ok(found["next"]["command"].as_str().expect("a command").strip_prefix("mmtrain ").expect("ours"));
}

#[test]
fn a_checkpoint_and_a_pointer_stand_for_their_run() {
    let place = place();
    for path in ["run/step-00000004", "run/latest", "run/"] {
        let found = report(&place.ok(&format!("doctor {path} --json")));
        assert_eq!(found["run"]["checkpoints"].as_array().map(Vec::len), Some(3), "{path}");
    }
}

#[test]
fn the_machine_is_described_with_and_without_a_run() {
    let place = Place::new();
    let found = report(&place.ok("--device cpu doctor --json"));
    let environment = &found["environment"];
    assert_eq!(environment["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(environment["device"]["name"], "cpu");
    for key in ["cores", "memory_bytes", "memory_available_bytes"] {
        assert!(environment["limits"][key].as_u64() > Some(0), "{environment:#}");
    }
    for key in ["write", "lock", "rename", "sync", "preallocate"] {
        assert!(environment["storage"][key].is_null(), "{key}: {environment:#}");
    }
    assert!(environment["storage"]["free_bytes"].as_u64() > Some(0), "{environment:#}");
    assert_eq!((&found["run"], &found["next"]), (&Value::Null, &Value::Null));
    assert_eq!(place.entries(""), ["tiny.toml"], "nothing is left behind");
    let text = place.ok("doctor").stdout;
    for words in ["mmtrain   ", "device    cpu", " cores, ", "storage   ", "locks, renames, flushes"] {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
}

#[test]
fn a_damaged_newest_checkpoint_is_named_and_the_one_before_goes_on() {
    let place = stopped();
    damage(&place, "run/step-00000008/model.safetensors");
    let findings = [
        ("problem", "`step-00000008` is not good: `model.safetensors` is damaged (its blake3 differs)"),
        ("warning", "`latest` says step 8, the newest good one is 4"),
    ];
    let found = doctor(&place);
    check(&found, false, &findings, "mmtrain pretrain --resume run");
    assert_eq!(found["run"]["newest_good"], 4);
    let faults = found["run"]["checkpoints"].as_array().expect("a list").iter().map(|one| one["fault"].is_null());
    assert_eq!(faults.collect::<Vec<_>>(), [true, false]);
    // What it says can be done.
    place.ok("pretrain --resume run -q");
    let found = doctor(&place);
    check(&found, true, &[("warning", "1 damaged checkpoint(s) set aside")], "mmtrain eval --model run --data data");
}

#[test]
fn each_way_of_damage_has_its_reason() {
    let place = stopped();
    let manifest = place.read("run/step-00000008/manifest.json");
    let check = |reason: &str| {
        let found = doctor(&place);
        let fault = found["run"]["checkpoints"][1]["fault"].as_str().unwrap_or_default().to_owned();
        assert!(fault.contains(reason), "no `{reason}` in `{fault}`");
    };
    fs_err::remove_file(place.path("run/step-00000008/manifest.json")).expect("removed");
    check("no manifest");
    place.write("run/step-00000008/manifest.json", &manifest[..manifest.len() / 2]);
    check("manifest: ");
    place.write("run/step-00000008/manifest.json", &place.read("run/step-00000004/manifest.json"));
    check("the manifest is of step 4");
    place.write("run/step-00000008/manifest.json", &manifest);
    let weights = place.read("run/step-00000008/model.safetensors");
    place.write("run/step-00000008/model.safetensors", &weights[..100]);
    check("`model.safetensors` has 100 bytes instead of");
    fs_err::remove_file(place.path("run/step-00000008/optim.safetensors")).expect("removed");
    place.write("run/step-00000008/model.safetensors", &weights);
    check("optim.safetensors");
}

#[test]
fn when_all_are_damaged_only_a_new_run_is_left() {
    let place = place();
    for step in ["04", "08", "12"] {
        damage(&place, &format!("run/step-000000{step}/state.json"));
    }
    let found = doctor(&place);
    let command = "mmtrain pretrain --config run/config.toml --run-dir run-2";
    check(
        &found,
        false,
        &[("problem", "step-00000004"), ("problem", "step-00000008"), ("problem", "step-00000012")],
        command,
    );
    assert_eq!(found["run"]["newest_good"], Value::Null);
    place.ok(&format!("{} -q", command.strip_prefix("mmtrain ").expect("ours")));
}

#[test]
fn leftovers_pointers_and_torn_lines_are_warnings() {
    let place = stopped();
    place.write("run/.tmp-step-00000012-77/model.safetensors", b"half");
    place.write("run/.trash-step-00000001/state.json", b"{}");
    place.write("run/.bad-step-00000004/state.json", b"{}");
    place.write("run/latest", b"step-00000099");
    let mut metrics = place.read("run/metrics.jsonl");
    metrics.extend_from_slice(b"{\"kind\":\"tr");
    place.write("run/metrics.jsonl", &metrics);
    let reasons = [r#"{"reason":"image_empty"}"#, r#"{"reason":"too_long"}"#, r#"{"reason":"image_empty"}"#].join("\n");
    place.write("run/quarantine.jsonl", format!("{reasons}\n").as_bytes());
    let findings = [
        ("warning", "2 leftover(s) of a process that died, 6 bytes"),
        ("warning", "1 damaged checkpoint(s) set aside"),
        ("warning", "`latest` says `step-00000099`"),
        ("note", "cut off"),
    ];
    let found = doctor(&place);
    check(&found, true, &findings, "mmtrain pretrain --resume run");
    assert_eq!(found["run"]["quarantine"]["reasons"]["image_empty"], 2);
    assert_eq!(found["run"]["leftovers"].as_array().map(Vec::len), Some(3));
    assert!(place.ok("doctor run").stdout.contains("3 samples, image_empty 2, too_long 1"));
    place.ok("pretrain --resume run -q");
    assert!(place.entries("run").iter().all(|name| !name.starts_with(".tmp-") && !name.starts_with(".trash-")));
}

#[test]
fn a_run_that_is_worked_on_is_only_watched() {
    let place = Place::new();
    let mut command = place.command(&format!("{RUN} --set train.steps=100000 --set checkpoint.every=50"));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = place.start_long(command);
    let found = doctor(&place);
    check(&found, true, &[], "tail -f run/metrics.jsonl");
    assert_eq!(found["run"]["lock"]["state"], "held");
    let holder = found["run"]["lock"]["holder"].as_str().expect("a holder").to_owned();
    assert!(holder.contains(&child.id().to_string()), "{holder}");
    Place::signal(&child, "TERM");
    assert_eq!(child.wait().expect("waits").code(), Some(75), "the doctor did not disturb it");
    check(&doctor(&place), true, &[], "mmtrain pretrain --resume run");
}

#[test]
fn a_configuration_in_the_way_comes_with_the_command_that_puts_it_back() {
    let place = stopped();
    let own = place.read("run/config.toml");
    let command = "cp run/step-00000008/config.toml run/config.toml && mmtrain pretrain --resume run";
    place.edit("run/config.toml", "global_batch_size = 4", "global_batch_size = 8");
    check(
        &doctor(&place),
        false,
        &[("problem", "`config.toml` was changed"), ("problem", "global_batch_size")],
        command,
    );
    place.write("run/config.toml", b"[train\n");
    check(&doctor(&place), false, &[("problem", "`config.toml` cannot be used: ")], command);
    fs_err::remove_file(place.path("run/config.toml")).expect("removed");
    check(&doctor(&place), true, &[("warning", "`config.toml` is gone")], "mmtrain pretrain --resume run");
    place.write("run/config.toml", &own);
    fs_err::remove_file(place.path("run/run.json")).expect("removed");
    check(&doctor(&place), true, &[("warning", "`run.json` is gone")], "mmtrain pretrain --resume run");
}

#[test]
fn a_step_that_was_not_finite_is_gone_around() {
    let place = stopped();
    place.write("run/bad_batch.json", br#"{ "step": 9, "what": "loss", "value": "NaN", "samples": [{}, {}] }"#);
    let found = doctor(&place);
    let command = found["next"]["command"].as_str().expect("a command").to_owned();
    let expected =
        "mmtrain pretrain --config run/step-00000008/config.toml --init run --run-dir run-2 --set train.seed=";
    assert!(command.starts_with(expected), "{command}");
    assert!(has(&found, "problem", "loss of step 9 was not finite (2 samples"), "{found:#}");
    place.ok(&format!("{} -q", command.strip_prefix("mmtrain ").expect("ours")));
}

#[test]
fn weights_that_a_checkpoint_refers_to_and_are_gone_are_named() {
    let place = place();
    fs_err::create_dir(place.path("hf")).expect("made");
    for file in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        fs_err::copy(place.path("run/step-00000012").join(file), place.path("hf").join(file)).expect("copied");
    }
    let mut config = crate::support::TINY.parse::<toml::Table>().expect("TOML");
    config["model"]["encoder"] = toml::Table::from_iter([("weights".to_owned(), "hf".into())]).into();
    config["train"]["encoder"]["tuning"] = "frozen".into();
    place.write("frozen.toml", config.to_string().as_bytes());
    fs_err::remove_dir_all(place.path("run")).expect("removed");
    place.ok("pretrain --config frozen.toml -q --run-dir run --set train.steps=4");
    check(&doctor(&place), true, &[], "mmtrain eval --model run --data data");
    fs_err::rename(place.path("hf"), place.path("moved")).expect("renamed");
    let found = doctor(&place);
    check(&found, false, &[("problem", "frozen weights are gone: `")], "mmtrain pretrain --resume run");
    assert!(found["next"]["why"].as_str().is_some_and(|why| why.contains("/hf`")), "{found:#}");
}

#[test]
fn what_is_no_run_is_refused() {
    let place = Place::new();
    place.fails("doctor nothing", 3, &["no run at `nothing`", "hint:"]);
    place.write("hf/config.json", b"{}");
    place.fails("doctor hf --json", 3, &["`hf` holds no run", "hint:", "mmtrain inspect"]);
    place.fails("doctor tiny.toml", 3, &["no run at `tiny.toml`"]);
}

#[test]
fn a_directory_that_may_not_be_written_is_judged_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let place = stopped();
    let lock = |mode| fs_err::set_permissions(place.path("run"), std::fs::Permissions::from_mode(mode)).expect("set");
    lock(0o555);
    // Root may write anywhere, unless it gives that right away.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search", "--", env!("CARGO_BIN_EXE_mmtrain")]);
    let alone = place.command("doctor run --json").output();
    let confined = command.args(["doctor", "run", "--json"]).current_dir(place.path("")).output();
    lock(0o755);
    let outputs = [alone, confined].into_iter().flatten().filter(|output| !output.stdout.is_empty());
    let reports = outputs.map(|output| serde_json::from_slice::<Value>(&output.stdout).expect("JSON"));
    let reports = reports.filter(|report| report["run"]["writable"] == false).collect::<Vec<_>>();
    for report in &reports {
        let command = "cp -r --no-preserve=mode run run-2 && mmtrain pretrain --resume run-2";
        check(report, true, &[("warning", "may not be written")], command);
        assert_eq!(report["run"]["newest_good"], 8);
    }
    if reports.is_empty() {
        let line = "SKIPPED a_directory_that_may_not_be_written_is_judged_all_the_same: root, and no setpriv\n";
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("written");
    }
}
