//! Any caption to a list of objects with the attributes it states.
//!
//! Made for the grammar of `caption.rs`, and tolerant of what a model writes: synonyms, plurals, missing
//! words, missing punctuation. Clauses end at punctuation and at "and"; a clause that relates two
//! objects ("the star is above the circle") describes none, nor does one that denies something ("there is no star"). An attribute stated with two different
//! values in one clause counts as not stated, so naming everything earns nothing.

use crate::caption::COUNTS;
use crate::{Color, Position, Shape, Size};

/// What a caption says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedCaption {
    /// In the order of the text.
    pub objects: Vec<ParsedObject>,
    /// The number of objects where the caption states one ("two objects : ...").
    pub stated_count: Option<usize>,
}

impl ParsedCaption {
    /// The stated number of objects, or how many are described.
    pub fn count(&self) -> usize {
        self.stated_count.unwrap_or(self.objects.len())
    }
}

/// One described object; `None` where the caption says nothing, or contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParsedObject {
    /// Outline.
    pub shape: Option<Shape>,
    /// Hue.
    pub color: Option<Color>,
    /// Extent.
    pub size: Option<Size>,
    /// Cell of the grid.
    pub position: Option<Position>,
}

/// Reads a caption; never fails, an unintelligible one describes nothing.
pub fn parse_caption(caption: &str) -> ParsedCaption {
    let mut parsed = ParsedCaption::default();
    for clause in clauses(caption) {
        if let Some(count) = stated_count(&clause) {
            parsed.stated_count.get_or_insert(count);
        } else if !relates(&clause) && !denies(&clause) {
            split_at_articles(&clause).for_each(|words| add(&mut parsed.objects, words));
        }
    }
    parsed
}

/// Lower-case words between punctuation and "and".
pub(crate) fn clauses(caption: &str) -> Vec<Vec<String>> {
    let lower = caption.to_lowercase();
    lower
        .split([';', ',', '.', ':', '!', '?', '\n'])
        .flat_map(|part| {
            let words: Vec<_> =
                part.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
            words.split(|word| word == "and" || word == "while").map(<[_]>::to_vec).collect::<Vec<_>>()
        })
        .filter(|clause| !clause.is_empty())
        .collect()
}

/// "two objects", "there are 2 shapes".
fn stated_count(clause: &[String]) -> Option<usize> {
    clause.windows(2).find_map(|pair| {
        let noun = pair[1].trim_end_matches('s');
        matches!(noun, "object" | "shape" | "thing").then(|| number(&pair[0]))?
    })
}

/// A number in words or digits.
pub(crate) fn number(word: &str) -> Option<usize> {
    COUNTS.iter().position(|w| *w == word).or_else(|| word.parse().ok())
}

/// "left of the circle" relates two objects, "left of the picture" is a place.
fn relates(clause: &[String]) -> bool {
    let beside = clause.iter().enumerate().any(|(i, word)| {
        let rest = || clause[i + 1..].iter().filter(|w| *w != "the");
        let of = clause.get(i + 1).is_some_and(|w| w == "of");
        let whole = rest().nth(1).is_some_and(|w| matches!(w.as_str(), "picture" | "image" | "scene" | "photo"));
        matches!(word.as_str(), "left" | "right") && of && !whole
    });
    let words = ["above", "below", "over", "under", "beneath", "underneath"];
    beside || clause.iter().any(|word| words.contains(&word.as_str()))
}

/// "there is no star", "it does not show a circle"
fn denies(clause: &[String]) -> bool {
    const WORDS: [&str; 7] = ["no", "not", "neither", "nor", "without", "isn", "doesn"];
    clause.iter().any(|word| WORDS.contains(&word.as_str()))
}

/// A clause with several shapes ("a red circle a blue star") is cut before each "a", "an" and "another".
fn split_at_articles(clause: &[String]) -> impl Iterator<Item = &[String]> {
    let shapes = clause.iter().filter(|word| shape(word).is_some()).count();
    let is_article = |word: &String| matches!(word.as_str(), "a" | "an" | "another");
    clause.chunk_by(move |_, next| shapes < 2 || !is_article(next))
}

/// Adds what the words describe: to the object before if they only complete it, else as a new one.
fn add(objects: &mut Vec<ParsedObject>, words: &[String]) {
    let found = describe(words);
    if found == ParsedObject::default() {
        return;
    }
    match objects.last_mut() {
        Some(last) if found.shape.is_none() && disjoint(*last, found) => *last = merged(*last, found),
        _ => objects.push(found),
    }
}

fn disjoint(a: ParsedObject, b: ParsedObject) -> bool {
    (a.color.is_none() || b.color.is_none())
        && (a.size.is_none() || b.size.is_none())
        && (a.position.is_none() || b.position.is_none())
}

fn merged(a: ParsedObject, b: ParsedObject) -> ParsedObject {
    ParsedObject {
        shape: a.shape.or(b.shape),
        color: a.color.or(b.color),
        size: a.size.or(b.size),
        position: a.position.or(b.position),
    }
}

fn describe(words: &[String]) -> ParsedObject {
    ParsedObject {
        shape: only(words, shape),
        color: only(words, color),
        size: only(words, size),
        position: position(words),
    }
}

/// The value that the words agree on.
fn only<T: PartialEq>(words: &[String], read: fn(&str) -> Option<T>) -> Option<T> {
    let mut values = words.iter().filter_map(|word| read(word));
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

pub(crate) fn shape(word: &str) -> Option<Shape> {
    match word.strip_suffix('s').unwrap_or(word) {
        "circle" | "disc" | "disk" => Some(Shape::Circle),
        "square" => Some(Shape::Square),
        "triangle" => Some(Shape::Triangle),
        "star" => Some(Shape::Star),
        _ => None,
    }
}

pub(crate) fn color(word: &str) -> Option<Color> {
    match word {
        "violet" => Some(Color::Purple),
        word => Color::ALL.iter().copied().find(|color| color.name() == word),
    }
}

pub(crate) fn size(word: &str) -> Option<Size> {
    match word {
        "small" | "little" | "tiny" => Some(Size::Small),
        "large" | "big" | "huge" => Some(Size::Large),
        _ => None,
    }
}

/// A row word and a column word; one alone means the middle of the other axis.
pub(crate) fn position(words: &[String]) -> Option<Position> {
    let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    let row = axis(has(&["top", "upper"]), has(&["bottom", "lower"]))?;
    let column = axis(has(&["left"]), has(&["right"]))?;
    if (row, column) == (1, 1) && !has(&["center", "centre", "middle"]) {
        return None;
    }
    Some(Position::at(row, column))
}

/// `None` if both ends are named.
fn axis(low: bool, high: bool) -> Option<usize> {
    match (low, high) {
        (true, true) => None,
        (true, false) => Some(0),
        (false, true) => Some(2),
        (false, false) => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(size: Size, color: Color, shape: Shape, position: Position) -> ParsedObject {
        ParsedObject { shape: Some(shape), color: Some(color), size: Some(size), position: Some(position) }
    }

    fn red_circle() -> ParsedObject {
        object(Size::Large, Color::Red, Shape::Circle, Position::TopLeft)
    }

    fn blue_star() -> ParsedObject {
        object(Size::Small, Color::Blue, Shape::Star, Position::Bottom)
    }

    #[track_caller]
    fn check(caption: &str, objects: &[ParsedObject], stated_count: Option<usize>) {
        let expected = ParsedCaption { objects: objects.to_vec(), stated_count };
        assert_eq!(parse_caption(caption), expected, "{caption}");
    }

    #[test]
    fn reads_every_sentence_form() {
        let both = [red_circle(), blue_star()];
        check("a large red circle in the top left and a small blue star at the bottom .", &both, None);
        check(
            "in the top left corner there is a big red circle and at the bottom there is a little blue star .",
            &both,
            None,
        );
        check("two objects : a large red circle at the top left and a small blue star at the bottom .", &both, Some(2));
        check("one shape : a small blue star at the bottom .", &both[1..], Some(1));
    }

    #[test]
    fn a_relation_describes_no_object() {
        let both = [red_circle(), blue_star()];
        for relation in ["below", "left of", "to the right of"] {
            let caption = format!(
                "a large red circle in the top left and a small blue star at the bottom ; the star is {relation} the circle ."
            );
            check(&caption, &both, None);
        }
        let left = object(Size::Small, Color::Blue, Shape::Star, Position::Left);
        check("a small blue star on the left of the picture", &[left], None);
    }

    #[test]
    fn what_is_denied_is_not_described() {
        let both = [red_circle(), blue_star()];
        check("There are no triangles in the image.", &[], None);
        check("No, there is no green square in the image. It does not show a circle.", &[], None);
        let more = "a large red circle in the top left , no triangle and a small blue star at the bottom";
        check(more, &both, None);
        check("there are no objects", &[], Some(0));
    }

    #[test]
    fn reads_what_models_write() {
        let both = [red_circle(), blue_star()];
        check("A LARGE red circle, top left. A tiny blue star in the lower middle", &both, None);
        check("a large red circle in the top left a small blue star at the bottom", &both, None);
        let no_shape = ParsedObject { shape: None, ..red_circle() };
        check("a large red in the upper left .", &[no_shape], None);
    }

    #[test]
    fn contradictions_and_noise_state_nothing() {
        check("", &[], None);
        check("the the of and . , ; dog", &[], None);
        let shape_only = ParsedObject { shape: Some(Shape::Star), ..ParsedObject::default() };
        check("red green blue small large left right star", &[shape_only], None);
    }
}
