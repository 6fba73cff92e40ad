//! Boxes that an answer names: as JSON, and drawn on the picture.

use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_media::{Alpha, LabelFont, MarkedBox, MediaLimits, Size, decode};
use mmtrain_score::{BoxUnit, PlacedBoxes, Seen, parse_boxes};
use serde_json::{Value, json};

/// The font of the plots.
const FONT: &[u8] = include_bytes!("../assets/PlotSans-Regular.otf");

/// The boxes of an answer in the pixels of its picture as it is shown, upright. `resized` is the picture that the encoder got; `unit` is what the numbers count
/// ([`BoxUnit::of`] knows the families of models), by the way in which they are written where that is not known.
pub(crate) fn boxes_of(answer: &str, picture: Size, resized: Size, unit: Option<BoxUnit>) -> PlacedBoxes {
    let sides = |size: Size| (size.width, size.height);
    Seen { picture: sides(picture), resized: sides(resized), unit }.place(&parse_boxes(answer))
}

/// `{"boxes": [{"label", "box": [x1, y1, x2, y2], "style"}], "clamped", "degenerate", "malformed"}`.
pub(crate) fn as_json(placed: &PlacedBoxes) -> Value {
    let boxes = placed
        .boxes
        .iter()
        .map(|found| json!({ "label": found.label, "box": found.bounds, "style": found.notation.name() }));
    json!({
        "boxes": boxes.collect::<Vec<_>>(),
        "clamped": placed.clamped,
        "degenerate": placed.degenerate,
        "malformed": placed.malformed,
    })
}

/// Writes the picture with its boxes as a PNG.
pub(crate) fn draw(picture: &Path, placed: &PlacedBoxes, out: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(picture)?;
    let mut pixels = decode(&bytes, &MediaLimits::default(), Alpha::default())
        .with_context(|| format!("`{}`", picture.display()))?;
    let font = LabelFont::new(FONT.to_vec()).context("the bundled font is damaged")?;
    let marked = placed.boxes.iter().map(|found| MarkedBox { bounds: found.bounds, label: found.label.as_deref() });
    font.draw_boxes(&mut pixels, &marked.collect::<Vec<_>>());
    let mut png = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_raw(pixels.width, pixels.height, pixels.data)
        .expect("data is always height * width * 3 bytes");
    image.write_to(&mut png, image::ImageFormat::Png)?;
    fs::write(out, png.into_inner())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_json_and_a_picture() {
        let dir = tempfile::tempdir().expect("a directory");
        let (picture, out) = (dir.path().join("a.png"), dir.path().join("b.png"));
        image::RgbImage::from_pixel(200, 100, image::Rgb([90; 3])).save(&picture).expect("saved");
        let answer = "<|object_ref_start|>犬<|object_ref_end|><|box_start|>(100,100),(500,2000)<|box_end|><box>";
        let placed = boxes_of(answer, Size::new(200, 100), Size::new(448, 224), None);
        let expected = json!({
            "boxes": [{ "label": "犬", "box": [20, 10, 100, 100], "style": "qwen2_vl" }],
            "clamped": 1, "degenerate": 0, "malformed": 1,
        });
        assert_eq!(as_json(&placed), expected);
        draw(&picture, &placed, &out).expect("drawn");
        let drawn = image::open(&out).expect("a picture").into_rgb8();
        assert_eq!(drawn.dimensions(), (200, 100));
        assert_ne!(drawn.get_pixel(20, 50), drawn.get_pixel(10, 50));
        assert!(draw(dir.path(), &placed, &out).is_err());
    }
}
