//! MSR-VTT and Video-ChatGPT: tables, clips, captions, answers. Where there is no ffmpeg, that it is asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use mmtrain_synth::{ClipTruth, Like, SynthError, SynthOptions, Truth, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Outcome, has_ffmpeg, rows};

fn options() -> SynthOptions {
    SynthOptions { validation_samples: 20, frames: 8, fps: 4, ..SynthOptions::new(24, 3) }
}

/// The data set; none where there is no ffmpeg, which must have been said.
fn make(like: Like) -> Outcome<Option<TempDir>> {
    let root = tempfile::tempdir()?;
    match write_dataset(like, root.path(), &options()) {
        Err(SynthError::NoFfmpeg) if !has_ffmpeg() => Ok(None),
        made => made.map(|_| Some(root)).map_err(Into::into),
    }
}

fn clip_of(row: &Value) -> ClipTruth {
    serde_json::from_value(row["clip"].clone()).expect("every row has its truth")
}

/// The clip has as many frames as its truth says, and something happens in it.
#[track_caller]
fn plays(path: &Path, truth: &ClipTruth) {
    let ffmpeg = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .expect("ffmpeg runs");
    let frames: Vec<_> = ffmpeg.stdout.chunks(64 * 64 * 3).collect();
    assert_eq!(frames.len(), truth.frames as usize, "{} {}", path.display(), String::from_utf8_lossy(&ffmpeg.stderr));
    // a quarter turn brings a square back to where it was, so any frame may be the one that differs
    let unlike = |frame: &&[u8]| frames[0].iter().zip(*frame).filter(|(a, b)| a.abs_diff(**b) > 40).count();
    let moved = frames.iter().map(unlike).max().unwrap_or(0);
    assert!(moved > 12, "{} {truth:?} {moved}", path.display());
}

#[test]
fn msr_vtt_has_the_keys_of_the_real_set_and_twenty_captions_a_clip() -> Outcome<()> {
    let Some(root) = make(Like::MsrVtt)? else { return Ok(()) };
    let info: Value = serde_json::from_slice(&fs::read(root.path().join("train_val_videodatainfo.json"))?)?;
    let keys: Vec<_> = info.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["info", "videos", "sentences"]);
    let videos = info["videos"].as_array().expect("an array");
    assert_eq!(videos.len(), 44);
    let mut truths = BTreeMap::new();
    let mut unseen = 0;
    for (i, video) in videos.iter().enumerate() {
        let keys = ["category", "url", "video_id", "start time", "end time", "split", "id", "clip"];
        assert_eq!(video.as_object().expect("an object").keys().collect::<Vec<_>>(), keys);
        let (id, clip) = (format!("video{i}"), clip_of(video));
        assert_eq!((video["video_id"].as_str(), video["id"].as_u64()), (Some(id.as_str()), Some(i as u64)));
        assert_eq!(video["split"], if i < 24 { "train" } else { "validate" });
        let seconds = video["end time"].as_f64().unwrap_or_default() - video["start time"].as_f64().unwrap_or_default();
        assert!((seconds - 2.0).abs() < 1e-6, "{seconds}");
        let file = root.path().join(format!("TrainValVideo/{id}.mp4"));
        assert!(file.is_file());
        if i % 4 == 0 {
            plays(&file, &clip);
        }
        assert!(i >= 24 || !clip.is_held_out());
        unseen += usize::from(clip.is_held_out());
        truths.insert(id, (Truth::of_row(video).expect("a clip"), 0));
    }
    assert!(unseen >= 2, "{unseen} held-out clips");
    let sentences = info["sentences"].as_array().expect("an array");
    let ids: Vec<_> = sentences.iter().map(|sentence| sentence["video_id"].as_str().unwrap_or_default()).collect();
    assert!(!ids.is_sorted(), "sentences are not sorted by clip");
    for (i, sentence) in sentences.iter().enumerate() {
        assert_eq!(sentence["sen_id"], i);
        let (truth, count) = truths.get_mut(ids[i]).expect("a known clip");
        let (right, total) = truth.score_caption(sentence["caption"].as_str().unwrap_or_default()).expect("a clip");
        assert_eq!(right, total, "{sentence}");
        *count += 1;
    }
    assert!(truths.values().all(|(_, count)| *count == 20));
    Ok(())
}

#[test]
fn video_chatgpt_has_three_rows_a_clip_and_right_answers() -> Outcome<()> {
    let Some(root) = make(Like::VideoChatGpt)? else { return Ok(()) };
    for (name, count) in [("VideoInstruct100K.json", 24), ("VideoInstruct100K_validation.json", 20)] {
        let all = rows(&root.path().join(name))?;
        assert_eq!(all.len(), count);
        let mut rows_of_clip: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &all {
            let text = |key: &str| row[key].as_str().unwrap_or_default();
            let truth = Truth::of_row(row).expect("a clip");
            assert_eq!(truth.judge(text("q"), text("a")), Some(true), "{row}");
            let mentions = truth.mentions(text("a")).expect("a clip has objects");
            assert!(mentions.invented.is_empty() || text("a").starts_with("No, there is no"), "{row}");
            assert!(text("video_id").len() == 13 && text("video_id").starts_with("v_"));
            *rows_of_clip.entry(text("video_id")).or_default() += 1;
            assert!(count == 20 || !clip_of(row).is_held_out());
        }
        assert_eq!(rows_of_clip.len(), count.div_ceil(3));
        for row in all.iter().step_by(6) {
            let file = format!("videos/{}.mp4", row["video_id"].as_str().unwrap_or_default());
            plays(&root.path().join(file), &clip_of(row));
        }
    }
    Ok(())
}
