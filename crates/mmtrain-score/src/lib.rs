//! Scores of a model's answers, with the numbers that the official scripts give.
//!
//! ```text
//! answer, references ─┬─ ptb ─▶ tokens ─▶ BLEU, ROUGE-L, CIDEr-D       CaptionScores
//!                     ├─ vqa::normalise ─▶ soft accuracy, exact match  VqaScores
//!                     ├─ says_yes ─▶ confusion ─▶ accuracy, F1, …      YesNoScores
//!                     └─ words ─▶ objects that are not there           ObjectScores
//! answer ───────────────── parse_boxes ─▶ NamedBox ─▶ Seen::place          PlacedBoxes
//! boxes, true boxes ──── IoU ─▶ one-to-one pairs                       BoxScores
//! ```
//!
//! - [`CaptionScores`]: BLEU-1 to 4, ROUGE-L and CIDEr-D, as `pycocoevalcap` computes them; [`ptb_tokenize`] is its tokenizer.
//! - [`VqaScores`]: the soft accuracy of VQA; [`exact_match`] for questions with one right answer.
//! - [`YesNoScores`] of answers yes and no, as POPE has them.
//! - [`parse_boxes`], [`Seen`]: boxes that an answer names, in the pixels of the picture.
//! - [`BoxScores`], [`iou`]: grounding.
//! - [`ObjectScores`]: which answers name objects that are not there, after CHAIR.
//!
//! All scores are shares from 0 to 1, but CIDEr-D, which goes to 10. Nothing here is ever NaN: a score of nothing is a
//! [`ScoreError`], and where a script divides by zero the score's documentation says what stands instead.

mod bleu;
mod boxes;
mod captions;
mod cider;
mod error;
mod graded;
mod grounding;
mod ngrams;
mod objects;
mod pope;
mod ptb;
mod rouge;
mod vqa;

pub use boxes::{BoxScores, Located, SampleBoxes, iou};
pub use captions::{CaptionScores, SampleCaption};
pub use error::ScoreError;
pub use graded::Graded;
pub use grounding::{BoxUnit, NamedBox, Notation, ParsedBoxes, PixelBox, PlacedBoxes, Seen, boxes_in, parse_boxes};
pub use objects::{Described, KnownObjects, ObjectScores, SampleObjects};
pub use pope::{Confusion, YesNo, YesNoScores, says_yes};
pub use ptb::ptb_tokenize;
pub use vqa::{SampleAnswer, VqaScores, exact_match, vqa_normalise};
