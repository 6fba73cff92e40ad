//! CC3M: shards, members, captions and truths.

use std::io::Read;
use std::path::Path;

use fs_err::File;
use mmtrain_synth::{Like, SceneTruth, Split, scene_image, score, write_dataset};
use serde::Deserialize;

use crate::support::{Outcome, contents, small};

fn members(path: &Path) -> Outcome<Vec<(String, Vec<u8>)>> {
    let mut members = Vec::new();
    for entry in tar::Archive::new(File::open(path)?).entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.push((entry.path()?.display().to_string(), bytes));
    }
    Ok(members)
}

#[test]
fn the_layout_is_that_of_cc3m() -> Outcome<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("set");
    let report = write_dataset(Like::Cc3m, &out, &small())?;
    assert_eq!((report.files, report.created), (4, true));
    let names: Vec<_> = contents(&out)?.into_keys().collect();
    let expected = ["cc3m-train-0000.tar", "cc3m-train-0001.tar", "cc3m-train-0002.tar", "cc3m-validation-0000.tar"];
    assert_eq!(names[..4], expected);
    assert_eq!(names[4..], ["synth.json"]);
    let last = members(&out.join("cc3m-train-0002.tar"))?;
    let names: Vec<_> = last.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 15);
    assert_eq!(names[..4], ["000000000.jpg", "000000000.json", "000000000.txt", "000000001.jpg"]);
    Ok(())
}

#[test]
fn picture_text_and_json_belong_together() -> Outcome<()> {
    #[derive(Deserialize)]
    struct Json {
        caption: String,
        key: String,
        exif: String,
        width: u32,
        scene: SceneTruth,
    }
    let root = tempfile::tempdir()?;
    let out = root.path().join("set");
    write_dataset(Like::Cc3m, &out, &small())?;
    let members = members(&out.join("cc3m-train-0001.tar"))?;
    for (i, sample) in members.chunks(3).enumerate() {
        let json: Json = serde_json::from_slice(&sample[1].1)?;
        assert_eq!(json.caption.as_bytes(), sample[2].1);
        assert_eq!((json.key, json.exif.as_str(), json.width), (format!("{i:09}"), "{}", 64));
        assert!(score(&json.caption, &json.scene).is_perfect());
        let (pixels, truth, caption) = scene_image(7, Split::Train, 10 + i as u64, 64);
        assert_eq!((truth, caption), (json.scene, json.caption));
        let decoded = image::load_from_memory(&sample[0].1)?.into_rgb8();
        let error: f64 = decoded.iter().zip(&pixels).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        assert!(error / (pixels.len() as f64) < 8.0, "the JPEG shows the scene");
    }
    let first = String::from_utf8(members[1].1.clone())?;
    assert!(first.starts_with("{\n    \"caption\": "), "{first}");
    Ok(())
}

#[test]
fn train_never_shows_what_validation_holds_out() {
    let held_out = |split, count| (0..count).filter(|&index| scene_image(1, split, index, 32).1.is_held_out()).count();
    assert_eq!(held_out(Split::Train, 3_000), 0);
    let share = held_out(Split::Validation, 1_000);
    assert!((190..280).contains(&share), "{share} of 1000 validation scenes");
}
