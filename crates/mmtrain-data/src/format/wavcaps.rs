//! `WavCaps`: rows under `data`, whose sounds are called after their `id`, and the lists of sounds to leave out.
//!
//! `"audio": "wav_path"` is a placeholder in the published files and not used. Ids are kept as text, since BBC's begin with
//! zeros. `AudioSet`'s end in `.wav`; the files are `.flac` in all parts.

use std::collections::BTreeSet;

use mmtrain_text::MediaKind;

use super::captions::Captioned;
use super::media::named;
use super::selected::Selected;
use super::{Captions, NamedMedium, Shape};
use crate::cell::Cell;
use crate::rows::Rows;
use crate::sample::Reject;

/// A sound and its caption, or several.
pub fn wavcaps(captions: Captions) -> impl Shape {
    Captioned { medium: sound, captions }
}

/// Without the rows whose ids are on `lists`, each `{"AudioSet": […], "FreeSound": […]}`.
///
/// Ids of `FreeSound` and `SoundBible` are numbers that occur in both; the name of a file says which part it is, and a file of
/// another name may be any.
pub fn without(rows: Box<dyn Rows>, lists: &[Cell]) -> Selected {
    let excluded: BTreeSet<(String, String)> = lists.iter().flat_map(listed).collect();
    Selected::filter(rows, |place, row| {
        let Some(id) = row.get("id").to_id() else { return true };
        let is_listed = |part: &str| excluded.contains(&(part.to_owned(), stem(&id).to_owned()));
        !parts_of(place.file).iter().any(|part| is_listed(part))
    })
}

/// Part and id of what is on a list, ids without `.wav`.
fn listed(list: &Cell) -> Vec<(String, String)> {
    let ids = list.fields().iter().flat_map(|(part, ids)| ids.items().iter().map(move |id| (part, id)));
    ids.filter_map(|(part, id)| Some((part.clone(), stem(&id.to_id()?).to_owned()))).collect()
}

/// Which lists concern a file of rows: `as_final.json`, `fsd_final.json`, `fsd_final_2s.json`, `bbc_final.json`, `sb_final.json`.
fn parts_of(file: &str) -> &'static [&'static str] {
    let name = file.rsplit('/').next().unwrap_or(file);
    match name.split('_').next() {
        Some("as") => &["AudioSet"],
        Some("fsd") => &["FreeSound"],
        Some("bbc" | "sb") => &[],
        _ => &["AudioSet", "FreeSound"],
    }
}

fn sound(row: &Cell) -> Result<NamedMedium, Reject> {
    match (row.get("id").to_id(), row.get("audio").as_str()) {
        (Some(id), _) if !id.is_empty() => Ok(named(MediaKind::Audio, format!("{}.flac", stem(&id)))),
        // Files with several captions have the true path instead.
        (_, Some(path)) if !path.is_empty() && path != "wav_path" => Ok(named(MediaKind::Audio, path)),
        _ => Err(Reject::new("missing_media", "neither `id` nor the path of a file under `audio`")),
    }
}

fn stem(id: &str) -> &str {
    id.strip_suffix(".wav").unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Json, cell, check_shape, reason_of};
    use super::*;

    #[test]
    fn files_are_called_after_ids() {
        let check = |row: &str, name: &str| {
            check_shape(
                &wavcaps(Captions::All),
                row,
                "U: [audio 0] | A: A bell rings.",
                &[named(MediaKind::Audio, name)],
            );
        };
        check(
            r#"{"id": "Yb0RFKhbpFJA.wav", "caption": "A bell rings.", "audio": "wav_path", "duration": 10.0}"#,
            "Yb0RFKhbpFJA.flac",
        );
        check(
            r#"{"id": "07066104", "description": "d", "category": "['Machines']", "caption": "A bell rings.",
                "audio": "wav_path", "duration": 12, "download_link": "u"}"#,
            "07066104.flac",
        );
        check(r#"{"id": 180913, "file_name": "x.mp3", "caption": "A bell rings."}"#, "180913.flac");
        check(r#"{"audio": "waveforms/a.wav", "caption": "A bell rings."}"#, "waveforms/a.wav");
        assert_eq!(reason_of(&wavcaps(Captions::All), r#"{"audio": "wav_path", "caption": "x"}"#), "missing_media");
    }

    #[test]
    fn files_with_five_captions_make_five_samples() {
        let row = cell(
            r#"{"audio": "a.wav", "caption_1": "1", "caption_2": "2", "caption_3": "3", "caption_4": "4", "caption_5": "5",
                "duration": 20.1}"#,
        );
        assert_eq!(wavcaps(Captions::All).samples_in(&row), Some(5));
    }

    #[test]
    fn listed_sounds_are_left_out() {
        let list = cell(r#"{"AudioSet": ["Ya.wav"], "FreeSound": ["123"]}"#);
        let kept = |file: &'static str| {
            let rows = [r#"{"id": "Ya.wav"}"#, r#"{"id": "123"}"#, r#"{"id": "0123"}"#, r#"{"id": "Yb.wav"}"#];
            let kept = without(Json::named(file, &rows), std::slice::from_ref(&list));
            (0..kept.len()).filter_map(|index| kept.row(index).ok()?.get("id").to_id()).collect::<Vec<_>>()
        };
        assert_eq!(kept("mine.json"), ["0123", "Yb.wav"]);
        assert_eq!(kept("json_files/FreeSound/fsd_final.json"), ["Ya.wav", "0123", "Yb.wav"]);
        assert_eq!(kept("sb_final.json").len(), 4);
    }
}
