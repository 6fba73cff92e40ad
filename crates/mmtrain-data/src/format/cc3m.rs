//! CC3M's table of captions and addresses, and the pictures that were downloaded from it.
//!
//! A column may name the file of a picture. Without one, pictures are called by their `key`, or by the number of their row,
//! from 0, as img2dataset calls those that it writes as files: `00012/000123456.jpg`, four digits of the key standing for the
//! place in the directory.

use mmtrain_text::MediaKind;

use super::captions::Captioned;
use super::media::named;
use super::video_chatgpt::NUMBER;
use super::{Captions, NamedMedium, Shape};
use crate::cell::Cell;
use crate::rows::Rows;
use crate::sample::Reject;
use crate::store::MediaStore;

/// Names of columns that name files.
pub const FILES: [&str; 4] = ["file", "file_name", "image", "path"];

/// How pictures are called that no column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `00012/000123456`
    InShards,
    /// `000123456`
    Padded,
    /// `123456`
    Plain,
}

/// Rows that first of which a picture is found are looked at for its name.
const LOOKED_AT: usize = 256;

impl Naming {
    /// That of the first picture which is there; of rows with their number.
    pub fn seen(rows: &dyn Rows, media: &dyn MediaStore) -> Option<Self> {
        let is_there =
            |row: &Cell, naming: Self| naming.name(row).is_some_and(|name| media.open(&name, MediaKind::Image).is_ok());
        (0..rows.len().min(LOOKED_AT)).find_map(|index| {
            let row = rows.row(index).ok()?;
            [Self::InShards, Self::Padded, Self::Plain].into_iter().find(|naming| is_there(&row, *naming))
        })
    }

    /// The name of a row's picture; the store knows other extensions too.
    fn name(self, row: &Cell) -> Option<String> {
        let number = row.get(NUMBER).as_int();
        let key = row.get("key").to_id().or_else(|| Some(format!("{:09}", number?)))?;
        Some(match self {
            Self::InShards => format!("{}/{key}.jpg", key.get(..key.len().checked_sub(4)?)?),
            Self::Padded => format!("{key}.jpg"),
            Self::Plain => Self::plain(number?),
        })
    }

    /// What the picture of a row is called by its number alone.
    pub fn plain(number: i64) -> String {
        format!("{number}.jpg")
    }
}

/// `caption` and `url`, with a column of files or, in rows with their number, names of pictures.
pub fn cc3m_tsv(naming: Option<Naming>) -> impl Shape {
    let medium = move |row: &Cell| match row.get_any(&FILES) {
        Cell::Text(name) if !name.is_empty() => Ok(named(MediaKind::Image, name.as_str())),
        _ => called(row, naming),
    };
    Captioned { medium, captions: Captions::All }
}

fn called(row: &Cell, naming: Option<Naming>) -> Result<NamedMedium, Reject> {
    let name = naming.and_then(|naming| naming.name(row));
    let url = row.get("url").as_str().unwrap_or("no address");
    let missing = || {
        let detail =
            format!("the picture of `{url}` is not there: no column names its file, nor is one called by its row");
        Reject::new("missing_media", detail)
    };
    name.map(|name| named(MediaKind::Image, name)).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_shape, reason_of};
    use super::*;

    #[track_caller]
    fn check(naming: Option<Naming>, rest: &str, name: &str) {
        let row = format!(r#"{{"caption": "the \"red\" boat , é", "url": "http://example.org/1.jpg", {rest}}}"#);
        let picture = named(MediaKind::Image, name);
        check_shape(&cc3m_tsv(naming), &row, "U: [image 0] | A: the \"red\" boat , é", &[picture]);
    }

    #[test]
    fn pictures_are_called_by_their_column_their_key_or_their_row() {
        check(Some(Naming::Plain), r#""file": "1.jpg", "__row__": 7"#, "1.jpg");
        check(Some(Naming::InShards), r#""__row__": 123456"#, "00012/000123456.jpg");
        check(Some(Naming::InShards), r#""key": "0000170004", "__row__": 5"#, "000017/0000170004.jpg");
        check(Some(Naming::Padded), r#""__row__": 17"#, "000000017.jpg");
        check(Some(Naming::Plain), r#""__row__": 17"#, "17.jpg");
    }

    #[test]
    fn a_row_without_a_picture_has_a_reason() {
        for (naming, row) in [
            (None, r#"{"caption": "x", "url": "u", "__row__": 1}"#),
            (Some(Naming::InShards), r#"{"caption": "x", "key": "é€"}"#),
        ] {
            assert_eq!(reason_of(&cc3m_tsv(naming), row), "missing_media");
        }
    }
}
