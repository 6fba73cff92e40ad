//! Bad input gets an error that says what, where, and what to do; it never panics.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::Place;

const RUN: &str = "pretrain --config tiny.toml -q --run-dir run";

#[test]
fn configuration_mistakes() {
    let place = Place::new();
    place.fails("pretrain --config nothere.toml", 2, &["nothere.toml", "hint:"]);
    place.fails("pretrain --config tiny.toml --set train.lerning_rate=1", 2, &["train.lerning_rate", "hint:"]);
    place.write("bad.toml", crate::support::TINY.replace("steps = 12", "steps = 12\nmicro_batch_sise = 3").as_bytes());
    place.fails("pretrain --config bad.toml", 2, &["bad.toml:", "micro_batch_sise", "micro_batch_size"]);
    place.fails(&format!("{RUN} --set train.micro_batch_size=3"), 2, &["global_batch_size", "micro_batch_size"]);
    place.fails(&format!("{RUN} --device cuda:7"), 2, &["cuda:7", "hint:"]);
    place.fails("generate --model nowhere --prompt x", 3, &["nowhere", "hint:"]);
    place.fails("eval --model nowhere --data cc3m", 3, &["nowhere"]);
    place.fails("pretrain --resume", 2, &["no pretrain run", "hint:"]);
}

#[test]
fn missing_and_foreign_data() {
    let place = Place::new();
    place.fails(&format!("{RUN} --data cc3m"), 3, &["datasets/cc3m", "hint:", "mmtrain data synth"]);
    place.write("empty/readme.txt", b"nothing");
    place.fails("data check empty", 3, &["empty", "hint:"]);
    place.fails("data synth --like coco --out x --samples 3", 3, &["coco", "cc3m"]);
}

fn shard(place: &Place, name: &str, members: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o444);
        builder.append_data(&mut header, path, *bytes).expect("appended");
    }
    place.write(name, &builder.into_inner().expect("finished"));
}

#[test]
fn bad_samples_are_counted_named_and_left_out() {
    let place = Place::new();
    place.ok("data synth --out data --samples 40 --seed 1 --size 32");
    place.ok("pretrain --config tiny.toml -q --run-dir first --set train.steps=1 --set data.sources.0.synth.samples=48 --set data.sources.0.path=elsewhere --set data.eval.path=elsewhere");
    let good = place.read("first/samples/0.jpg");
    shard(
        &place,
        "mixed/x-train-0000.tar",
        &[
            ("a.jpg", &good),
            ("a.txt", b"a dog"),
            ("b.jpg", &good),
            ("c.txt", b"no picture"),
            ("d.jpg", &good),
            ("d.txt", b"  "),
            ("e.jpg", b""),
            ("e.txt", b"zero bytes"),
            ("f.jpg", &good[..good.len() / 2]),
            ("f.txt", b"cut short"),
            ("g.png", &good),
            ("g.txt", b"wrong extension"),
            ("h.jpg", b"<!DOCTYPE html><html>not found</html>"),
            ("h.txt", b"an error page"),
        ],
    );
    let report: Value = serde_json::from_str(&place.ok("data check mixed --json").stdout).expect("JSON");
    assert_eq!((report["ok"].as_u64(), report["bad"].as_u64()), (Some(2), Some(6)), "{report}");
    let run = "pretrain --config tiny.toml -q --data mixed --set train.steps=2";
    place.fails(&format!("{run} --run-dir strict"), 3, &["left out", "missing_caption", "hint:"]);
    place.ok(&format!("{run} --run-dir lenient --set data.max_skip_ratio=0.9"));
    let quarantine = String::from_utf8(place.read("lenient/quarantine.jsonl")).expect("UTF-8");
    assert_eq!(quarantine.lines().count(), 6, "{quarantine}");
}

#[test]
fn a_cut_shard_is_named_and_its_complete_samples_are_used() {
    let place = Place::new();
    place.ok("data synth --out data --samples 48 --seed 3 --size 32");
    let whole = place.read("data/cc3m-train-0000.tar");
    place.write("cut/cc3m-train-0000.tar", &whole[..whole.len() * 2 / 3]);
    let report: Value = serde_json::from_str(&place.ok("data check cut --json").stdout).expect("JSON");
    assert!(report["ok"].as_u64().is_some_and(|ok| (20..48).contains(&ok)), "{report}");
    assert!(report["problems"].to_string().contains("cc3m-train-0000.tar"), "{report}");
}

#[test]
fn pictures_of_every_kind_and_of_none() {
    let place = Place::new();
    place.ok(&format!("{RUN} --set train.steps=1"));
    place.write("empty.jpg", b"");
    place.write("text.jpg", b"this is no picture");
    for file in ["empty.jpg", "text.jpg", "missing.jpg"] {
        place.fails(&format!("generate --model run --image {file}"), 3, &[file]);
    }
}

#[test]
fn weights_and_tokenizers_that_do_not_fit() {
    let place = Place::new();
    place.ok(RUN);
    fs_err::create_dir_all(place.path("other")).expect("made");
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"]
    {
        fs_err::copy(place.path("run/step-00000012").join(file), place.path("other").join(file)).expect("copied");
    }
    place.ok("generate --model other --max-new-tokens 1 --image run/samples/0.jpg");
    let config = String::from_utf8(place.read("other/config.json")).expect("UTF-8");
    place.write(
        "other/config.json",
        config.replace("\"intermediate_size\": 32", "\"intermediate_size\": 48").as_bytes(),
    );
    place.fails("generate --model other --image run/samples/0.jpg", 2, &["another shape", "file [", "hint:"]);
    place.write("other/config.json", config.replace("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2").as_bytes());
    place.fails("generate --model other --image run/samples/0.jpg", 3, &["lacks", "layers.1", "hint:"]);
    place.write("other/config.json", config.as_bytes());
    let weights = place.read("other/model.safetensors");
    place.write("other/model.safetensors", &weights[..weights.len() - 100]);
    place.fails("generate --model other --image run/samples/0.jpg", 3, &["model.safetensors", "promises"]);
    fs_err::remove_file(place.path("other/model.safetensors")).expect("removed");
    place.fails("generate --model other --image run/samples/0.jpg", 3, &["no weights", "hint:"]);
}

#[test]
fn a_full_disk_costs_no_checkpoint() {
    let place = Place::new();
    fs_err::create_dir(place.path("small")).expect("made");
    let small = place.path("small");
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=3000k", "tmpfs"]).arg(&small).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stdout, reason = "says why nothing was tested")]
        {
            println!("SKIPPED: no small file system can be mounted here");
        }
        return;
    }
    let run = "pretrain --config tiny.toml -q --run-dir small/run --set checkpoint.keep=0 --set checkpoint.every=1";
    let done = place.run(run);
    let kept = crate::support::checkpoints(&place.path("small/run")).len();
    let resumed = place.run("pretrain --resume small/run -q --set checkpoint.keep=1");
    std::process::Command::new("umount").arg(&small).output().expect("umount");
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stderr.contains("room") || done.stderr.contains("space"), "{}", done.stderr);
    assert!(kept >= 1, "earlier checkpoints stay");
    assert!(!resumed.stderr.contains("panicked") && [0, 4].contains(&resumed.code), "{}", resumed.stderr);
}

#[test]
fn a_run_directory_that_cannot_be_written() {
    let place = Place::new();
    place.write("file", b"in the way");
    place.fails("pretrain --config tiny.toml -q --run-dir file/run", 4, &["file"]);
    // Root may write anywhere, so permissions alone prove nothing there.
    fs_err::create_dir(place.path("locked")).expect("made");
    fs_err::set_permissions(place.path("locked"), std::fs::Permissions::from_mode(0o555)).expect("set");
    if fs_err::create_dir(place.path("locked/probe")).is_err() {
        place.fails("pretrain --config tiny.toml -q --run-dir locked/run", 4, &["locked"]);
    }
}
