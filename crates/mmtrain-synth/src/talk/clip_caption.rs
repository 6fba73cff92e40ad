//! Captions and descriptions of clips, and how much of a clip they state rightly.
//!
//! ```text
//! caption = phrase { ("and" | "while") phrase } | "first" phrase { ", then" phrase }
//! phrase  = "a large red circle" ("moves to the left" | "turns clockwise" | "appears")
//! ```

use super::describe::capitalised;
use crate::caption::COUNTS;
use crate::clip::{Action, ClipObject, ClipTruth, Direction, Turn};
use crate::parse::{clauses, color, number, shape, size};
use crate::rng::Stream;
use crate::{Color, Shape, Size};

/// What asks for a description of a clip.
pub(crate) const VIDEO_REQUESTS: [&str; 4] = [
    "Describe the video in detail.",
    "What is happening in the video?",
    "Can you describe what happens in this video?",
    "What do you see in the video?",
];

/// One lower-case line that states everything.
pub(crate) fn clip_caption(rng: &mut Stream, truth: &ClipTruth) -> String {
    let phrases: Vec<_> = truth.objects.iter().map(|object| phrase(rng, object)).collect();
    match truth.objects[0].action {
        Action::Appears { .. } => format!("first {}", phrases.join(rng.pick(&[", then ", " and then "]))),
        _ => phrases.join(rng.pick(&[" and ", " while ", ", "])),
    }
}

/// A few sentences that state everything.
pub(crate) fn clip_description(rng: &mut Stream, truth: &ClipTruth) -> String {
    let count = truth.objects.len();
    let noun = if count == 1 { "object" } else { "objects" };
    let mut sentences =
        vec![format!("{} {} {noun}.", rng.pick(&["The video shows", "In this clip we see"]), COUNTS[count])];
    let appears = matches!(truth.objects[0].action, Action::Appears { .. });
    for (i, object) in truth.objects.iter().enumerate() {
        let begin = match i {
            _ if !appears => "",
            0 => "first ",
            _ => "then ",
        };
        sentences.push(capitalised(&format!("{begin}{}.", phrase(rng, object))));
    }
    sentences.push(rng.pick(&["Nothing else happens.", "The background does not change."]).to_owned());
    sentences.join(" ")
}

fn phrase(rng: &mut Stream, object: &ClipObject) -> String {
    let size = match object.size {
        Size::Small => rng.pick(&["small", "small", "little"]),
        Size::Large => rng.pick(&["large", "large", "big"]),
    };
    let verb = match object.action {
        Action::Moves { direction: Direction::Left } => "moves to the left",
        Action::Moves { direction: Direction::Right } => "moves to the right",
        Action::Moves { direction: Direction::Up } => "moves up",
        Action::Moves { direction: Direction::Down } => "moves down",
        Action::Turns { turn: Turn::Clockwise } => "turns clockwise",
        Action::Turns { turn: Turn::Counterclockwise } => "turns counterclockwise",
        Action::Appears { .. } => "appears",
    };
    format!("a {size} {} {} {verb}", object.color, object.shape)
}

/// (right, total): of each object that it is named with colour and shape, its size, and what it does; the number
/// of objects; and, where they appear, their order.
pub(crate) fn score_clip(text: &str, truth: &ClipTruth) -> (u32, u32) {
    let described = read(text);
    let find = |object: &ClipObject| {
        described.iter().position(|said| (said.shape, said.color) == (object.shape, Some(object.color)))
    };
    let places: Vec<_> = truth.objects.iter().map(find).collect();
    let mut facts = Vec::new();
    for (object, place) in truth.objects.iter().zip(&places) {
        let said = place.map(|index| &described[index]);
        facts.push(said.is_some());
        facts.push(said.is_some_and(|said| said.size == Some(object.size)));
        facts.push(said.is_some_and(|said| said.does(object.action)));
    }
    facts.push(described.len() == truth.objects.len());
    if matches!(truth.objects.first().map(|object| object.action), Some(Action::Appears { .. })) {
        facts.push(places.iter().all(Option::is_some) && places.is_sorted());
    }
    (facts.iter().filter(|fact| **fact).count() as u32, facts.len() as u32)
}

/// What a text says of one object.
struct Described {
    shape: Shape,
    color: Option<Color>,
    size: Option<Size>,
    words: Vec<String>,
}

impl Described {
    fn does(&self, action: Action) -> bool {
        let says = |words: &[&str]| self.words.iter().any(|word| words.contains(&word.as_str()));
        let ways = [
            (Direction::Left, ["left", "leftwards"]),
            (Direction::Right, ["right", "rightwards"]),
            (Direction::Up, ["up", "upwards"]),
            (Direction::Down, ["down", "downwards"]),
        ];
        match action {
            Action::Moves { direction } => ways.iter().all(|(way, words)| says(words) == (*way == direction)),
            Action::Turns { turn } => Turn::ALL.iter().all(|way| says(&[way.name()]) == (*way == turn)),
            Action::Appears { .. } => says(&["appears", "appear", "appearing"]),
        }
    }
}

/// Every clause with a shape, but for one that counts ("three circles").
fn read(text: &str) -> Vec<Described> {
    let described = clauses(text).into_iter().filter_map(|words| {
        let mut shapes = words.iter().filter_map(|word| shape(word));
        let shape = shapes.next()?;
        let counts = words.iter().any(|word| number(word).is_some());
        let color = words.iter().find_map(|word| color(word));
        let size = words.iter().find_map(|word| size(word));
        (!counts && shapes.next().is_none()).then_some(Described { shape, color, size, words })
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Domain;
    use crate::{SceneKey, Split};

    fn truth(index: u64) -> (ClipTruth, Stream) {
        let key = SceneKey { seed: 4, split: Split::Validation, index, objects: (1, 2) };
        (ClipTruth::sample(&key, 16, 8), Stream::new(&key, Domain::Talk))
    }

    #[test]
    fn own_captions_and_descriptions_are_all_right_and_those_of_others_are_not() {
        let (mut right, mut total) = (0, 0);
        for index in 0..2_000 {
            let (clip, mut rng) = truth(index);
            let caption = clip_caption(&mut rng, &clip);
            for text in [&caption, &clip_description(&mut rng, &clip)] {
                let score = score_clip(text, &clip);
                assert_eq!(score.0, score.1, "{text} {clip:?}");
            }
            let other = score_clip(&caption, &truth(index + 1).0);
            (right, total) = (right + other.0, total + other.1);
        }
        let chance = f64::from(right) / f64::from(total);
        assert!((0.05..0.35).contains(&chance), "{chance}");
    }

    #[test]
    fn order_and_direction_count() {
        let of = |action| ClipObject {
            shape: Shape::Circle,
            color: Color::Red,
            size: Size::Small,
            position: crate::Position::Left,
            action,
        };
        let right = ClipTruth { objects: vec![of(Action::Moves { direction: Direction::Right })], frames: 8, fps: 4 };
        assert_eq!(score_clip("a small red circle moves to the right", &right), (4, 4));
        assert_eq!(score_clip("a small red circle moves to the left", &right), (3, 4));
        assert_eq!(score_clip("a small red circle moves left and right", &right), (3, 4));
        let mut two = vec![of(Action::Appears { frame: 2 }), of(Action::Appears { frame: 5 })];
        two[1].color = Color::Blue;
        let two = ClipTruth { objects: two, frames: 8, fps: 4 };
        assert_eq!(score_clip("a small red circle appears, then a small blue circle appears", &two), (8, 8));
        assert_eq!(score_clip("a small blue circle appears, then a small red circle appears", &two), (7, 8));
    }
}
