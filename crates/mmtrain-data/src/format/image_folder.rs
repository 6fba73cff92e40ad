//! A folder of pictures, clips or sounds with captions in `metadata.csv`, `.jsonl` or `.parquet`, as `datasets` reads them; and
//! what `datasets` makes of one: tables with a column `image`, `video` or `audio`.

use mmtrain_text::MediaKind;

use super::captions::Captioned;
use super::media::{named, of_row};
use super::{Captions, NamedMedium, Shape};
use crate::cell::Cell;
use crate::sample::Reject;

/// Rows of `file_name` (or `image_file_name`, `video_file_name`, `audio_file_name`), or of a medium, and `caption` or `text`.
pub fn image_folder(captions: Captions) -> impl Shape {
    Captioned { medium: file_of, captions }
}

const KEYS: [(&str, MediaKind); 4] = [
    ("file_name", MediaKind::Image),
    ("image_file_name", MediaKind::Image),
    ("video_file_name", MediaKind::Video),
    ("audio_file_name", MediaKind::Audio),
];

fn file_of(row: &Cell) -> Result<NamedMedium, Reject> {
    let found = KEYS.iter().find_map(|(key, kind)| Some((row.get(key).as_str()?, *kind)));
    match found {
        Some((name, kind)) if !name.is_empty() => Ok(named(kind_of(name).unwrap_or(kind), name)),
        _ => only(of_row(row)?),
    }
}

/// The one medium of a row.
fn only(media: Vec<NamedMedium>) -> Result<NamedMedium, Reject> {
    let count = media.len();
    let [only] = <[_; 1]>::try_from(media).map_err(|_| match count {
        0 => Reject::new("missing_media", "neither a `file_name` nor a medium"),
        _ => Reject::new("bad_media", format!("{count} media with one caption")),
    })?;
    Ok(only)
}

/// What a file of this name is, if the name tells.
pub fn kind_of(name: &str) -> Option<MediaKind> {
    match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "png" | "webp" | "gif" | "bmp" => Some(MediaKind::Image),
        "mp4" | "mkv" | "webm" | "avi" | "mov" => Some(MediaKind::Video),
        "wav" | "flac" | "mp3" | "ogg" | "oga" | "m4a" => Some(MediaKind::Audio),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_shape, reason_of};
    use super::*;

    #[test]
    fn the_name_says_what_a_file_is() {
        let shape = image_folder(Captions::All);
        let row = r#"{"file_name": "train/0001.PNG", "text": "a cat"}"#;
        check_shape(&shape, row, "U: [image 0] | A: a cat", &[named(MediaKind::Image, "train/0001.PNG")]);
        let row = r#"{"file_name": "a.flac", "caption": "rain"}"#;
        check_shape(&shape, row, "U: [audio 0] | A: rain", &[named(MediaKind::Audio, "a.flac")]);
        let row = r#"{"video_file_name": "clip", "caption": "rain"}"#;
        check_shape(&shape, row, "U: [video 0] | A: rain", &[named(MediaKind::Video, "clip")]);
        assert_eq!(reason_of(&shape, r#"{"text": "a cat"}"#), "missing_media");
        assert_eq!(reason_of(&shape, r#"{"file_name": "a.png", "label": 3}"#), "missing_caption");
    }
}
