//! COCO captions: `annotations` of `captions_*.json`, whose pictures are named under `images`; Karpathy's lists.
//!
//! A caption is a row. Names of 2014 (`COCO_val2014_000000000009.jpg`) and 2017 (`000000000009.jpg`) are two names of one
//! picture; the name that the file gives is used.

use std::collections::HashMap;

use mmtrain_text::MediaKind;

use super::captions::{Captioned, name_at};
use super::media::named;
use super::{Captions, NamedMedium, Shape};
use crate::cell::Cell;
use crate::rows::Rows;
use crate::sample::Reject;

/// Captions of `annotations`; `images` are the rows under that key of the same file.
pub fn annotations(images: &dyn Rows) -> impl Shape + use<> {
    let names = names_of(images);
    let medium = move |row: &Cell| {
        let id = row.get("image_id").as_int();
        let name = id.and_then(|id| names.get(&id));
        let missing =
            || Reject::new("missing_media", format!("no picture {} under `images`", shown(row.get("image_id"))));
        name.map(|name| named(MediaKind::Image, name.as_str())).ok_or_else(missing)
    };
    Captioned { medium, captions: Captions::All }
}

/// Karpathy's lists: `image` and one `caption` or five.
pub fn karpathy(captions: Captions) -> impl Shape {
    Captioned { medium: image, captions }
}

fn image(row: &Cell) -> Result<NamedMedium, Reject> {
    name_at(row, "image", MediaKind::Image)
}

/// File names by id.
fn names_of(images: &dyn Rows) -> HashMap<i64, String> {
    let rows = (0..images.len()).filter_map(|index| images.row(index).ok());
    let named = rows.filter_map(|row| Some((row.get("id").as_int()?, row.get("file_name").as_str()?.to_owned())));
    named.collect()
}

fn shown(id: &Cell) -> String {
    id.to_id().map_or_else(|| id.kind().to_owned(), |id| format!("`{id}`"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Json, cell, check_shape, reason_of};
    use super::*;

    #[test]
    fn captions_find_their_pictures_by_id() {
        let images = Json::boxed(&[
            r#"{"id": 9, "file_name": "000000000009.jpg", "height": 480, "width": 640, "license": 3}"#,
            r#"{"id": 25, "file_name": "COCO_train2014_000000000025.jpg"}"#,
            "broken",
        ]);
        let shape = annotations(images.as_ref());
        let row = r#"{"id": 661611, "image_id": 9, "caption": "Closeup of bins of food .\n"}"#;
        let picture = named(MediaKind::Image, "000000000009.jpg");
        check_shape(&shape, row, "U: [image 0] | A: Closeup of bins of food .", &[picture]);
        let row = r#"{"id": 1, "image_id": 25, "caption": "A giraffe"}"#;
        check_shape(
            &shape,
            row,
            "U: [image 0] | A: A giraffe",
            &[named(MediaKind::Image, "COCO_train2014_000000000025.jpg")],
        );
        assert_eq!(reason_of(&shape, r#"{"image_id": 10, "caption": "x"}"#), "missing_media");
        assert_eq!(reason_of(&shape, r#"{"image_id": "9", "caption": "x"}"#), "missing_media");
        assert_eq!(reason_of(&shape, r#"{"image_id": 9, "caption": ""}"#), "empty_caption");
    }

    #[test]
    fn karpathy_lists_have_one_caption_or_five() {
        let shape = karpathy(Captions::All);
        let train =
            r#"{"caption": "A bench", "image": "val2014/COCO_val2014_000000522418.jpg", "image_id": "coco_522418"}"#;
        let picture = named(MediaKind::Image, "val2014/COCO_val2014_000000522418.jpg");
        check_shape(&shape, train, "U: [image 0] | A: A bench", &[picture]);
        let test = cell(r#"{"image": "val2014/a.jpg", "caption": ["a", "b", "c", "d", "e"]}"#);
        assert_eq!((shape.samples_in(&test), karpathy(Captions::First).samples_in(&test)), (Some(5), None));
    }
}
