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
    place.fails(&format!("{RUN} --set train.lerning_rate=1"), 2, &["did you mean", "tuning.full.lr"]);
    place.fails(&format!("{RUN} --set train.ranks=1000"), 2, &["train.ranks", "1000", "2 micro-batches", "hint:"]);
    assert!(!place.path("run").exists());
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
    place.fails("data synth --like coco --out x --samples 3", 2, &["coco", "cc3m"]);
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
fn held_out_data_of_which_nothing_can_be_used_measure_nothing_and_that_is_said() {
    let place = Place::new();
    let row = r#"[{"id": "1", "image": "gone.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat is it?"},
                 {"from": "gpt", "value": "A dog."}]}]"#;
    place.write("gone/rows.json", row.as_bytes());
    let eval = "--set data.eval.path=gone --set data.eval.split=train --set train.eval_every=6 --set train.steps=6";
    let done = place.ok(&format!("{} {eval}", RUN.replace(" -q", "")));
    let warning = "warning: `held_out`: none of the 1 samples that are evaluated can be used";
    assert!(done.stderr.contains(warning), "{}", done.stderr);
    let evaluated = place.metrics("run").into_iter().find(|line| line["kind"] == "eval").expect("an evaluation");
    assert_eq!(evaluated["values"], serde_json::json!({}), "no number that stands for nothing");
    assert_eq!(evaluated["skipped"], 1, "{evaluated}");
    let quarantine = String::from_utf8(place.read("run/quarantine.jsonl")).expect("UTF-8");
    assert!(quarantine.lines().count() == 1 && quarantine.contains("gone"), "named once: {quarantine}");
    let check = place.exits(&format!("data check --config tiny.toml --json {eval}"), 3).stdout;
    let check: Value = serde_json::from_str(&check).expect("JSON");
    assert_eq!((&check["ok"], &check["bad"]), (&48.into(), &1.into()), "held-out data are checked too: {check}");
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
            ("i.jpg", &good),
            ("i.png", &good),
            ("i.txt", b"which of them"),
            ("j.jpg", &good),
            ("j.seg.png", b"a side file"),
            ("j.txt", b"the first one"),
        ],
    );
    let report: Value = serde_json::from_str(&place.exits("data check mixed --json", 3).stdout).expect("JSON");
    assert_eq!((report["ok"].as_u64(), report["bad"].as_u64()), (Some(3), Some(7)), "{report}");
    assert_eq!(report["reasons"]["ambiguous_image"], 1, "{report}");
    let run = "pretrain --config tiny.toml -q --data mixed --set train.steps=2";
    place.fails(
        &format!("{run} --run-dir strict"),
        3,
        &["2 of 10 samples had to be left out", "first: mixed/x-train", "hint:"],
    );
    // One may be bad, the second one is too many: both are on record.
    let quarantine = String::from_utf8(place.read("strict/quarantine.jsonl")).expect("UTF-8");
    assert_eq!(quarantine.lines().count(), 2, "{quarantine}");
    place.ok(&format!("{run} --run-dir lenient --set data.max_skip_ratio=0.9"));
    let quarantine = String::from_utf8(place.read("lenient/quarantine.jsonl")).expect("UTF-8");
    assert_eq!(quarantine.lines().count(), 7, "{quarantine}");
    let page = String::from_utf8(place.read("lenient/report.html")).expect("UTF-8");
    assert!(page.contains("7 samples, ambiguous_image 1, "), "the report counts them");
}

#[test]
fn a_cut_shard_is_named_and_its_complete_samples_are_used() {
    let place = Place::new();
    place.ok("data synth --out data --samples 48 --seed 3 --size 32");
    let whole = place.read("data/cc3m-train-0000.tar");
    place.write("cut/cc3m-train-0000.tar", &whole[..whole.len() * 2 / 3]);
    let report: Value = serde_json::from_str(&place.exits("data check cut --json", 3).stdout).expect("JSON");
    assert!(report["ok"].as_u64().is_some_and(|ok| (20..48).contains(&ok)), "{report}");
    assert!(report["problems"].to_string().contains("cc3m-train-0000.tar"), "{report}");
}

/// Where the third sample of a shard begins.
fn third_sample(bytes: &[u8]) -> usize {
    let mut archive = tar::Archive::new(bytes);
    let mut entries = archive.entries().expect("a tar");
    entries.nth(6).expect("three members a sample").expect("a member").raw_header_position() as usize
}

#[test]
fn what_a_damaged_shard_loses_is_said_wherever_it_is_opened() {
    let place = Place::new();
    place.ok("data synth --out data --samples 48 --seed 3 --size 32");
    let whole = place.read("data/cc3m-train-0000.tar");
    let third = third_sample(&whole);
    let (mut zeroed, mut damaged) = (whole.clone(), whole.clone());
    zeroed[third..third + 512].fill(0);
    damaged[third] ^= 1;
    let cases = [
        ("cut", whole[..third].to_vec(), 2, "shard_cut_short", "without an end-of-archive marker"),
        ("zeroed", zeroed, 2, "shard_data_after_end", "a zeroed header, or several archives in one file"),
        ("twice", [whole.clone(), whole].concat(), 48, "shard_data_after_end", "bytes follow from byte"),
        ("damaged", damaged, 47, "shard_damaged", "is damaged: "),
    ];
    for (name, bytes, left, reason, words) in cases {
        place.write(&format!("{name}/cc3m-train-0000.tar"), &bytes);
        let report: Value =
            serde_json::from_str(&place.exits(&format!("data check {name} --json"), 3).stdout).expect("JSON");
        let mut reasons = serde_json::json!({ reason: 1 });
        if name == "damaged" {
            // What is left of the sample whose picture is lost.
            reasons["missing_image"] = 1.into();
        }
        assert_eq!((&report["reasons"], &report["ok"]), (&reasons, &left.into()), "{report}");
        assert!(place.exits(&format!("data check {name}"), 3).stdout.contains(words), "{name}");
        let run = format!("pretrain --config tiny.toml -q --data {name} --run-dir run-{name} --set train.steps=1");
        for command in [&run, &format!("data stats {name}"), &format!("data show {name}")] {
            let warned = place.ok(command).stderr;
            assert!(warned.contains("warning: shard `cc3m-train-0000.tar`: ") && warned.contains(words), "{warned}");
        }
    }
}

#[test]
fn a_check_says_how_many_bad_samples_it_does_not_show() {
    let place = Place::new();
    let names: Vec<_> = (0..24).map(|i| [format!("{i:02}.jpg"), format!("{i:02}.txt")]).collect();
    let members = names.iter().flat_map(|[jpg, txt]| [(jpg.as_str(), &b""[..]), (txt.as_str(), b"a dog")]);
    shard(&place, "bad/x-train-0000.tar", &members.collect::<Vec<_>>());
    let text = place.exits("data check bad", 3).stdout;
    assert!(text.contains("24  image_empty\n         hint: download the file again"), "{text}");
    assert_eq!(text.matches("         bad/x-train-0000.tar/").count(), 3, "{text}");
    assert!(text.contains("and 21 more (all of them with `--json`)"), "{text}");
    let report: Value = serde_json::from_str(&place.exits("data check bad --json", 3).stdout).expect("JSON");
    assert_eq!(report["left_out"].as_array().map(Vec::len), Some(24), "{report}");
}

/// What decodes although it is unusual: every colour kind, and names that lie.
const UNUSUAL: [&str; 16] = [
    "cmyk_adobe.jpg",
    "ycck_adobe.jpg",
    "progressive.jpg",
    "exif_6.jpg",
    "gray.jpg",
    "gray16.png",
    "rgb16.png",
    "rgba16.png",
    "rgba.png",
    "gray_alpha.png",
    "palette.png",
    "palette_transparent.png",
    "bilevel.png",
    "really_a_png.jpg",
    "animated.gif",
    "lossless_alpha.webp",
];

fn picture(name: &str) -> Vec<u8> {
    fs_err::read(format!("{}/../../tests/fixtures/media/decode/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a fixture")
}

/// Pictures that cannot be used: file, bytes, reason in a check, words of the error.
fn unusable() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let jpeg = picture("rgb_420.jpg");
    let mut huge = picture("rgb.png");
    // Width and height in the header of a PNG.
    huge[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let mut many = picture("rgb.bmp");
    many[18..26].copy_from_slice(&[0, 0x60, 0, 0, 0, 0x60, 0, 0]);
    vec![
        ("empty.jpg", Vec::new(), "image_empty", "empty file"),
        ("text.jpg", b"this is no picture".to_vec(), "not_an_image", "not an image"),
        ("half.jpg", jpeg[..jpeg.len() / 2].to_vec(), "image_truncated_or_corrupt", "truncated or corrupt jpeg"),
        ("huge.png", huge, "image_too_large", "65536x65536 pixels exceeds the limit"),
        ("many.bmp", many, "image_too_large", "24576x24576 pixels exceeds the limit"),
    ]
}

#[test]
fn pictures_of_every_kind_and_of_none() {
    let place = Place::new();
    place.ok(&format!("{RUN} --set train.steps=1"));
    for name in UNUSUAL {
        place.write(name, &picture(name));
        place.ok(&format!("generate --model run --max-new-tokens 1 --image {name}"));
    }
    for (name, bytes, _, words) in unusable() {
        place.write(name, &bytes);
        place.fails(&format!("generate --model run --image {name}"), 3, &[name, words]);
    }
    place.fails("generate --model run --image huge.png", 3, &["hint:", "`data.limits`"]);
    place.fails("generate --model run --image missing.jpg", 3, &["missing.jpg"]);
    place.write("drawing.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    let done = place.run("generate --model run --image drawing.svg");
    assert!(done.code == 3 && done.stderr.contains("SVG") && !done.stderr.contains("web page"), "{}", done.stderr);
}

#[test]
fn pictures_of_every_kind_in_a_shard_and_limits_that_are_set() {
    let place = Place::new();
    let good = UNUSUAL.iter().map(|name| ((*name).to_owned(), picture(name)));
    let bad = unusable();
    let pictures: Vec<_> =
        good.chain(bad.iter().map(|(name, bytes, ..)| ((*name).to_owned(), bytes.clone()))).collect();
    let named = pictures.iter().map(|(name, bytes)| {
        let (key, extension) = name.split_once('.').expect("an extension");
        // Two pictures may have one stem; the whole name makes the key.
        let key = format!("{key}-{extension}");
        (format!("{key}.{extension}"), format!("{key}.txt"), bytes)
    });
    let named: Vec<_> = named.collect();
    let members = named.iter().flat_map(|(image, text, bytes)| [(image.as_str(), &bytes[..]), (text, b"a dog")]);
    shard(&place, "kinds/x-train-0000.tar", &members.collect::<Vec<_>>());

    let report: Value = serde_json::from_str(&place.exits("data check kinds --json", 3).stdout).expect("JSON");
    assert_eq!(report["ok"], UNUSUAL.len(), "{report}");
    for (_, _, reason, _) in &bad {
        let expected = bad.iter().filter(|(_, _, other, _)| other == reason).count();
        assert_eq!(report["reasons"][reason], expected, "{report}");
    }
    let tight = place.exits("data check kinds --json --set data.limits.max_side=4", 3).stdout;
    let report: Value = serde_json::from_str(&tight).expect("JSON");
    assert_eq!(report["ok"], 0, "{report}");
    assert_eq!(report["reasons"]["image_too_large"], UNUSUAL.len() + 2, "{report}");
}

#[test]
fn a_run_without_a_checkpoint_is_no_model_yet() {
    let place = Place::new();
    let mut child = place.start(&format!("{RUN} --set train.global_batch_size=20000"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !place.path("run/metrics.jsonl").exists() {
        assert!(std::time::Instant::now() < deadline, "no start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("waits");
    let done = place.run("generate --model run --prompt x");
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("no checkpoint yet") && done.stderr.contains("--resume"), "{}", done.stderr);
    assert!(!done.stderr.contains("download"), "{}", done.stderr);
}

/// A place with a trained model in `hf`, as a checkpoint from elsewhere would lie there, and a configuration that uses it.
pub(crate) fn place_with_weights() -> (Place, String) {
    place_with_weights_of("")
}

/// The same with weights of a run with other settings.
pub(crate) fn place_with_weights_of(settings: &str) -> (Place, String) {
    let place = Place::new();
    place.ok(&format!("{RUN} {settings}"));
    fs_err::create_dir(place.path("hf")).expect("made");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"] {
        fs_err::copy(place.path("run/step-00000012").join(file), place.path("hf").join(file)).expect("copied");
    }
    let mut config = crate::support::TINY.parse::<toml::Table>().expect("TOML");
    for part in ["encoder", "decoder"] {
        config["model"][part] = toml::Table::from_iter([("weights".to_owned(), "hf".into())]).into();
    }
    config["model"].as_table_mut().expect("a table").remove("tokenizer");
    place.write("weights.toml", config.to_string().as_bytes());
    (place, "pretrain --config weights.toml -q --run-dir second".to_owned())
}

#[test]
fn a_dry_run_reports_the_same_unusable_weights_as_the_run() {
    let (place, run) = place_with_weights();
    let both = |words: &[&str]| {
        let (real, dry) = (place.run(&run), place.run(&format!("{run} --dry-run")));
        assert_eq!((dry.code, &dry.stderr), (real.code, &real.stderr));
        assert_ne!(dry.code, 0, "neither can be made");
        for word in words {
            assert!(dry.stderr.contains(word), "no `{word}` in:\n{}", dry.stderr);
        }
        assert!(!place.path("second").exists());
    };
    let weights = place.read("hf/model.safetensors");
    place.write("hf/model.safetensors", &weights[..weights.len() - 100]);
    both(&["model.safetensors", "promises"]);
    place.write("hf/model.safetensors", &weights);
    place.edit("hf/config.json", "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2");
    both(&["another shape", "k_proj", "hint:"]);
    place.edit("hf/config.json", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 1");
    fs_err::rename(place.path("hf/model.safetensors"), place.path("hf/pytorch_model.bin")).expect("renamed");
    both(&[
        "model.encoder.weights",
        "model.decoder.weights",
        "pytorch_model.bin",
        "hint:",
        "safetensors",
        "save_pretrained",
    ]);
    fs_err::remove_file(place.path("hf/pytorch_model.bin")).expect("removed");
    both(&["no weights in `hf`", "hint:"]);
    place.write("hf/model.safetensors", &weights);
    fs_err::remove_file(place.path("hf/tokenizer.json")).expect("removed");
    both(&["tokenizer.json", "hint:"]);
}

#[test]
fn image_processing_of_a_run_does_not_change_with_the_files_it_came_from() {
    let (place, run) = place_with_weights();
    let run = format!("{run} --set train.encoder.tuning=frozen");
    place.ok(&run.replace("second", "whole"));
    place.ok(&format!("{} --set checkpoint.keep=0", run.replace("second", "part")));
    fs_err::remove_dir_all(place.path("part/step-00000012")).expect("removed");
    let mut processor: Value = serde_json::from_slice(&place.read("hf/preprocessor_config.json")).expect("JSON");
    processor["image_mean"] = serde_json::json!([0.1, 0.2, 0.3]);
    place.write("hf/preprocessor_config.json", processor.to_string().as_bytes());
    place.ok("pretrain --resume part -q");
    assert!(place.final_state("part", 12) == place.final_state("whole", 12));
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
    place.fails("generate --model other --image run/samples/0.jpg", 4, &["another shape", "file [", "hint:"]);
    place.write("other/config.json", config.replace("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2").as_bytes());
    place.fails("generate --model other --image run/samples/0.jpg", 4, &["lacks", "layers.1", "hint:"]);
    place.write("other/config.json", config.as_bytes());
    let weights = place.read("other/model.safetensors");
    place.write("other/model.safetensors", &weights[..weights.len() - 100]);
    place.fails("generate --model other --image run/samples/0.jpg", 4, &["model.safetensors", "promises"]);
    fs_err::remove_file(place.path("other/model.safetensors")).expect("removed");
    place.fails("generate --model other --image run/samples/0.jpg", 3, &["no weights", "hint:"]);
}

/// Mounts a file system of 3 MB, or says why that is not possible here.
fn mount_small(at: &std::path::Path) -> Result<(), String> {
    let mut mount = std::process::Command::new("mount");
    let output = mount.args(["-t", "tmpfs", "-o", "size=3000k", "tmpfs"]).arg(at).output();
    match output {
        Err(error) => Err(format!("`mount` cannot be started: {error}")),
        Ok(output) if !output.status.success() => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Ok(_) => Ok(()),
    }
}

#[test]
fn a_full_disk_costs_no_checkpoint() {
    let place = Place::new();
    let small = place.path("small");
    fs_err::create_dir(&small).expect("made");
    if let Err(reason) = mount_small(&small) {
        // Past the capture of the test harness, so that it is seen; `.config/nextest.toml` shows it too.
        let line = format!("SKIPPED a_full_disk_costs_no_checkpoint: no small file system: {reason}\n");
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("written");
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
fn a_checkpoint_that_cannot_be_written_costs_none_of_those_before() {
    let place = Place::new();
    place.ok(&format!("{RUN} --set train.steps=13"));
    let expected = place.final_state("run", 13);
    place.ok("pretrain --config tiny.toml -q --run-dir short --set train.steps=8 --set schedule.kind=constant");
    let optimizer = place.read("short/step-00000008/optim.safetensors").len() as u64;
    let others = ["config.toml", "tokenizer.json", "state.json", "model.safetensors"];
    let largest = others.map(|name| place.read(&format!("short/step-00000008/{name}")).len() as u64);
    let blocks = optimizer / 512 - 1;
    assert!(largest.iter().all(|bytes| *bytes <= blocks * 512), "only the optimizer's file is too large: {largest:?}");
    fs_err::remove_dir_all(place.path("run/step-00000012")).expect("removed");
    fs_err::remove_dir_all(place.path("run/step-00000013")).expect("removed");
    let done = place.run_limited("pretrain --resume run -q", blocks);
    assert_eq!(done.code, 4, "{}", done.stderr);
    let words = ["saving step 12 failed", "the run goes on", "saving step 13", "File too large", "earlier checkpoints"];
    for word in words {
        assert!(done.stderr.contains(word), "no `{word}` in:\n{}", done.stderr);
    }
    assert_eq!(crate::support::checkpoints(&place.path("run")), ["step-00000008"]);
    assert!(!place.entries("run").iter().any(|name| name.starts_with(".tmp-")), "{:?}", place.entries("run"));
    place.ok("pretrain --resume run -q");
    assert!(place.final_state("run", 13) == expected);
}

#[test]
fn a_run_directory_that_cannot_be_written() {
    let place = Place::new();
    place.write("file", b"in the way");
    place.fails("pretrain --config tiny.toml -q --run-dir file/run", 4, &["file/run", "hint:", "--run-dir"]);
    // Nobody may make directories there.
    place.fails(
        "pretrain --config tiny.toml -q --run-dir /proc/self/run",
        4,
        &["/proc/self/run", "hint:", "--run-dir"],
    );
    // Root may write anywhere, so permissions alone prove nothing there.
    fs_err::create_dir(place.path("locked")).expect("made");
    fs_err::set_permissions(place.path("locked"), std::fs::Permissions::from_mode(0o555)).expect("set");
    if fs_err::create_dir(place.path("locked/probe")).is_err() {
        place.fails("pretrain --config tiny.toml -q --run-dir locked/run", 4, &["locked", "hint:", "may not write"]);
    }
}
