//! Media as rows have them: names, bytes, `datasets`' struct of both, lists of these, and clips as lists of frames.

use mmtrain_text::MediaKind;

use super::{MediaPlace, NamedMedium};
use crate::cell::Cell;
use crate::sample::Reject;

/// Extensions of pictures, in lower case; a clip of such a name is a picture (`VideoLLaMA2` has some).
const PICTURES: [&str; 8] = ["jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff"];

/// Columns that hold media, in the order in which a row's media are numbered.
const COLUMNS: [(MediaKind, &[&str]); 3] = [
    (MediaKind::Image, &["images", "image"]),
    (MediaKind::Video, &["videos", "video"]),
    (MediaKind::Audio, &["audios", "audio"]),
];

/// The media of the columns `images`, `image`, `videos`, `video`, `audios` and `audio`.
pub(super) fn of_row(row: &Cell) -> Result<Vec<NamedMedium>, Reject> {
    let columns = COLUMNS.iter().map(|(kind, names)| column(row.get_any(names), *kind));
    Ok(columns.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The media of a column: none, one or a list. Empty names are none, as rows without a picture may have them.
pub(super) fn column(cell: &Cell, kind: MediaKind) -> Result<Vec<NamedMedium>, Reject> {
    match cell {
        _ if is_none(cell) => Ok(Vec::new()),
        Cell::List(items) if kind == MediaKind::Video && is_frames(items) => Ok(vec![medium(cell, kind)?]),
        Cell::List(items) => items.iter().filter(|item| !is_none(item)).map(|item| medium(item, kind)).collect(),
        one => Ok(vec![medium(one, kind)?]),
    }
}

/// One medium; of a clip, a list is its frames.
pub(super) fn medium(cell: &Cell, kind: MediaKind) -> Result<NamedMedium, Reject> {
    if let (MediaKind::Video, Cell::List(frames)) = (kind, cell) {
        let frames = frames.iter().map(file).collect::<Result<Vec<_>, _>>()?;
        if frames.is_empty() {
            return Err(Reject::new("bad_media", "a clip without frames"));
        }
        return Ok(NamedMedium { kind, at: MediaPlace::Frames(frames) });
    }
    let at = file(cell)?;
    let kind = if kind == MediaKind::Video && is_picture(&at) { MediaKind::Image } else { kind };
    Ok(NamedMedium { kind, at })
}

/// A file by name.
pub(super) fn named(kind: MediaKind, name: impl Into<String>) -> NamedMedium {
    NamedMedium { kind, at: MediaPlace::Named(name.into()) }
}

/// A name, bytes, or a struct of both, of which the bytes count if they are there (`datasets`' `decode_example`).
fn file(cell: &Cell) -> Result<MediaPlace, Reject> {
    match cell {
        Cell::Text(name) if !name.is_empty() => Ok(MediaPlace::Named(name.clone())),
        Cell::Bytes(bytes) => Ok(MediaPlace::Inline(bytes.clone())),
        Cell::Struct(_) => match (cell.get("bytes"), cell.get_any(&["path", "url"])) {
            (Cell::Bytes(bytes), _) => Ok(MediaPlace::Inline(bytes.clone())),
            (Cell::Null, Cell::Text(path)) if !path.is_empty() => Ok(MediaPlace::Named(path.clone())),
            _ => Err(Reject::new("bad_media", "an object that has neither bytes nor a path")),
        },
        other => Err(Reject::new("bad_media", format!("{} where a file was expected", other.kind()))),
    }
}

fn is_none(cell: &Cell) -> bool {
    cell.is_null() || cell.as_str() == Some("")
}

/// Whether a list in a column of clips is one clip: names of pictures.
fn is_frames(items: &[Cell]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.as_str().is_some_and(has_picture_name))
}

fn is_picture(at: &MediaPlace) -> bool {
    matches!(at, MediaPlace::Named(name) if has_picture_name(name))
}

fn has_picture_name(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| PICTURES.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Vec<NamedMedium>, Reject> {
        of_row(&Cell::from_json(json.as_bytes()).expect("valid json"))
    }

    #[track_caller]
    fn check(json: &str, expected: &[NamedMedium]) {
        assert_eq!(of(json).expect("media"), expected);
    }

    #[test]
    fn a_column_holds_none_one_or_several() {
        let (a, b) = (named(MediaKind::Image, "a.jpg"), named(MediaKind::Image, "b.jpg"));
        check(r#"{"id": 1}"#, &[]);
        check(r#"{"image": null, "video": ""}"#, &[]);
        check(r#"{"image": "a.jpg"}"#, std::slice::from_ref(&a));
        check(r#"{"images": ["a.jpg", {"bytes": null, "path": "b.jpg"}]}"#, &[a.clone(), b]);
        check(r#"{"images": [], "audio": "x.wav"}"#, &[named(MediaKind::Audio, "x.wav")]);
    }

    #[test]
    fn clips_are_files_or_lists_of_frames_and_pictures_where_they_are_called_so() {
        let frames = ["1.jpg", "2.jpg"].map(|name| MediaPlace::Named(name.into())).to_vec();
        let clip = NamedMedium { kind: MediaKind::Video, at: MediaPlace::Frames(frames) };
        check(r#"{"video": "v.mp4"}"#, &[named(MediaKind::Video, "v.mp4")]);
        check(r#"{"video": ["1.jpg", "2.jpg"]}"#, std::slice::from_ref(&clip));
        check(r#"{"videos": [["1.jpg", "2.jpg"], "v.mp4"]}"#, &[clip, named(MediaKind::Video, "v.mp4")]);
        check(r#"{"video": "p.JPG"}"#, &[named(MediaKind::Image, "p.JPG")]);
    }

    #[test]
    fn bytes_count_before_the_path() {
        let both = Cell::Struct(vec![
            ("path".into(), Cell::Text("a.jpg".into())),
            ("bytes".into(), Cell::Bytes(b"jpeg".to_vec())),
        ]);
        let medium = medium(&both, MediaKind::Image).expect("a medium");
        assert_eq!(medium.at, MediaPlace::Inline(b"jpeg".to_vec()));
    }

    #[test]
    fn what_is_no_file_is_rejected() {
        for json in [r#"{"image": 7}"#, r#"{"image": {"bytes": null, "path": null}}"#, r#"{"videos": [[]]}"#] {
            assert_eq!(of(json).expect_err(json).reason, "bad_media");
        }
    }
}
