//! `WavCaps` and Clotho: tables, names, sounds, captions.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use fs_err as fs;
use mmtrain_synth::{Like, SoundTruth, SynthOptions, Truth};
use serde_json::Value;

use crate::support::{Outcome, contents, make};

fn options() -> SynthOptions {
    SynthOptions { validation_samples: 40, seconds: (1, 2), ..SynthOptions::new(64, 3) }
}

#[track_caller]
fn says_everything(truth: &Truth, caption: &str) {
    let (right, total) = truth.score_caption(caption).expect("a sound");
    assert!(right == total && total >= 4, "{caption} {truth:?}");
    assert!(caption.ends_with('.') && caption.starts_with(char::is_uppercase), "{caption}");
}

/// Samples per second and samples; claxon checks both sums of every frame.
fn read_flac(bytes: &[u8]) -> Outcome<(u32, Vec<i32>)> {
    let mut reader = claxon::FlacReader::new(Cursor::new(bytes))?;
    let info = reader.streaminfo();
    assert_eq!((info.channels, info.bits_per_sample), (1, 16));
    let samples = reader.samples().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(info.samples, Some(samples.len() as u64));
    Ok((info.sample_rate, samples))
}

/// Samples per second and samples of a plain WAV file.
fn read_wav(bytes: &[u8]) -> (u32, Vec<i16>) {
    assert_eq!((&bytes[..4], &bytes[8..16], &bytes[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(number(4) as usize, bytes.len() - 8);
    assert_eq!(number(40) as usize, bytes.len() - 44);
    assert_eq!(bytes[20..24], [1, 0, 1, 0], "PCM, mono");
    let samples = bytes[44..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    (number(24), samples.collect())
}

#[track_caller]
fn lasts(samples: usize, rate: u32, truth: &SoundTruth) {
    assert_eq!(samples as u64, u64::from(truth.duration_ms) * u64::from(rate) / 1000);
}

fn sound_of(row: &Value) -> SoundTruth {
    serde_json::from_value(row["sound"].clone()).expect("every row has its truth")
}

#[test]
fn wavcaps_has_the_four_parts_with_their_keys() -> Outcome<()> {
    let root = make(Like::WavCaps, &options())?;
    let audio = ["id", "caption", "audio", "duration", "sound"].as_slice();
    let bbc = ["id", "description", "category", "caption", "duration", "audio", "download_link", "sound"].as_slice();
    let freesound = [
        "id",
        "file_name",
        "href",
        "tags",
        "description",
        "author",
        "duration",
        "download_link",
        "caption",
        "audio",
        "sound",
    ];
    let bible =
        ["id", "title", "description", "author", "href", "caption", "duration", "audio", "download_link", "sound"];
    for (part, json, keys) in [
        ("AudioSet_SL", "as_final", audio),
        ("BBC_Sound_Effects", "bbc_final", bbc),
        ("FreeSound", "fsd_final", &freesound),
        ("SoundBible", "sb_final", &bible),
    ] {
        let path = root.path().join(format!("json_files/{part}/{json}.json"));
        let file: Value = serde_json::from_slice(&fs::read(path)?)?;
        assert_eq!(file["num_captions_per_audio"], 1);
        let rows = file["data"].as_array().expect("an array");
        assert_eq!(rows.len(), 16);
        for row in rows {
            assert_eq!(row.as_object().expect("an object").keys().collect::<Vec<_>>(), keys);
            let (id, truth) = (row["id"].as_str().expect("ids are texts"), sound_of(row));
            let file = root.path().join(format!("audio/{part}/{}.flac", id.trim_end_matches(".wav")));
            let (rate, samples) = read_flac(&fs::read(file)?)?;
            assert_eq!((rate, row["audio"].as_str()), (32_000, Some("wav_path")));
            lasts(samples.len(), rate, &truth);
            assert!(
                (row["duration"].as_f64().unwrap_or_default() * 1000.0 - f64::from(truth.duration_ms)).abs() < 1e-6
            );
            says_everything(&Truth::of_row(row).expect("a truth"), row["caption"].as_str().unwrap_or_default());
        }
        assert!(part != "BBC_Sound_Effects" || rows[0]["id"].as_str().is_some_and(|id| id.starts_with('0')));
    }
    Ok(())
}

#[test]
fn held_out_sounds_are_in_the_validation_files_only() -> Outcome<()> {
    let root = make(Like::WavCaps, &options())?;
    let mut unseen = [0, 0];
    for (name, bytes) in contents(root.path())?.into_iter().filter(|(name, _)| name.starts_with("json_files")) {
        let file: Value = serde_json::from_slice(&bytes)?;
        let held_out = file["data"].as_array().expect("an array").iter().filter(|row| sound_of(row).is_held_out());
        unseen[usize::from(name.ends_with("_validation.json"))] += held_out.count();
    }
    assert!(unseen[0] == 0 && unseen[1] > 3, "{unseen:?}");
    Ok(())
}

/// The truth of each file name.
fn truth_of(root: &Path, name: &str) -> Outcome<Value> {
    let text = fs::read_to_string(root.join("truth.jsonl"))?;
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    Ok(lines.find(|line| line.as_ref().is_ok_and(|line| line["id"] == name)).ok_or("no truth")??)
}

#[test]
fn clotho_has_five_captions_a_sound_and_names_with_traps() -> Outcome<()> {
    let root = make(Like::Clotho, &options())?;
    let mut names = Vec::new();
    for (split, count) in [("development", 64), ("validation", 40)] {
        let mut reader = csv::Reader::from_path(root.path().join(format!("clotho_captions_{split}.csv")))?;
        let header = ["file_name", "caption_1", "caption_2", "caption_3", "caption_4", "caption_5"];
        assert_eq!(reader.headers()?.iter().collect::<Vec<_>>(), header);
        let records = reader.records().collect::<Result<Vec<_>, _>>()?;
        assert_eq!(records.len(), count);
        for record in &records {
            let line = truth_of(root.path(), &record[0])?;
            let (rate, samples) = read_wav(&fs::read(root.path().join(split).join(&record[0]))?);
            assert_eq!(rate, 44_100);
            lasts(samples.len(), rate, &sound_of(&line));
            let truth = Truth::of_row(&line).expect("a sound");
            record.iter().skip(1).for_each(|caption| says_everything(&truth, caption));
            names.push(record[0].to_owned());
        }
        let metadata = fs::read(root.path().join(format!("clotho_metadata_{split}.csv")))?;
        let mut reader = csv::Reader::from_reader(&metadata[..]);
        let rows = reader.byte_records().collect::<Result<Vec<_>, _>>()?;
        assert!(rows.len() == count && rows.iter().all(|row| row.len() == 7));
        assert!(std::str::from_utf8(&metadata).is_err(), "ISO-8859-1");
    }
    let has = |trap: fn(&String) -> bool| names.iter().any(trap);
    assert!(has(|name| name.starts_with(' ')) && has(|name| name.ends_with(" .wav")));
    assert!(has(|name| name.contains("&amp;")) && has(|name| name.contains(',')));
    Ok(())
}

#[test]
fn clotho_aqa_asks_four_things_about_each_sound_and_answers_in_a_word() -> Outcome<()> {
    let root = make(Like::ClothoAqa, &options())?;
    let mut yes_and_no = [0, 0];
    for (split, count) in [("train", 64), ("val", 40)] {
        let mut reader = csv::Reader::from_path(root.path().join(format!("clotho_aqa_{split}.csv")))?;
        assert_eq!(reader.headers()?.iter().collect::<Vec<_>>(), ["file_name", "QuestionText", "answer", "confidence"]);
        let records = reader.records().collect::<Result<Vec<_>, _>>()?;
        assert_eq!(records.len(), count);
        for rows in records.chunks(4) {
            let line = truth_of(root.path(), &rows[0][0])?;
            let (rate, samples) = read_wav(&fs::read(root.path().join("audio_files").join(&rows[0][0]))?);
            lasts(samples.len(), rate, &sound_of(&line));
            let truth = Truth::of_row(&line).expect("a sound");
            for row in rows {
                assert_eq!((&row[0], truth.judge(&row[1], &row[2])), (&rows[0][0], Some(true)), "{row:?}");
                assert!(!row[2].contains(' '), "{row:?}");
                yes_and_no[0] += usize::from(&row[2] == "Yes");
                yes_and_no[1] += usize::from(&row[2] == "No");
            }
            let questions: BTreeSet<_> = rows.iter().map(|row| &row[1]).collect();
            assert_eq!(questions.len(), 4);
        }
    }
    assert!(yes_and_no.iter().all(|&count| count > 10), "{yes_and_no:?}");
    Ok(())
}

#[test]
fn questions_about_sounds_are_judged() -> Outcome<()> {
    let root = make(Like::WavCaps, &options())?;
    let path = root.path().join("json_files/FreeSound/fsd_final.json");
    let file: Value = serde_json::from_slice(&fs::read(path)?)?;
    let mut judged = 0;
    for row in file["data"].as_array().expect("an array") {
        let truth = Truth::of_row(row).expect("a sound");
        for asked in truth.questions() {
            assert_eq!(truth.judge(&format!("<audio>\n{}", asked.question), &asked.answer), Some(true), "{asked:?}");
            assert_eq!(truth.judge(&asked.question, "Perhaps."), Some(false), "{asked:?}");
            judged += 1;
        }
        assert_eq!(truth.judge("What is the weather like?", "Fine."), None);
    }
    assert!(judged > 60, "{judged}");
    Ok(())
}
