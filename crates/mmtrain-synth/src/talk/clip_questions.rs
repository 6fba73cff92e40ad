//! Every question that can be asked about a clip.

use super::expected::Expected;
use super::question::{Question, Topic};
use super::scene_questions::{color, count, existence, shape};
use crate::clip::{Action, ClipObject, ClipTruth, Direction, Turn};

/// All questions about `truth`, descriptions aside.
pub(crate) fn clip_questions(truth: &ClipTruth) -> Vec<Question> {
    let objects = &truth.objects;
    let mut all: Vec<_> = objects.iter().flat_map(|object| about_one(objects, object)).collect();
    all.extend(order(objects));
    all.push(count("video", "object", objects.len()));
    all.extend(existence("video", |color, shape| objects.iter().any(|o| (o.color, o.shape) == (color, shape))));
    all
}

/// The words that single an object out.
pub(crate) fn name(object: &ClipObject) -> String {
    format!("{} {}", object.color, object.shape)
}

fn about_one(objects: &[ClipObject], object: &ClipObject) -> impl Iterator<Item = Question> {
    let only = |is: &dyn Fn(&ClipObject) -> bool| objects.iter().filter(|other| is(other)).count() == 1;
    let name = name(object);
    let way = match object.action {
        Action::Moves { direction: way } => Some(direction(&name, way)),
        Action::Turns { turn: way } => Some(turn(&name, way)),
        Action::Appears { .. } => None,
    };
    let found = [
        only(&|other| other.shape == object.shape).then(|| color(object.shape.name(), object.color)),
        only(&|other| other.color == object.color).then(|| shape(&format!("{} object", object.color), object.shape)),
        Some(action(&name, object.action)),
        way,
    ];
    found.into_iter().flatten()
}

fn action(name: &str, action: Action) -> Question {
    let wordings =
        [format!("What does the {name} do: move, turn or appear?"), format!("Does the {name} move, turn or appear?")];
    let right = match action {
        Action::Moves { .. } => 0,
        Action::Turns { .. } => 1,
        Action::Appears { .. } => 2,
    };
    let sentence = |verb: &str| format!("The {name} {verb}s.");
    let question = Question::choice(Topic::Action, wordings, &["move", "turn", "appear"], right, sentence);
    let options = [["move", "moves", "moving"], ["turn", "turns", "turning"], ["appear", "appears", "appearing"]];
    Question { expected: choice(&options, right), ..question }
}

fn direction(name: &str, direction: Direction) -> Question {
    let wordings = [format!("In which direction does the {name} move?"), format!("Which way does the {name} move?")];
    let sentence = |word: &str| match word {
        "left" | "right" => format!("The {name} moves to the {word}."),
        _ => format!("The {name} moves {word}."),
    };
    let words = ["left", "right", "up", "down"];
    let question = Question::choice(Topic::Direction, wordings, &words, direction as usize, sentence);
    let options = [["left", "leftwards"], ["right", "rightwards"], ["up", "upwards"], ["down", "downwards"]];
    Question { expected: choice(&options, direction as usize), ..question }
}

fn turn(name: &str, turn: Turn) -> Question {
    let wordings = [
        format!("Does the {name} turn clockwise or counterclockwise?"),
        format!("Which way does the {name} turn, clockwise or counterclockwise?"),
    ];
    let sentence = |word: &str| format!("The {name} turns {word}.");
    Question::choice(Topic::Direction, wordings, &["clockwise", "counterclockwise"], turn as usize, sentence)
}

/// What appears first and what last, asked either way round.
fn order(objects: &[ClipObject]) -> Vec<Question> {
    let appearing = objects.iter().filter(|object| matches!(object.action, Action::Appears { .. }));
    let names: Vec<_> = appearing.map(name).collect();
    let [one, .., other] = &names[..] else { return Vec::new() };
    let asked = [("first", one, other), ("last", other, one)].map(|(place, right, wrong)| {
        let wordings = [
            format!("What appears {place}, the {one} or the {other}?"),
            format!("What appears {place}, the {other} or the {one}?"),
        ];
        let sentence = |name: &str| format!("The {name} appears {place}.");
        Question::choice(Topic::Order, wordings, &[right, wrong], 0, sentence)
    });
    asked.into()
}

fn choice<const N: usize>(options: &[[&str; N]], right: usize) -> Expected {
    let options = options.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect());
    Expected::Choice { options: options.collect(), right }
}
