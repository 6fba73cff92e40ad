//! Boxes with labels on a picture, for people to look at.

mod hex;

use ab_glyph::{Font, FontArc, ScaleFont, point};

use crate::Rgb8;

/// Colours of boxes, by turns: far from one another, and from most photographs.
const COLOURS: [[u8; 3]; 8] = [
    [230, 25, 75],
    [0, 130, 200],
    [60, 180, 75],
    [255, 225, 25],
    [145, 30, 180],
    [245, 130, 48],
    [70, 240, 240],
    [240, 50, 230],
];
/// Shorter side of a picture for each pixel of a line: 3 pixels at 480.
const SIDE_PER_PIXEL: u32 = 160;
/// Pixels of a line at most.
const MAX_LINE: u32 = 16;
/// Height of text for each pixel of a line; a code point in a frame is not legible below the smallest.
const TEXT_PER_PIXEL: u32 = 6;
const MIN_TEXT: u32 = 16;
/// Characters of a label that are drawn.
const MAX_LABEL: usize = 60;

/// A box to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedBox<'a> {
    /// `[x1, y1, x2, y2]` in pixels; the right and lower edge are outside. What is not in the picture is not drawn.
    pub bounds: [u32; 4],
    /// What stands above it.
    pub label: Option<&'a str>,
}

/// A font for labels. Characters that it lacks are drawn as a frame with their code point in hexadecimal digits, as GNU
/// Unifont does for what has no glyph.
#[derive(Debug, Clone)]
pub struct LabelFont(FontArc);

impl LabelFont {
    /// Reads TrueType or OpenType; `None` if it is damaged.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        FontArc::try_from_vec(bytes).ok().map(Self)
    }

    /// Draws `boxes`, each of the next colour. First all frames, then all labels.
    pub fn draw_boxes(&self, picture: &mut Rgb8, boxes: &[MarkedBox]) {
        let shorter = picture.width.min(picture.height);
        let line = (shorter / SIDE_PER_PIXEL).clamp(1, MAX_LINE);
        let coloured = || boxes.iter().zip(COLOURS.into_iter().cycle());
        for (marked, colour) in coloured() {
            frame(picture, marked.bounds, line, colour);
        }
        let text = Text { font: self, height: (line * TEXT_PER_PIXEL).max(MIN_TEXT) };
        for (marked, colour) in coloured() {
            if let Some(label) = marked.label {
                text.tag(picture, marked.bounds, &shown(label), colour);
            }
        }
    }
}

/// A label on one line, cut where it is long.
fn shown(label: &str) -> String {
    let one_line = label.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut one_line = one_line.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = one_line.char_indices().nth(MAX_LABEL) {
        one_line.truncate(end);
        one_line.push('…');
    }
    one_line
}

fn frame(picture: &mut Rgb8, [x1, y1, x2, y2]: [u32; 4], line: u32, colour: [u8; 3]) {
    let inner = [x1.saturating_add(line), y1.saturating_add(line), x2.saturating_sub(line), y2.saturating_sub(line)];
    fill(picture, [x1, y1, x2, inner[1].min(y2)], colour);
    fill(picture, [x1, inner[3].max(y1), x2, y2], colour);
    fill(picture, [x1, y1, inner[0].min(x2), y2], colour);
    fill(picture, [inner[2].max(x1), y1, x2, y2], colour);
}

/// What of the rectangle lies in the picture.
fn fill(picture: &mut Rgb8, [x1, y1, x2, y2]: [u32; 4], colour: [u8; 3]) {
    for y in y1..y2.min(picture.height) {
        for x in x1..x2.min(picture.width) {
            blend(picture, x, y, colour, 1.0);
        }
    }
}

/// Puts `share` of a colour over a pixel, if there is one.
fn blend(picture: &mut Rgb8, x: u32, y: u32, colour: [u8; 3], share: f32) {
    if x >= picture.width || y >= picture.height {
        return;
    }
    let at = (y as usize * picture.width as usize + x as usize) * 3;
    for (level, ink) in picture.data[at..at + 3].iter_mut().zip(colour) {
        *level = (f32::from(*level) + (f32::from(ink) - f32::from(*level)) * share.clamp(0.0, 1.0)).round() as u8;
    }
}

/// Black or white, whichever is easier to read on a colour (luma of ITU-R BT.601).
fn ink_on([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let luma = (u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114) / 1000;
    if luma > 140 { [0; 3] } else { [255; 3] }
}

/// Text of a height in pixels.
struct Text<'a> {
    font: &'a LabelFont,
    height: u32,
}

impl Text<'_> {
    /// A filled tag above the box, or in it where there is no room above; moved left where it would reach over the edge.
    fn tag(&self, picture: &mut Rgb8, [x1, y1, ..]: [u32; 4], label: &str, colour: [u8; 3]) {
        let margin = self.height / 6;
        let (width, height) = (self.width(label) + 2 * margin, self.height + margin);
        let left = x1.min(picture.width.saturating_sub(width));
        let top = y1.checked_sub(height).unwrap_or(y1);
        fill(picture, [left, top, left.saturating_add(width), top.saturating_add(height)], colour);
        self.write(picture, left + margin, top + margin / 2, label, ink_on(colour));
    }

    fn width(&self, text: &str) -> u32 {
        text.chars().map(|c| self.advance(c)).sum::<f32>().ceil() as u32
    }

    fn advance(&self, c: char) -> f32 {
        let font = self.font.0.as_scaled(self.height as f32);
        match font.glyph_id(c) {
            lacking if lacking.0 == 0 => hex::width(c, self.height) as f32,
            glyph => font.h_advance(glyph),
        }
    }

    fn write(&self, picture: &mut Rgb8, left: u32, top: u32, text: &str, ink: [u8; 3]) {
        let font = self.font.0.as_scaled(self.height as f32);
        let mut x = left as f32;
        for c in text.chars() {
            let glyph = font.glyph_id(c);
            if glyph.0 == 0 {
                for (right, down) in hex::cell(c, self.height) {
                    blend(picture, x as u32 + right, top + down, ink, 1.0);
                }
            } else {
                let placed = glyph.with_scale_and_position(font.scale(), point(x, top as f32 + font.ascent()));
                if let Some(outline) = font.outline_glyph(placed) {
                    let corner = outline.px_bounds().min;
                    outline.draw(|right, down, share| {
                        let (x, y) = (corner.x + right as f32, corner.y + down as f32);
                        if x >= 0.0 && y >= 0.0 {
                            blend(picture, x as u32, y as u32, ink, share);
                        }
                    });
                }
            }
            x += self.advance(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREY: [u8; 3] = [90; 3];

    fn font() -> LabelFont {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../mmtrain/assets/PlotSans-Regular.otf");
        LabelFont::new(fs_err::read(path).expect("the font is there")).expect("a font")
    }

    fn drawn(width: u32, height: u32, boxes: &[MarkedBox]) -> Rgb8 {
        let mut picture = Rgb8::filled(width, height, GREY);
        font().draw_boxes(&mut picture, boxes);
        picture
    }

    fn at(picture: &Rgb8, x: u32, y: u32) -> [u8; 3] {
        let at = (y * picture.width + x) as usize * 3;
        picture.data[at..at + 3].try_into().expect("three levels")
    }

    #[test]
    fn a_frame_of_three_pixels_lies_within_its_bounds() {
        let picture = drawn(640, 480, &[MarkedBox { bounds: [100, 200, 300, 400], label: None }]);
        let red = COLOURS[0];
        for (x, y) in [(100, 200), (102, 300), (299, 399), (297, 250), (200, 202), (200, 397)] {
            assert_eq!(at(&picture, x, y), red, "{x} {y}");
        }
        for (x, y) in [(99, 200), (103, 203), (300, 399), (299, 400), (200, 300), (296, 396)] {
            assert_eq!(at(&picture, x, y), GREY, "{x} {y}");
        }
    }

    #[test]
    fn every_box_has_a_colour_and_a_tag_within_the_picture() {
        let boxes = [[0, 0, 50, 40], [600, 300, 640, 480]].map(|bounds| MarkedBox { bounds, label: Some("a big dog") });
        let picture = drawn(640, 480, &boxes);
        let second = (0..picture.width).filter(|&x| at(&picture, x, 290) == COLOURS[1]).collect::<Vec<_>>();
        assert_eq!(second.last(), Some(&639), "moved left to the edge");
        assert!(second[0] < 600, "{second:?}");
        let inks = picture.data.chunks(3).filter(|pixel| *pixel == [255; 3]).count();
        assert!(inks > 40, "{inks} white pixels of text on red and blue");
    }

    #[test]
    fn characters_without_a_glyph_are_told_apart_by_their_code_point() {
        let label = |label| drawn(200, 100, &[MarkedBox { bounds: [10, 40, 90, 90], label: Some(label) }]);
        let pictures = ["狗", "猫", "🐕", "dog", ""].map(label);
        for (index, one) in pictures.iter().enumerate() {
            assert!(pictures[..index].iter().all(|other| other != one), "{index}");
        }
        assert_eq!(label(" \n狗\t"), label("狗"));
    }

    #[test]
    fn long_labels_are_cut() {
        assert_eq!(shown(&"ab ".repeat(100)).chars().count(), MAX_LABEL + 1);
        assert_eq!(shown("a\n b\u{7}"), "a b");
    }

    #[test]
    fn what_is_no_font_is_none() {
        assert!(LabelFont::new(b"no font".to_vec()).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_box_and_label_leaves_a_picture_of_its_size(
            width in 0..90_u32, height in 0..90_u32,
            boxes in prop::collection::vec((prop::array::uniform4(prop_oneof![0..100_u32, Just(u32::MAX)]), ".{0,12}"), 0..4),
        ) {
            let marked = boxes.iter().map(|(bounds, label)| MarkedBox { bounds: *bounds, label: Some(label) });
            let picture = drawn(width, height, &marked.collect::<Vec<_>>());
            prop_assert_eq!(picture.data.len(), (width * height * 3) as usize);
        }
    }
}
