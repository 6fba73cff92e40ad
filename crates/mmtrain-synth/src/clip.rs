//! What happens in a clip, drawn from (seed, split, index): objects that move, turn, or appear one after the other.

use serde::{Deserialize, Serialize};

use crate::rng::{Domain, Stream};
use crate::vocabulary::attribute;
use crate::{Color, HELD_OUT, Position, SceneKey, Shape, Size, Split, is_held_out};

attribute! {
    /// Which way an object moves, all across the picture.
    Direction {
        /// To the left.
        Left = "left",
        /// To the right.
        Right = "right",
        /// Upwards.
        Up = "up",
        /// Downwards.
        Down = "down",
    }
}

attribute! {
    /// Which way an object turns, by a quarter.
    Turn {
        /// As the hands of a clock.
        Clockwise = "clockwise",
        /// Against them.
        Counterclockwise = "counterclockwise",
    }
}

/// What an object does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Moves from one end of its row or column to the other.
    Moves {
        /// Which way.
        direction: Direction,
    },
    /// Turns on the spot.
    Turns {
        /// Which way.
        turn: Turn,
    },
    /// Appears and stays where it is.
    Appears {
        /// The first frame that shows it.
        frame: u32,
    },
}

/// One object of a clip; colour and shape together single it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipObject {
    /// Outline.
    pub shape: Shape,
    /// Hue.
    pub color: Color,
    /// Extent.
    pub size: Size,
    /// Cell of the grid where it is first seen.
    pub position: Position,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
}

/// All that is true of a clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipTruth {
    /// One to three; those that appear are in the order in which they do.
    pub objects: Vec<ClipObject>,
    /// Number of frames.
    pub frames: u32,
    /// Frames in a second.
    pub fps: u32,
}

/// What the objects of a clip do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plot {
    /// All along rows, or all along columns, so that they do not meet.
    Move,
    Turn,
    Appear,
}

/// Every so many validation clips one is sure to have a held-out object; the others have one by chance.
const HELD_OUT_EVERY: u64 = 10;

impl ClipTruth {
    /// Draws a clip of one or two objects, or of two or three that appear.
    pub(crate) fn sample(key: &SceneKey, frames: u32, fps: u32) -> Self {
        let mut rng = Stream::new(key, Domain::Clip);
        let plot = rng.pick(&[Plot::Move, Plot::Turn, Plot::Appear]);
        let count = rng.below(2) + if plot == Plot::Appear { 2 } else { 1 };
        let mut kinds: Vec<(Size, Color, Shape)> = Vec::new();
        while kinds.len() < count {
            let kind = sample_kind(&mut rng, key, plot, kinds.is_empty());
            if !kinds.iter().any(|(_, color, shape)| (*color, *shape) == (kind.1, kind.2)) {
                kinds.push(kind);
            }
        }
        let courses = courses(&mut rng, plot, count, frames);
        let objects = kinds.into_iter().zip(courses);
        let objects = objects.map(|((size, color, shape), (position, action))| ClipObject {
            shape,
            color,
            size,
            position,
            action,
        });
        Self { objects: objects.collect(), frames, fps }
    }

    /// Whether training never shows one of the objects.
    pub fn is_held_out(&self) -> bool {
        self.objects.iter().any(|object| is_held_out(object.size, object.color, object.shape))
    }
}

/// A circle is never asked to turn: nobody would see it.
fn sample_kind(rng: &mut Stream, key: &SceneKey, plot: Plot, first: bool) -> (Size, Color, Shape) {
    let fits = |shape: Shape| plot != Plot::Turn || shape != Shape::Circle;
    let sure = first && key.split == Split::Validation && key.index.is_multiple_of(HELD_OUT_EVERY);
    loop {
        let kind =
            if sure { rng.pick(&HELD_OUT) } else { (rng.pick(Size::ALL), rng.pick(Color::ALL), rng.pick(Shape::ALL)) };
        let shown = key.split == Split::Validation || !is_held_out(kind.0, kind.1, kind.2);
        if shown && fits(kind.2) {
            return kind;
        }
    }
}

/// Where each object begins, and what it does.
fn courses(rng: &mut Stream, plot: Plot, count: usize, frames: u32) -> Vec<(Position, Action)> {
    let cells = different(rng, 9, count);
    let lanes = different(rng, 3, count.min(3));
    let along_rows = rng.coin();
    let course = |i: usize| match plot {
        Plot::Move => {
            let forwards = rng.coin();
            let (direction, start) = match (along_rows, forwards) {
                (true, true) => (Direction::Right, Position::at(lanes[i], 0)),
                (true, false) => (Direction::Left, Position::at(lanes[i], 2)),
                (false, true) => (Direction::Down, Position::at(0, lanes[i])),
                (false, false) => (Direction::Up, Position::at(2, lanes[i])),
            };
            (start, Action::Moves { direction })
        }
        Plot::Turn => (Position::ALL[cells[i]], Action::Turns { turn: rng.pick(Turn::ALL) }),
        Plot::Appear => {
            let frame = (i as u32 + 1) * frames / (count as u32 + 1);
            (Position::ALL[cells[i]], Action::Appears { frame })
        }
    };
    (0..count).map(course).collect()
}

/// `count` different numbers below `n`.
fn different(rng: &mut Stream, n: usize, count: usize) -> Vec<usize> {
    let mut left: Vec<_> = (0..n).collect();
    (0..count).map(|_| left.swap_remove(rng.below(left.len()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truths(split: Split) -> impl Iterator<Item = ClipTruth> {
        (0..2_000).map(move |index| ClipTruth::sample(&SceneKey { seed: 1, split, index, objects: (1, 2) }, 16, 8))
    }

    #[test]
    fn held_out_objects_are_in_validation_only() {
        assert_eq!(truths(Split::Train).filter(ClipTruth::is_held_out).count(), 0);
        let share = truths(Split::Validation).filter(ClipTruth::is_held_out).count();
        assert!((400..800).contains(&share), "{share} of 2000");
    }

    #[test]
    fn objects_can_be_told_apart_and_what_appears_does_so_in_order() {
        for truth in truths(Split::Train) {
            let frames: Vec<_> = truth
                .objects
                .iter()
                .filter_map(|object| if let Action::Appears { frame } = object.action { Some(frame) } else { None })
                .collect();
            assert!(frames.is_sorted_by(|a, b| a < b) && frames.iter().all(|&frame| 0 < frame && frame < 16));
            for (i, object) in truth.objects.iter().enumerate() {
                let same = |other: &&ClipObject| (other.color, other.shape) == (object.color, object.shape);
                assert_eq!(truth.objects.iter().filter(same).count(), 1);
                assert!(truth.objects[i + 1..].iter().all(|other| other.position != object.position));
            }
        }
    }
}
