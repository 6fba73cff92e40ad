//! MSR-VTT: `sentences` of clips whose split stands under `videos`, Parquet tables with the same columns, and lists of ids.
//!
//! `start time` and `end time` refer to the video that a clip was cut from; they are not used. Archives have the clips under
//! `TrainValVideo/` and `TestVideo/`; a clip is asked for as `videoN.mp4`, and where it lies is the media store's matter.

use std::collections::{BTreeSet, HashMap};

use mmtrain_text::MediaKind;

use super::captions::{Captioned, name_at};
use super::media::named;
use super::selected::Selected;
use super::{Captions, NamedMedium, Shape};
use crate::cell::Cell;
use crate::rows::Rows;
use crate::sample::Reject;

/// Which sentences make samples.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// `train`, `validate` or `test`; `validation` and `val` are `validate`. All where there is none.
    pub split: Option<String>,
    /// Only these clips, of a list such as `MSRVTT_JSFUSION_test.csv`.
    pub only: Option<BTreeSet<String>>,
    /// Every sentence of a clip, or its first.
    pub captions: Captions,
}

/// A sentence is a row.
pub fn msr_vtt() -> impl Shape {
    Captioned { medium: clip, captions: Captions::All }
}

/// The sentences that `choice` wants. `videos`, where there are some, say which split a clip is of; otherwise rows do.
pub fn select(sentences: Box<dyn Rows>, videos: Option<&dyn Rows>, choice: &Choice) -> Selected {
    let splits = videos.map(splits_of);
    let wanted = choice.split.as_deref().map(split_name);
    let mut seen = BTreeSet::new();
    Selected::filter(sentences, |_, row| {
        let Some(id) = id_of(row) else { return true };
        let split = match &splits {
            Some(splits) => splits.get(&id).map(String::as_str),
            None => row.get("split").as_str(),
        };
        let in_split = wanted.is_none_or(|wanted| split.map(split_name) == Some(wanted));
        let listed = choice.only.as_ref().is_none_or(|only| only.contains(&id));
        in_split && listed && (choice.captions == Captions::All || seen.insert(id))
    })
}

/// The ids of a list: its column `video_id`.
pub fn listed(rows: &dyn Rows) -> BTreeSet<String> {
    (0..rows.len()).filter_map(|index| id_of(&rows.row(index).ok()?)).collect()
}

fn clip(row: &Cell) -> Result<NamedMedium, Reject> {
    match id_of(row) {
        Some(id) => Ok(named(MediaKind::Video, format!("{id}.mp4"))),
        None => name_at(row, "video_id", MediaKind::Video),
    }
}

fn id_of(row: &Cell) -> Option<String> {
    row.get_any(&["video_id", "clip_name"]).as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

/// Split by clip.
fn splits_of(videos: &dyn Rows) -> HashMap<String, String> {
    let rows = (0..videos.len()).filter_map(|index| videos.row(index).ok());
    rows.filter_map(|row| Some((id_of(&row)?, row.get("split").as_str()?.to_owned()))).collect()
}

fn split_name(split: &str) -> &str {
    match split {
        "validation" | "val" => "validate",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Json, check_shape, reason_of};
    use super::*;

    fn sentences() -> Box<dyn Rows> {
        Json::boxed(&[
            r#"{"caption": "a car is shown", "video_id": "video0", "sen_id": 0}"#,
            r#"{"caption": "a band plays", "video_id": "video6513", "sen_id": 7}"#,
            r#"{"caption": "a red car drives", "video_id": "video0", "sen_id": 3}"#,
            r#"{"caption": "nobody knows", "video_id": "video99999", "sen_id": 4}"#,
        ])
    }

    fn videos() -> Box<dyn Rows> {
        Json::boxed(&[
            r#"{"category": 9, "url": "https://www.youtube.com/watch?v=AAAAAAAAAAA", "video_id": "video0",
                "start time": 137.72, "end time": 149.44, "split": "train", "id": 0}"#,
            r#"{"video_id": "video6513", "start time": 1.0, "end time": 2, "split": "validate", "id": 6513}"#,
        ])
    }

    fn chosen(choice: &Choice) -> Vec<String> {
        let rows = select(sentences(), Some(videos().as_ref()), choice);
        (0..rows.len()).filter_map(|index| rows.row(index).ok()?.get("caption").to_id()).collect()
    }

    #[test]
    fn every_sentence_is_a_sample_of_its_clip() {
        let row = r#"{"caption": "a car is shown", "video_id": "video0", "sen_id": 0}"#;
        let clip = named(MediaKind::Video, "video0.mp4");
        check_shape(&msr_vtt(), row, "U: [video 0] | A: a car is shown", std::slice::from_ref(&clip));
        let row = r#"{"caption": "a car", "video_id": "video0", "category": 9, "start time": 1.5, "end time": 9.0,
            "split": "train", "id": 0, "url": "u"}"#;
        check_shape(&msr_vtt(), row, "U: [video 0] | A: a car", &[clip]);
        let row = r#"{"caption": "a", "clip_name": "video9771", "sen_id": 1}"#;
        check_shape(&msr_vtt(), row, "U: [video 0] | A: a", &[named(MediaKind::Video, "video9771.mp4")]);
        assert_eq!(reason_of(&msr_vtt(), r#"{"caption": "a"}"#), "missing_media");
    }

    #[test]
    fn splits_are_those_of_the_clips() {
        let split = |name: &str| chosen(&Choice { split: Some(name.into()), ..Choice::default() });
        assert_eq!(split("train"), ["a car is shown", "a red car drives"]);
        assert_eq!(split("validation"), ["a band plays"]);
        assert_eq!(chosen(&Choice::default()).len(), 4);
    }

    #[test]
    fn the_first_sentence_of_each_clip_or_those_of_a_list() {
        let first = Choice { captions: Captions::First, ..Choice::default() };
        assert_eq!(chosen(&first), ["a car is shown", "a band plays", "nobody knows"]);
        let list =
            Json::boxed(&[r#"{"key": "ret0", "vid_key": "msr6513", "video_id": "video6513", "sentence": "a band"}"#]);
        let only = Choice { only: Some(listed(list.as_ref())), ..Choice::default() };
        assert_eq!(chosen(&only), ["a band plays"]);
    }

    #[test]
    fn rows_of_tables_carry_their_split() {
        let rows =
            Json::boxed(&[r#"{"video_id": "video1", "split": "validate"}"#, r#"{"video_id": "v", "split": "train"}"#]);
        let choice = Choice { split: Some("train".into()), ..Choice::default() };
        assert_eq!(select(rows, None, &choice).len(), 1);
    }
}
