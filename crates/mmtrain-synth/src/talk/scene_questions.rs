//! Every question that can be asked about a picture.

use super::expected::Expected;
use super::question::{Question, Topic};
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
    all.extend(existence(objects));
    all
}

/// Shape, colour, size, place and box of one object, as far as words single it out.
fn about_one(truth: &SceneTruth, index: usize) -> impl Iterator<Item = Question> {
    let objects = &truth.objects;
    let name = |hidden| refer(objects, index, Some(hidden));
    let object = &objects[index];
    let found = [
        name(Attribute::Color).map(|name| color(&name, object.color)),
        name(Attribute::Shape).map(|name| shape(&name, object.shape)),
        name(Attribute::Size).map(|name| size(&name, object.size)),
        name(Attribute::Position).map(|name| position(&name, object.position)),
        name(Attribute::Position).and_then(|name| bounds(&name, object, truth.side?)),
    ];
    found.into_iter().flatten()
}

fn color(name: &str, color: Color) -> Question {
    let sentence = |color: &str| format!("The {name} is {color}.");
    Question {
        topic: Topic::Color,
        wordings: vec![format!("What color is the {name}?"), format!("What is the color of the {name}?")],
        expected: Expected::one_of(names(Color::ALL, Color::name), color as usize),
        short: color.to_string(),
        long: sentence(color.name()),
        wrong: others(Color::ALL, color).map(|color| sentence(color.name())).collect(),
    }
}

fn shape(name: &str, shape: Shape) -> Question {
    let sentence = |shape: &str| format!("The {name} is a {shape}.");
    Question {
        topic: Topic::Shape,
        wordings: vec![format!("What shape is the {name}?"), format!("What is the shape of the {name}?")],
        expected: Expected::one_of(names(Shape::ALL, Shape::name), shape as usize),
        short: shape.to_string(),
        long: sentence(shape.name()),
        wrong: others(Shape::ALL, shape).map(|shape| sentence(shape.name())).collect(),
    }
}

fn size(name: &str, size: Size) -> Question {
    let sentence = |size: &str| format!("The {name} is {size}.");
    Question {
        topic: Topic::Size,
        wordings: vec![format!("Is the {name} small or large?"), format!("What size is the {name}, small or large?")],
        expected: Expected::one_of(names(Size::ALL, Size::name), size as usize),
        short: size.to_string(),
        long: sentence(size.name()),
        wrong: others(Size::ALL, size).map(|size| sentence(size.name())).collect(),
    }
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
        wrong: others(Position::ALL, position).map(sentence).collect(),
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
    let relations =
        [(Topic::Sideways, Relation::LeftOf, Relation::RightOf), (Topic::Upright, Relation::Above, Relation::Below)];
    let holds = |relation: Relation| relation.holds(objects[a].position, objects[b].position);
    let asked = relations
        .into_iter()
        .filter(|&(_, low, high)| holds(low) || holds(high))
        .map(|(topic, low, _)| relation(topic, &one, &other, holds(low)));
    asked.collect()
}

/// `low`: left or above holds, else right or below.
fn relation(topic: Topic, one: &str, other: &str, low: bool) -> Question {
    let (words, wordings) = if topic == Topic::Sideways {
        let wordings = [
            format!("Is the {one} to the left or to the right of the {other}?"),
            format!("On which side of the {other} is the {one}, left or right?"),
        ];
        (["left", "right"], wordings)
    } else {
        let wordings = [
            format!("Is the {one} above or below the {other}?"),
            format!("Does the {one} lie above or below the {other}?"),
        ];
        (["above", "below"], wordings)
    };
    let sentence = |word: &str| match topic {
        Topic::Sideways => format!("The {one} is to the {word} of the {other}."),
        _ => format!("The {one} is {word} the {other}."),
    };
    let right = usize::from(!low);
    Question {
        topic,
        wordings: wordings.into(),
        expected: Expected::one_of(words, right),
        short: words[right].to_owned(),
        long: sentence(words[right]),
        wrong: vec![sentence(words[1 - right])],
    }
}

/// How many there are: in all, of each shape, of each colour.
fn counts(objects: &[ObjectTruth]) -> Vec<Question> {
    let mut all = vec![count("object", objects.len())];
    let shapes = Shape::ALL.iter().map(|shape| (shape.name().to_owned(), of(objects, |o| o.shape == *shape)));
    let colors = Color::ALL.iter().map(|color| (format!("{color} object"), of(objects, |o| o.color == *color)));
    all.extend(shapes.chain(colors).map(|(noun, number)| count(&noun, number)));
    all
}

fn of(objects: &[ObjectTruth], is: impl Fn(&ObjectTruth) -> bool) -> usize {
    objects.iter().filter(|object| is(object)).count()
}

fn count(noun: &str, number: usize) -> Question {
    let sentence = |number: usize| match number {
        1 => format!("There is one {noun} in the image."),
        _ => format!("There are {} {noun}s in the image.", COUNTS[number]),
    };
    let near = [number.checked_sub(1), Some(number + 1).filter(|&more| more < COUNTS.len())];
    Question {
        topic: if number == 0 { Topic::CountNone } else { Topic::Count },
        wordings: vec![format!("How many {noun}s are in the image?"), format!("How many {noun}s can you see?")],
        expected: Expected::Number(number),
        short: number.to_string(),
        long: sentence(number),
        wrong: near.into_iter().flatten().filter(|&wrong| wrong > 0).map(sentence).collect(),
    }
}

/// Whether there is a thing of each colour and shape.
fn existence(objects: &[ObjectTruth]) -> Vec<Question> {
    let kinds = Color::ALL.iter().flat_map(|&color| Shape::ALL.iter().map(move |&shape| (color, shape)));
    let asked = kinds.map(|(color, shape)| {
        let there = objects.iter().any(|object| (object.color, object.shape) == (color, shape));
        exists(&format!("{color} {shape}"), there)
    });
    asked.collect()
}

fn exists(name: &str, there: bool) -> Question {
    let (yes, no) = (
        format!("Yes, there is {} in the image.", with_article(name)),
        format!("No, there is no {name} in the image."),
    );
    let (long, wrong) = if there { (yes, no) } else { (no, yes) };
    Question {
        topic: if there { Topic::Present } else { Topic::Absent },
        wordings: vec![
            format!("Is there {} in the image?", with_article(name)),
            format!("Does the image show {}?", with_article(name)),
        ],
        expected: Expected::yes_or_no(there),
        short: if there { "Yes" } else { "No" }.to_owned(),
        long,
        wrong: vec![wrong],
    }
}

fn names<T: Copy>(all: &'static [T], name: fn(T) -> &'static str) -> impl Iterator<Item = &'static str> {
    all.iter().map(move |&value| name(value))
}

fn others<T: Copy + PartialEq>(all: &'static [T], right: T) -> impl Iterator<Item = T> {
    all.iter().copied().filter(move |value| *value != right)
}
