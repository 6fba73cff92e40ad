//! RLHF-V and RLAIF-V: columns, pictures, answers, truths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;
use fs_err::File;
use mmtrain_synth::{Like, SceneTruth, SynthOptions, Truth};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::Value;

use crate::support::{Outcome, contents, make};

fn options() -> SynthOptions {
    SynthOptions { validation_samples: 40, shard_size: 60, size: 32, ..SynthOptions::new(150, 3) }
}

fn read(path: &Path) -> Outcome<(Vec<Row>, String)> {
    let reader = SerializedFileReader::new(File::open(path)?.into_file())?;
    let metadata = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let features = metadata.into_iter().find(|entry| entry.key == "huggingface").and_then(|entry| entry.value);
    let rows = reader.get_row_iter(None)?.collect::<Result<_, _>>()?;
    Ok((rows, features.unwrap_or_default()))
}

fn column<'a>(row: &'a Row, name: &str) -> &'a Field {
    row.get_column_iter().find(|(column, _)| *column == name).map_or(&Field::Null, |(_, field)| field)
}

#[track_caller]
fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    match column(row, name) {
        Field::Str(text) => text,
        other => panic!("`{name}` is {other:?}"),
    }
}

/// `bytes` and `path` of the picture.
#[track_caller]
fn picture(row: &Row) -> (&[u8], &str) {
    let Field::Group(image) = column(row, "image") else { panic!("no picture") };
    match (column(image, "bytes"), column(image, "path")) {
        (Field::Bytes(bytes), Field::Str(path)) => (bytes.data(), path),
        other => panic!("{other:?}"),
    }
}

fn names(row: &Row) -> Vec<&str> {
    row.get_column_iter().map(|(name, _)| name.as_str()).collect()
}

/// Lines of `truth.jsonl` by their id.
fn truths(root: &Path) -> Outcome<BTreeMap<String, Value>> {
    let text = fs::read_to_string(root.join("truth.jsonl"))?;
    let lines = text.lines().map(serde_json::from_str::<Value>);
    lines.map(|line| line.map(|line| (line["id"].to_string(), line)).map_err(Into::into)).collect()
}

#[track_caller]
fn prefers_the_truth(truth: &Value, question: &str, chosen: &str, rejected: &str) {
    let error = truth["error"].as_str().unwrap_or_default();
    assert!(["wrong_attribute", "invented_object", "wrong_count", "denied_object"].contains(&error));
    let truth = Truth::of_row(truth).expect("a scene");
    assert_eq!(truth.judge(question, chosen), Some(true), "{question}\n{chosen}");
    assert_eq!(truth.judge(question, rejected), Some(false), "{question}\n{rejected}");
    assert_ne!(chosen, rejected);
}

#[test]
fn rlhf_v_is_one_file_with_the_real_columns() -> Outcome<()> {
    let root = make(Like::RlhfV, &options())?;
    let files: Vec<_> = contents(root.path())?.into_keys().collect();
    let expected = ["RLHF-V-Dataset.parquet", "RLHF-V-Dataset_validation.parquet", "synth.json", "truth.jsonl"];
    assert_eq!(files, expected);
    let (rows, features) = read(&root.path().join("RLHF-V-Dataset.parquet"))?;
    let truths = truths(root.path())?;
    assert_eq!((rows.len(), truths.len()), (150, 190));
    assert!(features.contains(r#""image":{"_type":"Image"}"#) && features.contains(r#""dtype":"int64""#), "{features}");
    let columns = ["ds_name", "image", "text", "origin_dataset", "origin_split", "idx", "image_path"];
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(names(row), columns);
        assert_eq!(column(row, "idx"), &Field::Long(i as i64));
        let pair: BTreeMap<String, String> = serde_json::from_str(text(row, "text"))?;
        prefers_the_truth(&truths[&i.to_string()], &pair["question"], &pair["chosen"], &pair["rejected"]);
        let (bytes, path) = picture(row);
        assert_eq!(image::load_from_memory(bytes)?.width(), 32);
        assert!(text(row, "image_path").ends_with(path));
        assert!(serde_json::from_str::<Value>(text(row, "origin_split"))?["type"].is_string());
    }
    assert_eq!(rows.iter().map(|row| picture(row).1).collect::<BTreeSet<_>>().len(), 150, "a picture a row");
    Ok(())
}

#[test]
fn rlaif_v_is_several_files_with_the_real_columns() -> Outcome<()> {
    let root = make(Like::RlaifV, &options())?;
    let files: Vec<_> = contents(root.path())?.into_keys().collect();
    let expected = [
        "RLAIF-V-Dataset_000.parquet",
        "RLAIF-V-Dataset_001.parquet",
        "RLAIF-V-Dataset_002.parquet",
        "RLAIF-V-Dataset_validation_000.parquet",
        "synth.json",
        "truth.jsonl",
    ];
    assert_eq!(files, expected);
    let (rows, _) = read(&root.path().join("RLAIF-V-Dataset_002.parquet"))?;
    let truths = truths(root.path())?;
    assert_eq!(rows.len(), 30);
    let columns =
        ["ds_name", "image", "question", "chosen", "rejected", "origin_dataset", "origin_split", "idx", "image_path"];
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(names(row), columns);
        assert_eq!(text(row, "idx"), (120 + i).to_string());
        let truth = &truths[&format!("\"{}\"", 120 + i)];
        prefers_the_truth(truth, text(row, "question"), text(row, "chosen"), text(row, "rejected"));
    }
    let pictures: BTreeSet<_> = rows.iter().map(|row| picture(row).0).collect();
    assert_eq!(pictures.len(), 10, "three rows about each picture");
    Ok(())
}

#[test]
fn held_out_objects_are_in_the_validation_files_only() -> Outcome<()> {
    let root = make(Like::RlaifV, &options())?;
    let mut unseen = Vec::new();
    for (id, truth) in truths(root.path())? {
        let scene: SceneTruth = serde_json::from_value(truth["scene"].clone())?;
        if scene.is_held_out() {
            unseen.push(id.trim_matches('"').parse::<usize>()?);
        }
    }
    assert!(unseen.len() > 4 && unseen.iter().all(|&row| row >= 150), "{unseen:?}");
    Ok(())
}
