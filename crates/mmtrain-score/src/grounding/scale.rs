//! Boxes from the unit in which a model writes them to pixels of the picture.

use super::{Notation, ParsedBoxes};

/// A number in brackets from which they cannot be shares of a side.
const NO_SHARE: f64 = 2.0;

/// What the numbers of a box count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoxUnit {
    /// Thousandths of the sides (Qwen-VL, Qwen2-VL, Qwen3-VL).
    Thousandths,
    /// Pixels of the picture as the encoder got it (Qwen2.5-VL).
    ResizedPixels,
    /// Shares of the sides.
    Shares,
    /// Shares of the square on whose middle the picture was put: `LLaVA`-1.5 pads, and the boxes of its data are those of
    /// the padded picture (haotian-liu/LLaVA#606, measured there; the authors do not say).
    PaddedShares,
    /// Pixels of the picture itself.
    Pixels,
}

impl BoxUnit {
    /// Every unit.
    pub const ALL: [Self; 5] = [Self::Thousandths, Self::ResizedPixels, Self::Shares, Self::PaddedShares, Self::Pixels];

    /// A short stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Thousandths => "thousandths",
            Self::ResizedPixels => "resized_pixels",
            Self::Shares => "shares",
            Self::PaddedShares => "padded_shares",
            Self::Pixels => "pixels",
        }
    }

    /// The unit of a family of models, by the name of its `model_type` in `config.json`, or a unit's own name. `LLaVA` is taken as padding;
    /// the shares of what only stretches or cuts are [`BoxUnit::Shares`].
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "qwen_vl" | "qwen" | "qwen2_vl" | "qwen3_vl" | "qwen3_vl_moe" => Some(Self::Thousandths),
            "qwen2_5_vl" => Some(Self::ResizedPixels),
            "llava" => Some(Self::PaddedShares),
            _ => Self::ALL.into_iter().find(|unit| unit.name() == name),
        }
    }

    /// What the notation suggests where nothing else is known.
    fn usual(notation: Notation, coords: [f64; 4]) -> Self {
        match notation {
            Notation::QwenVl | Notation::Qwen2Vl => Self::Thousandths,
            Notation::Json => Self::ResizedPixels,
            Notation::Brackets if coords.iter().any(|number| *number > NO_SHARE) => Self::Thousandths,
            Notation::Brackets => Self::Shares,
        }
    }
}

/// The picture that an answer speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Width and height of the picture itself.
    pub picture: (u32, u32),
    /// Width and height of what the encoder got.
    pub resized: (u32, u32),
    /// What the numbers count; by the notation where this is not known.
    pub unit: Option<BoxUnit>,
}

/// A box in a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelBox {
    /// What is in it, where the answer says so.
    pub label: Option<String>,
    /// `[x1, y1, x2, y2]` in pixels: `x1 < x2 <= width`, `y1 < y2 <= height`; the right and lower edge are outside.
    pub bounds: [u32; 4],
    /// How it was written.
    pub notation: Notation,
}

/// Boxes of an answer in the pixels of its picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacedBoxes {
    /// In the order of the text.
    pub boxes: Vec<PixelBox>,
    /// Boxes among them that reached over the edge of the picture and were cut there.
    pub clamped: usize,
    /// Boxes that were left out: of less than half a pixel, or outside of the picture.
    pub degenerate: usize,
    /// As in [`ParsedBoxes`].
    pub malformed: usize,
}

impl Seen {
    /// Puts boxes into the picture. Corners may be given either way round.
    pub fn place(&self, parsed: &ParsedBoxes) -> PlacedBoxes {
        let mut placed = PlacedBoxes { malformed: parsed.malformed, ..PlacedBoxes::default() };
        for named in &parsed.boxes {
            let unit = self.unit.unwrap_or_else(|| BoxUnit::usual(named.notation, named.coords));
            let [x1, y1, x2, y2] = named.coords;
            let (left, right, cut_across) = side(x1, x2, self.axis(unit, true), self.picture.0);
            let (top, bottom, cut_along) = side(y1, y2, self.axis(unit, false), self.picture.1);
            if left >= right || top >= bottom {
                placed.degenerate += 1;
                continue;
            }
            placed.clamped += usize::from(cut_across || cut_along);
            let bounds = [left, top, right, bottom];
            placed.boxes.push(PixelBox { label: named.label.clone(), bounds, notation: named.notation });
        }
        placed
    }

    /// Pixels for one, and how many to take off.
    fn axis(&self, unit: BoxUnit, across: bool) -> (f64, f64) {
        let of = |(width, height): (u32, u32)| if across { width } else { height };
        let (side, resized) = (of(self.picture), of(self.resized).max(1));
        let longer = self.picture.0.max(self.picture.1);
        match unit {
            BoxUnit::Thousandths => (f64::from(side) / 1000.0, 0.0),
            BoxUnit::ResizedPixels => (f64::from(side) / f64::from(resized), 0.0),
            BoxUnit::Shares => (f64::from(side), 0.0),
            // Whole pixels, as `expand2square` pads.
            BoxUnit::PaddedShares => (f64::from(longer), f64::from((longer - side) / 2)),
            BoxUnit::Pixels => (1.0, 0.0),
        }
    }
}

/// Both ends in pixels of a side, and whether they were cut.
fn side(a: f64, b: f64, (scale, offset): (f64, f64), pixels: u32) -> (u32, u32, bool) {
    let [a, b] = [a, b].map(|end| (end * scale - offset).round());
    let (low, high) = (a.min(b), a.max(b));
    let within = |end: f64| end.clamp(0.0, f64::from(pixels)) as u32;
    (within(low), within(high), low < 0.0 || high > f64::from(pixels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grounding::parse_boxes;

    fn placed(text: &str, unit: Option<BoxUnit>) -> PlacedBoxes {
        Seen { picture: (200, 100), resized: (400, 50), unit }.place(&parse_boxes(text))
    }

    #[track_caller]
    fn check(text: &str, unit: Option<BoxUnit>, bounds: [u32; 4]) {
        let found: Vec<_> = placed(text, unit).boxes.into_iter().map(|found| found.bounds).collect();
        assert_eq!(found, [bounds], "{text}");
    }

    #[test]
    fn each_unit_is_scaled_to_pixels() {
        check("<box>(100,100),(505,1000)</box>", None, [20, 10, 101, 100]);
        check("a dog(100,100),(505,1000)", None, [20, 10, 101, 100]);
        check("{\"bbox_2d\": [100, 10, 400, 50]}", None, [50, 20, 200, 100]);
        check("{\"bbox_2d\": [100, 10, 400, 50]}", Some(BoxUnit::Pixels), [100, 10, 200, 50]);
        check("{\"bbox_2d\": [100, 100, 500, 1000]}", BoxUnit::of("qwen3_vl"), [20, 10, 100, 100]);
        check("[0.1, 0.2, 0.5, 1.0]", None, [20, 20, 100, 100]);
        check("[100, 200, 500, 1000]", None, [20, 20, 100, 100]);
        // Fifty pixels above the picture are padding.
        check("[0.1, 0.25, 0.5, 0.5]", BoxUnit::of("llava"), [20, 0, 100, 50]);
    }

    #[test]
    fn corners_are_sorted_and_boxes_are_cut_at_the_edge() {
        let cut = placed("<box>(900,1200),(500,-3)</box>", None);
        assert_eq!((cut.boxes[0].bounds, cut.clamped), ([100, 0, 180, 100], 1));
    }

    #[test]
    fn boxes_without_a_pixel_are_left_out_and_counted() {
        let text = "<box>(5,5),(5,9)</box><box>(1100,0),(1200,9)</box><box>(0,0),(1,1)</box><box>(0,0),(9,x)</box>";
        assert_eq!(placed(text, None), PlacedBoxes { degenerate: 3, malformed: 1, ..PlacedBoxes::default() });
        let none = Seen { picture: (0, 0), resized: (0, 0), unit: None };
        assert_eq!(none.place(&parse_boxes("[0, 0, 1, 1]{\"bbox_2d\": [0, 0, 1, 1]}")).degenerate, 2);
    }

    #[test]
    fn units_are_known_by_their_names() {
        for unit in BoxUnit::ALL {
            assert_eq!(BoxUnit::of(unit.name()), Some(unit));
        }
        assert_eq!(BoxUnit::of("gpt2"), None);
    }
}
