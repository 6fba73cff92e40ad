//! Words that single out one object of a scene.

use crate::{ObjectTruth, Position};

/// What an object may be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Shape,
    Color,
    Size,
    Position,
}

use Attribute::{Color, Shape, Size};

/// From short to long; the first that fits one object only is taken.
const PHRASES: [&[Attribute]; 4] = [
    &[Color, Shape],
    &[Size, Color, Shape],
    &[Color, Shape, Attribute::Position],
    &[Size, Color, Shape, Attribute::Position],
];

/// A phrase without the `hidden` attribute that fits only `objects[index]`: "red circle", "object in the top left".
///
/// None where no such phrase exists.
pub(crate) fn refer(objects: &[ObjectTruth], index: usize, hidden: Option<Attribute>) -> Option<String> {
    let object = objects.get(index)?;
    PHRASES.into_iter().find_map(|attributes| {
        let told: Vec<_> = attributes.iter().copied().filter(|attribute| Some(*attribute) != hidden).collect();
        let same = |other: &&ObjectTruth| told.iter().all(|&attribute| agree(attribute, object, other));
        (objects.iter().filter(same).count() == 1).then(|| phrase(object, &told))
    })
}

fn agree(attribute: Attribute, a: &ObjectTruth, b: &ObjectTruth) -> bool {
    match attribute {
        Shape => a.shape == b.shape,
        Color => a.color == b.color,
        Size => a.size == b.size,
        Attribute::Position => a.position == b.position,
    }
}

fn phrase(object: &ObjectTruth, told: &[Attribute]) -> String {
    let mut words = Vec::new();
    if told.contains(&Size) {
        words.push(object.size.name());
    }
    if told.contains(&Color) {
        words.push(object.color.name());
    }
    words.push(if told.contains(&Shape) { object.shape.name() } else { "object" });
    if told.contains(&Attribute::Position) {
        words.push(place(object.position));
    }
    words.join(" ")
}

/// Where a cell is, as the end of a sentence.
pub(crate) fn place(position: Position) -> &'static str {
    match position {
        Position::TopLeft => "in the top left",
        Position::Top => "at the top",
        Position::TopRight => "in the top right",
        Position::Left => "on the left",
        Position::Center => "in the center",
        Position::Right => "on the right",
        Position::BottomLeft => "in the bottom left",
        Position::Bottom => "at the bottom",
        Position::BottomRight => "in the bottom right",
    }
}

/// "a red circle", "an orange star".
pub(crate) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Color as Hue, Shape as Outline, Size as Extent};

    fn object(size: Extent, color: Hue, position: Position) -> ObjectTruth {
        ObjectTruth { shape: Outline::Circle, color, size, position, bounds: [0; 4] }
    }

    #[test]
    fn the_shortest_phrase_that_fits_one_object_only_is_taken() {
        let objects = [
            object(Extent::Small, Hue::Red, Position::Left),
            object(Extent::Large, Hue::Red, Position::Right),
            object(Extent::Large, Hue::Blue, Position::Top),
        ];
        let phrase = |index, hidden| refer(&objects, index, hidden);
        assert_eq!(phrase(0, None).as_deref(), Some("small red circle"));
        assert_eq!(phrase(2, None).as_deref(), Some("blue circle"));
        assert_eq!(phrase(1, Some(Color)).as_deref(), Some("circle on the right"));
        assert_eq!(phrase(1, Some(Shape)).as_deref(), Some("large red object"));
    }

    #[test]
    fn twins_that_differ_in_the_hidden_attribute_only_have_no_phrase() {
        let twins = [object(Extent::Small, Hue::Red, Position::Left), object(Extent::Small, Hue::Red, Position::Right)];
        assert_eq!(refer(&twins, 0, Some(Attribute::Position)), None);
        assert_eq!(refer(&twins, 0, None).as_deref(), Some("red circle on the left"));
    }

    #[test]
    fn vowels_take_an() {
        assert_eq!([with_article("orange star"), with_article("red star")], ["an orange star", "a red star"]);
    }
}
