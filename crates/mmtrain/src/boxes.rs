//! Boxes that an answer names: as JSON, and drawn on the picture.

use std::path::Path;

use anyhow::Context as _;
use fs_err as fs;
use mmtrain_data::{Intake, Preparer};
use mmtrain_media::{Alpha, Fit, LabelFont, MarkedBox, MediaLayout, MediaLimits, Processor, Rgb8, Size, decode};
use mmtrain_model::config::{EncoderConfig, VlmConfig};
use mmtrain_score::{BoxUnit, PlacedBoxes, Seen, parse_boxes};
use serde_json::{Value, json};

/// The font of the plots.
const FONT: &[u8] = include_bytes!("../assets/PlotSans-Regular.otf");

/// What the numbers of a model's boxes count, where its family says so.
pub(crate) fn unit(config: &VlmConfig, preparer: &Preparer) -> Option<BoxUnit> {
    match (&config.encoder, &preparer.intake) {
        (EncoderConfig::QwenVl(qwen), _) if qwen.windows().is_some() => Some(BoxUnit::ResizedPixels),
        (EncoderConfig::QwenVl(_), _) => Some(BoxUnit::Thousandths),
        (_, Intake::Sight { processor: Processor::Square(square), .. }) if square.fit == Fit::PadSquare => {
            Some(BoxUnit::PaddedShares)
        }
        _ => None,
    }
}

/// A picture of which answers speak.
pub(crate) struct Picture {
    pixels: Rgb8,
    /// As the encoder got it.
    resized: Size,
}

impl Picture {
    /// From the bytes of its file, and what became of it.
    pub(crate) fn new(bytes: &[u8], layout: &MediaLayout) -> anyhow::Result<Self> {
        let pixels = decode(bytes, &MediaLimits::default(), Alpha::default())?;
        let whole = Size::new(pixels.width, pixels.height);
        Ok(Self { pixels, resized: resized(layout).unwrap_or(whole) })
    }

    /// The boxes of an answer in the pixels of the picture as it is shown, upright; `unit` is what the numbers count, by the
    /// way in which they are written where that is not known.
    pub(crate) fn boxes_of(&self, answer: &str, unit: Option<BoxUnit>) -> PlacedBoxes {
        let picture = (self.pixels.width, self.pixels.height);
        let resized = (self.resized.width, self.resized.height);
        Seen { picture, resized, unit }.place(&parse_boxes(answer))
    }

    /// Writes it with its boxes as a PNG.
    pub(crate) fn draw(self, placed: &PlacedBoxes, out: &Path) -> anyhow::Result<()> {
        let mut pixels = self.pixels;
        let font = LabelFont::new(FONT.to_vec()).context("the bundled font is damaged")?;
        let marked = placed.boxes.iter().map(|found| MarkedBox { bounds: found.bounds, label: found.label.as_deref() });
        font.draw_boxes(&mut pixels, &marked.collect::<Vec<_>>());
        let mut png = std::io::Cursor::new(Vec::new());
        let image = image::RgbImage::from_raw(pixels.width, pixels.height, pixels.data)
            .expect("data is always height * width * 3 bytes");
        image.write_to(&mut png, image::ImageFormat::Png)?;
        Ok(fs::write(out, png.into_inner())?)
    }
}

/// The size of a picture that was resized as a whole, of which boxes in pixels speak.
fn resized(layout: &MediaLayout) -> Option<Size> {
    match layout {
        MediaLayout::Grid(grid) => Some(Size::new(grid.width * grid.patch_size, grid.height * grid.patch_size)),
        MediaLayout::Square { side } => Some(Size::square(*side)),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_json_and_a_picture() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("b.png");
        let mut png = std::io::Cursor::new(Vec::new());
        let gray = image::RgbImage::from_pixel(200, 100, image::Rgb([90; 3]));
        gray.write_to(&mut png, image::ImageFormat::Png).expect("written");
        let picture = Picture::new(png.get_ref(), &MediaLayout::Square { side: 448 }).expect("a picture");
        let answer = "<|object_ref_start|>犬<|object_ref_end|><|box_start|>(100,100),(500,2000)<|box_end|><box>";
        let placed = picture.boxes_of(answer, None);
        let expected = json!({
            "boxes": [{ "label": "犬", "box": [20, 10, 100, 100], "style": "qwen2_vl" }],
            "clamped": 1, "degenerate": 0, "malformed": 1,
        });
        assert_eq!(as_json(&placed), expected);
        let resized =
            picture.boxes_of("[{\"bbox_2d\": [0, 0, 224, 448], \"label\": \"a\"}]", Some(BoxUnit::ResizedPixels));
        assert_eq!(resized.boxes[0].bounds, [0, 0, 100, 100]);
        picture.draw(&placed, &out).expect("drawn");
        let drawn = image::open(&out).expect("a picture").into_rgb8();
        assert_eq!(drawn.dimensions(), (200, 100));
        assert_ne!(drawn.get_pixel(20, 50), drawn.get_pixel(10, 50));
        assert!(Picture::new(b"no picture", &MediaLayout::Square { side: 448 }).is_err());
    }
}
