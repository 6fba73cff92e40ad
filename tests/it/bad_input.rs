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
            ("i.jpg", &good),
            ("i.png", &good),
            ("i.txt", b"which of them"),
            ("j.jpg", &good),
            ("j.seg.png", b"a side file"),
            ("j.txt", b"the first one"),
        ],
    );
    let report: Value = serde_json::from_str(&place.ok("data check mixed --json").stdout).expect("JSON");
    assert_eq!((report["ok"].as_u64(), report["bad"].as_u64()), (Some(3), Some(7)), "{report}");
    assert_eq!(report["reasons"]["ambiguous_image"], 1, "{report}");
    let run = "pretrain --config tiny.toml -q --data mixed --set train.steps=2";
    place.fails(&format!("{run} --run-dir strict"), 3, &["left out", "missing_caption", "hint:"]);
    // One may be bad, the second one is too many: both are on record.
    let quarantine = String::from_utf8(place.read("strict/quarantine.jsonl")).expect("UTF-8");
    assert_eq!(quarantine.lines().count(), 2, "{quarantine}");
    place.ok(&format!("{run} --run-dir lenient --set data.max_skip_ratio=0.9"));
    let quarantine = String::from_utf8(place.read("lenient/quarantine.jsonl")).expect("UTF-8");
    assert_eq!(quarantine.lines().count(), 7, "{quarantine}");
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

/// Where the third sample of a shard begins.
fn third_sample(bytes: &[u8]) -> usize {
    let mut archive = tar::Archive::new(bytes);
    let mut entries = archive.entries().expect("a tar");
    entries.nth(6).expect("three members a sample").expect("a member").raw_header_position() as usize
}

#[test]
fn what_a_damaged_shard_loses_is_said_by_the_check_and_by_the_run() {
    let place = Place::new();
    place.ok("data synth --out data --samples 48 --seed 3 --size 32");
    let whole = place.read("data/cc3m-train-0000.tar");
    let third = third_sample(&whole);
    let mut zeroed = whole.clone();
    zeroed[third..third + 512].fill(0);
    let cases = [
        ("cut", whole[..third].to_vec(), "shard_cut_short", "without an end-of-archive marker"),
        ("zeroed", zeroed, "shard_data_after_end", "a zeroed header, or several archives in one file"),
        ("twice", [whole.clone(), whole].concat(), "shard_data_after_end", "bytes follow from byte"),
    ];
    for (name, bytes, reason, words) in cases {
        place.write(&format!("{name}/cc3m-train-0000.tar"), &bytes);
        let report: Value = serde_json::from_str(&place.ok(&format!("data check {name} --json")).stdout).expect("JSON");
        assert_eq!(report["reasons"], serde_json::json!({ reason: 1 }), "{report}");
        assert_eq!(report["ok"], if name == "twice" { 48 } else { 2 }, "{report}");
        assert!(place.ok(&format!("data check {name}")).stdout.contains(words), "{name}");
        let run = format!("pretrain --config tiny.toml -q --data {name} --run-dir run-{name} --set train.steps=1");
        let warned = place.ok(&run).stderr;
        assert!(warned.contains("warning: shard `cc3m-train-0000.tar`: ") && warned.contains(words), "{warned}");
    }
}

#[test]
fn a_check_says_how_many_bad_samples_it_does_not_show() {
    let place = Place::new();
    let names: Vec<_> = (0..24).map(|i| [format!("{i:02}.jpg"), format!("{i:02}.txt")]).collect();
    let members = names.iter().flat_map(|[jpg, txt]| [(jpg.as_str(), &b""[..]), (txt.as_str(), b"a dog")]);
    shard(&place, "bad/x-train-0000.tar", &members.collect::<Vec<_>>());
    let text = place.ok("data check bad").stdout;
    assert_eq!(text.matches("image_empty (").count(), 20, "{text}");
    assert!(text.contains("and 4 more (all of them with `--json`)"), "{text}");
    let report: Value = serde_json::from_str(&place.ok("data check bad --json").stdout).expect("JSON");
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

    let report: Value = serde_json::from_str(&place.ok("data check kinds --json").stdout).expect("JSON");
    assert_eq!(report["ok"], UNUSUAL.len(), "{report}");
    for (_, _, reason, _) in &bad {
        let expected = bad.iter().filter(|(_, _, other, _)| other == reason).count();
        assert_eq!(report["reasons"][reason], expected, "{report}");
    }
    let tight = place.ok("data check kinds --json --set data.limits.max_side=4").stdout;
    let report: Value = serde_json::from_str(&tight).expect("JSON");
    assert_eq!(report["ok"], 0, "{report}");
    assert_eq!(report["reasons"]["image_too_large"], UNUSUAL.len() + 3, "{report}");
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
