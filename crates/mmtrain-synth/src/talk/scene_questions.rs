//! Every question that can be asked about a picture.

use super::expected::Expected;
use super::question::{Phrased, Question, Topic};
use super::reference::{Attribute, place, refer, with_article};
use crate::caption::COUNTS;
use crate::{Color, ObjectTruth, Position, Relation, SceneTruth, Shape, Size};

/// All questions about `truth`; those for boxes only where its side is known.
pub(crate) fn scene_questions(truth: &SceneTruth) -> Vec<Question> {
    let objects = &truth.objects;
    let indices = 0..objects.len();
    let mut all: Vec<_> = indices.clone().flat_map(|index| about_one(truth, index)).collect();
    let pairs = indices.clone().flat_map(|a| indices.clone().map(move |b| (a, b)));
    all.extend(pairs.filter(|(a, b)| a != b).flat_map(|(a, b)| about_two(objects, a, b)));
    all.extend(counts(objects));
    all.extend(existence("image", |color, shape| objects.iter().any(|o| (o.color, o.shape) == (color, shape))));
    all
}

/// Shape, colour, size, place and box of one object, as far as words single it out.
fn about_one(truth: &SceneTruth, index: usize) -> impl Iterator<Item = Question> {
    let objects = &truth.objects;
    let name = |hidden| refer(objects, index, Some(hidden));
    let object = &objects[index];
    let colors = others(Color::ALL, object.color).map(|color| ObjectTruth { color, ..*object });
    let shapes = others(Shape::ALL, object.shape).map(|shape| ObjectTruth { shape, ..*object });
    let sizes = others(Size::ALL, object.size).map(|size| ObjectTruth { size, ..*object });
    let found = [
        name(Attribute::Color).map(|name| wrong_as_seen(color(&name, object.color), object, colors)),
        name(Attribute::Shape).map(|name| wrong_as_seen(shape(&name, object.shape), object, shapes)),
        name(Attribute::Size).map(|name| wrong_as_seen(size(&name, object.size), object, sizes)),
        name(Attribute::Position).map(|name| position(&name, object.position)),
        name(Attribute::Position).and_then(|name| bounds(&name, object, truth.side?)),
    ];
    found.into_iter().flatten()
}

fn others<T: Copy + PartialEq>(all: &'static [T], right: T) -> impl Iterator<Item = T> {
    all.iter().copied().filter(move |other| *other != right)
}

/// Without the wrong answers that make `object` one of those that training never shows: learned as wrong only, they would be taken
/// for wrong wherever they are asked for. `changed` is what each wrong answer makes of the object.
fn wrong_as_seen(
    mut question: Question,
    object: &ObjectTruth,
    mut changed: impl Iterator<Item = ObjectTruth>,
) -> Question {
    let is_fair = |other: ObjectTruth| object.is_held_out() || !other.is_held_out();
    question.wrong.retain(|_| changed.next().is_none_or(is_fair));
    question
}

pub(super) fn color(name: &str, color: Color) -> Question {
    let wordings = [format!("What color is the {name}?"), format!("What is the color of the {name}?")];
    let names = names(Color::ALL, Color::name);
    Question::choice(Topic::Color, wordings, &names, color as usize, |color| format!("The {name} is {color}."))
}

pub(super) fn shape(name: &str, shape: Shape) -> Question {
    let wordings = [format!("What shape is the {name}?"), format!("What is the shape of the {name}?")];
    let names = names(Shape::ALL, Shape::name);
    Question::choice(Topic::Shape, wordings, &names, shape as usize, |shape| format!("The {name} is a {shape}."))
}

fn size(name: &str, size: Size) -> Question {
    let wordings = [format!("Is the {name} small or large?"), format!("What size is the {name}, small or large?")];
    let names = names(Size::ALL, Size::name);
    Question::choice(Topic::Size, wordings, &names, size as usize, |size| format!("The {name} is {size}."))
}

fn position(name: &str, position: Position) -> Question {
    let sentence = |position| format!("The {name} is {}.", place(position));
    Question {
        topic: Topic::Position,
        wordings: vec![
            format!("In which part of the image is the {name}?"),
            format!("Which part of the image shows the {name}?"),
        ],
        expected: Expected::Position(position),
        short: position.to_string(),
        long: sentence(position),
        wrong: others(Position::ALL, position)
            .map(|other| Phrased { short: other.to_string(), long: sentence(other) })
            .collect(),
    }
}

/// A box as `LLaVA` writes it: shares of the sides, two decimals.
fn bounds(name: &str, object: &ObjectTruth, side: u32) -> Option<Question> {
    let shares = object.bounds.map(|pixel| f64::from(pixel) / f64::from(side.max(1)));
    let answer = format!("[{:.2}, {:.2}, {:.2}, {:.2}]", shares[0], shares[1], shares[2], shares[3]);
    (side > 0).then(|| Question {
        topic: Topic::Box,
        wordings: vec![
            format!("Where is the {name}?"),
            format!("Please provide the bounding box coordinate of the region this sentence describes: the {name}."),
        ],
        expected: Expected::Box(shares),
        short: answer.clone(),
        long: answer,
        wrong: Vec::new(),
    })
}

/// How two objects lie to each other; their names have no places, which the answers are read for.
fn about_two(objects: &[ObjectTruth], a: usize, b: usize) -> Vec<Question> {
    let name = |index| refer(objects, index, Some(Attribute::Position));
    let (Some(one), Some(other)) = (name(a), name(b)) else { return Vec::new() };
    let holds = |relation: Relation| relation.holds(objects[a].position, objects[b].position);
    let mut asked = Vec::new();
    if holds(Relation::LeftOf) || holds(Relation::RightOf) {
        asked.push(sideways(&one, &other, holds(Relation::LeftOf)));
    }
    if holds(Relation::Above) || holds(Relation::Below) {
        asked.push(upright(&one, &other, holds(Relation::Above)));
    }
    asked
}

fn sideways(one: &str, other: &str, left: bool) -> Question {
    let wordings = [
        format!("Is the {one} to the left or to the right of the {other}?"),
        format!("On which side of the {other} is the {one}, left or right?"),
    ];
    let sentence = |word: &str| format!("The {one} is to the {word} of the {other}.");
    Question::choice(Topic::Sideways, wordings, &["left", "right"], usize::from(!left), sentence)
}

fn upright(one: &str, other: &str, above: bool) -> Question {
    let wordings = [
        format!("Is the {one} above or below the {other}?"),
        format!("Does the {one} lie above or below the {other}?"),
    ];
    let sentence = |word: &str| format!("The {one} is {word} the {other}.");
    Question::choice(Topic::Upright, wordings, &["above", "below"], usize::from(!above), sentence)
}

/// How many there are: in all, of each shape, of each colour.
fn counts(objects: &[ObjectTruth]) -> Vec<Question> {
    let number = |is: &dyn Fn(&ObjectTruth) -> bool| objects.iter().filter(|object| is(object)).count();
    let mut all = vec![count("image", "object", objects.len())];
    all.extend(Shape::ALL.iter().map(|shape| count("image", shape.name(), number(&|o| o.shape == *shape))));
    let colors = Color::ALL.iter();
    all.extend(colors.map(|color| count("image", &format!("{color} object"), number(&|o| o.color == *color))));
    all
}

/// How many `noun`s there are in `medium`.
pub(super) fn count(medium: &str, noun: &str, number: usize) -> Question {
    let wordings = [format!("How many {noun}s are in the {medium}?"), format!("How many {noun}s can you see?")];
    Question::count(wordings, number, |number| match number {
        1 => format!("There is one {noun} in the {medium}."),
        _ => format!("There are {} {noun}s in the {medium}.", COUNTS[number]),
    })
}

/// Whether there is a thing of each colour and shape in `medium`.
pub(super) fn existence(medium: &str, there: impl Fn(Color, Shape) -> bool) -> Vec<Question> {
    let kinds = Color::ALL.iter().flat_map(|&color| Shape::ALL.iter().map(move |&shape| (color, shape)));
    let asked = kinds.map(|(color, shape)| {
        let name = format!("{color} {shape}");
        let thing = with_article(&name);
        let wordings = [format!("Is there {thing} in the {medium}?"), format!("Does the {medium} show {thing}?")];
        let (yes, no) =
            (format!("Yes, there is {thing} in the {medium}."), format!("No, there is no {name} in the {medium}."));
        Question::existence(wordings, there(color, shape), yes, no)
    });
    asked.collect()
}

fn names<T: Copy>(all: &'static [T], name: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|&value| name(value)).collect()
}
