//! What a right answer says, and how an answer is read.
//!
//! Answers are free text of a model: a word, a phrase or a sentence. An answer that names the right thing
//! and another one of the same kind counts as wrong, so naming everything earns nothing.

use super::clip_caption::score_clip;
use super::mentions::Mentions;
use crate::clip::ClipTruth;
use crate::parse::{number, position};
use crate::reading::{FIRST, SECOND};
use crate::{Position, SceneTruth, parse_caption, score};

/// Intersection over union from which a box counts as found, as usual for `RefCOCO`.
const IOU: f64 = 0.5;

/// What a right answer says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expected {
    /// `options[right]` and no other; an option is a list of phrases that mean the same.
    Choice { options: Vec<Vec<String>>, right: usize },
    /// This number and no other, in digits or words.
    Number(usize),
    /// This cell of the grid.
    Position(Position),
    /// `[left, top, right, bottom]` as shares of the picture's sides.
    Box([f64; 4]),
    /// A description of everything in the scene, and of nothing else.
    Description(SceneTruth),
    /// A description of everything in the clip, and of nothing else.
    ClipDescription(ClipTruth),
    /// These words, in this order.
    Text(String),
    /// These characters, white space and case aside.
    Characters(String),
    /// All of a kind that the answer has, in this order.
    Written { writing: Writing, right: Vec<String> },
}

impl Expected {
    /// A choice among values that each have one name.
    pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>, right: usize) -> Self {
        Self::Choice { options: names.into_iter().map(|name| vec![name.to_owned()]).collect(), right }
    }

    pub(crate) fn yes_or_no(yes: bool) -> Self {
        let options = [vec!["yes"], vec!["no", "not"]].map(|words| words.into_iter().map(str::to_owned).collect());
        Self::Choice { options: options.into(), right: usize::from(!yes) }
    }

    /// Whether `answer` says it.
    pub(crate) fn is_met_by(&self, answer: &str) -> bool {
        match self {
            Self::Choice { options, right } => named(options, answer) == [*right],
            Self::Number(count) => numbers(answer) == [*count],
            Self::Position(cell) => position(&words(answer)) == Some(*cell),
            Self::Box(bounds) => read_box(answer).is_some_and(|found| iou(*bounds, found) >= IOU),
            Self::Description(scene) => {
                let described = parse_caption(answer).objects.len();
                described == scene.objects.len() && score(answer, scene).is_perfect()
            }
            Self::ClipDescription(clip) => {
                let (right, total) = score_clip(answer, clip);
                right == total && Mentions::of_clip(answer, clip).invented.is_empty()
            }
            Self::Text(text) => words(answer) == words(text),
            Self::Characters(text) => characters(answer) == characters(text),
            Self::Written { writing, right } => writing.all_in(answer) == *right,
        }
    }
}

/// A kind of thing that can be read in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Words of signs.
    Sign,
    /// Amounts of money, in digits.
    Amount,
    /// Rows with letters.
    Seat,
    /// Hours with minutes.
    Time,
    /// Numbers in digits.
    Number,
}

impl Writing {
    /// What of this kind stands in a text, in one form each; what is said twice in a row counts once.
    pub(crate) fn all_in(self, text: &str) -> Vec<String> {
        let pieces = |keep: fn(char) -> bool| text.split(move |c| !keep(c)).filter(|piece| !piece.is_empty());
        let alphanumeric = || pieces(char::is_alphanumeric);
        let mut found: Vec<String> = match self {
            Self::Sign => {
                let upper = alphanumeric().map(str::to_uppercase);
                upper.filter(|word| FIRST.iter().chain(&SECOND).any(|known| known == word)).collect()
            }
            Self::Amount => pieces(|c| c.is_ascii_digit() || c == '.').filter_map(cents).collect(),
            Self::Seat => alphanumeric().filter(|piece| is_seat(piece)).map(str::to_uppercase).collect(),
            Self::Time => pieces(|c| c.is_ascii_digit() || c == ':').filter_map(minutes).collect(),
            Self::Number => {
                alphanumeric().filter_map(|piece| piece.parse::<u32>().ok()).map(|n| n.to_string()).collect()
            }
        };
        found.dedup();
        found
    }
}

/// What is left without white space, in lower case.
fn characters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// Hundredths of an amount such as `4.50`, `4.5` or `4`; a full stop behind it does not matter.
fn cents(piece: &str) -> Option<String> {
    let piece = piece.trim_end_matches('.');
    let (whole, part) = piece.split_once('.').unwrap_or((piece, "0"));
    let part = match part.len() {
        1 => part.parse::<u32>().ok()? * 10,
        2 => part.parse().ok()?,
        _ => return None,
    };
    Some((whole.parse::<u32>().ok()?.checked_mul(100)? + part).to_string())
}

fn is_seat(piece: &str) -> bool {
    let row = piece.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    piece.len() == row.len() + 1 && matches!(row.len(), 1 | 2) && row.bytes().all(|b| b.is_ascii_digit())
}

/// Minutes of a day.
fn minutes(piece: &str) -> Option<String> {
    let (hours, minutes) = piece.trim_matches(':').split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then(|| (hours * 60 + minutes).to_string())
}

/// Lower-case words without punctuation.
pub(crate) fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Which options the answer names, by number.
fn named(options: &[Vec<String>], answer: &str) -> Vec<usize> {
    let said = words(answer);
    let says = |phrase: &String| {
        let phrase = words(phrase);
        said.windows(phrase.len()).any(|window| window == phrase)
    };
    (0..options.len()).filter(|&i| options[i].iter().any(says)).collect()
}

/// Different numbers in the answer, in the order they come.
fn numbers(answer: &str) -> Vec<usize> {
    let mut found: Vec<_> = words(answer).iter().filter_map(|word| number(word)).collect();
    found.dedup();
    found
}

/// Four numbers between the first brackets.
fn read_box(answer: &str) -> Option<[f64; 4]> {
    let (_, rest) = answer.split_once('[')?;
    let (inside, _) = rest.split_once(']')?;
    let values: Vec<f64> = inside.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
    values.try_into().ok()
}

/// Intersection over union of two boxes `[left, top, right, bottom]`; 0 for boxes without area.
fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - common;
    if union > 0.0 { common / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_everything_is_wrong() {
        let color = Expected::one_of(["red", "green", "blue"], 0);
        assert!(color.is_met_by("Red.") && color.is_met_by("The circle is red."));
        assert!(!color.is_met_by("red or green") && !color.is_met_by("reddish") && !color.is_met_by(""));
    }

    #[test]
    fn numbers_are_read_in_words_and_digits() {
        let two = Expected::Number(2);
        assert!(two.is_met_by("2") && two.is_met_by("There are two circles.") && two.is_met_by("Two, exactly 2."));
        assert!(!two.is_met_by("two or three") && !two.is_met_by("22") && !two.is_met_by("some"));
        assert!(Expected::Number(0).is_met_by("There are no circles."));
    }

    #[test]
    fn yes_and_no_are_told_apart() {
        let no = Expected::yes_or_no(false);
        assert!(no.is_met_by("No, there is no star.") && !no.is_met_by("Yes.") && !no.is_met_by("yes and no"));
        assert!(Expected::yes_or_no(true).is_met_by("Yes, there is a star."));
    }

    #[test]
    fn a_box_is_found_when_half_of_the_union_is_common() {
        let bounds = Expected::Box([0.0, 0.0, 0.4, 0.4]);
        assert!(bounds.is_met_by("[0.0, 0.0, 0.4, 0.4]") && bounds.is_met_by("It is at [0, 0.1, 0.4, 0.4]."));
        assert!(!bounds.is_met_by("[0.3, 0.0, 0.7, 0.4]") && !bounds.is_met_by("[0.0, 0.0, 0.4]"));
        assert!(!bounds.is_met_by("[0.4, 0.4, 0.0, 0.0]") && !bounds.is_met_by("[NaN, 0, 0, 0]"));
    }
}
