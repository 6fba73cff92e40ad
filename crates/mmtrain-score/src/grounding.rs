//! Boxes that an answer names: read from the text, and put into the pixels of the picture.
//!
//! ```text
//! answer ─ parse_boxes ─▶ ParsedBoxes { label, coords as written, notation } ─ place ─▶ PlacedBoxes { label, pixels, notation }
//!                                                                  Seen { picture, resized, unit } ─┘
//! ```
//!
//! | notation | as in | unit unless told otherwise |
//! |---|---|---|
//! | `<ref>a dog</ref><box>(1,2),(3,4)</box>` | Qwen-VL | thousandths of the sides |
//! | `<\|object_ref_start\|>a dog<\|object_ref_end\|><\|box_start\|>(1,2),(3,4)<\|box_end\|>` | Qwen2-VL, also without the special tokens: `a dog(1,2),(3,4)` | thousandths of the sides |
//! | `{"bbox_2d": [1, 2, 3, 4], "label": "a dog"}` | Qwen2.5-VL, often in a fence | pixels of the resized picture |
//! | `[0.1, 0.2, 0.3, 0.4]` | LLaVA | shares of the sides, or thousandths where a number is above 2 |

mod parse;
mod scale;

#[cfg(test)]
mod mutated;

pub use parse::parse_boxes;
pub use scale::{BoxUnit, PixelBox, PlacedBoxes, Seen};

/// How a box is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notation {
    /// `<box>(x1,y1),(x2,y2)</box>`.
    QwenVl,
    /// `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`, or two points alone.
    Qwen2Vl,
    /// A JSON object with `bbox_2d`.
    Json,
    /// Four numbers in square brackets.
    Brackets,
}

impl Notation {
    /// Every way, in the order of the table above.
    pub const ALL: [Self; 4] = [Self::QwenVl, Self::Qwen2Vl, Self::Json, Self::Brackets];

    /// A short stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::QwenVl => "qwen_vl",
            Self::Qwen2Vl => "qwen2_vl",
            Self::Json => "json",
            Self::Brackets => "brackets",
        }
    }
}

/// A box as an answer names it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedBox {
    /// What is in it, where the answer says so.
    pub label: Option<String>,
    /// `[x1, y1, x2, y2]` as written: finite, but in any order and of any size.
    pub coords: [f64; 4],
    /// How it is written.
    pub notation: Notation,
}

/// What an answer names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedBoxes {
    /// In the order of the text.
    pub boxes: Vec<NamedBox>,
    /// Places that announce a box (`<box>`, `<|box_start|>`, `bbox_2d`) and have none that can be read.
    pub malformed: usize,
}

/// Boxes `[x1, y1, x2, y2]` in a text, in the order and the unit in which they stand there.
pub fn boxes_in(text: &str) -> Vec<[f64; 4]> {
    parse_boxes(text).boxes.into_iter().map(|found| found.coords).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_writing_a_box_is_read() {
        assert_eq!(boxes_in("It is at [0.33, 0.67, 0.66, 1.00]."), [[0.33, 0.67, 0.66, 1.0]]);
        let qwen = "<|object_ref_start|>the star<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|>";
        assert_eq!(boxes_in(qwen), [[10.0, 20.0, 300.0, 400.0]]);
        assert_eq!(boxes_in("{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"a\"}"), [[1.0, 2.0, 3.0, 4.0]]);
        assert_eq!(boxes_in("[[1,2,3,4], [5,6,7,8]]"), [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]);
    }

    #[test]
    fn what_is_no_box_is_none() {
        for text in ["", "no", "[1, 2, 3]", "[a, b, c, d]", "(1,2)", "[1, 2, 3, 4", "[1,,2,3]", "[NaN, 0, 1, 1]", "(("]
        {
            assert_eq!(boxes_in(text), [[0.0; 4]; 0], "{text}");
        }
    }
}
