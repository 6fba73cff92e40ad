//! Two answers to one question: a right one, and one with a single error of a known kind.
//!
//! Both are fluent and alike but for the error, so that a preference between them is one for the truth.

use serde::{Deserialize, Serialize};

use super::ask::{SHORT_ANSWER, draw};
use super::describe::{Frame, REQUESTS, describe};
use super::invent::{free_cell, invent};
use super::question::Topic;
use super::scene_questions::scene_questions;
use crate::rng::Stream;
use crate::vocabulary::attribute;
use crate::{Color, ObjectTruth, SceneTruth, Shape, Size};

attribute! {
    /// What is wrong with a rejected answer.
    PairError {
        /// Another shape, colour, size, place or relation than the true one.
        WrongAttribute = "wrong_attribute",
        /// An object that is not there.
        InventedObject = "invented_object",
        /// Another number of objects.
        WrongCount = "wrong_count",
        /// An object that is there is denied.
        DeniedObject = "denied_object",
    }
}

/// A question with a right and a wrong answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) question: String,
    pub(crate) chosen: String,
    pub(crate) rejected: String,
    pub(crate) error: PairError,
    /// Whether the question asks for a description.
    pub(crate) is_description: bool,
}

/// Draws a pair about `truth`: half of them descriptions, half of them single questions, of which half are answered in a word.
pub(crate) fn pair(rng: &mut Stream, truth: &SceneTruth) -> Pair {
    if rng.coin() { description_pair(rng, truth) } else { question_pair(rng, truth) }
}

fn question_pair(rng: &mut Stream, truth: &SceneTruth) -> Pair {
    let all = scene_questions(truth);
    let topic = topic_with_wrong_answers(rng);
    let fitting: Vec<_> = all.iter().filter(|question| !question.wrong.is_empty()).cloned().collect();
    if !fitting.iter().any(|question| question.topic == topic) {
        // a relation in a scene of one object, or twins without names: draw another topic
        return question_pair(rng, truth);
    }
    let question = draw(rng, &fitting, topic);
    let error = match topic {
        Topic::Count | Topic::CountNone => PairError::WrongCount,
        Topic::Absent => PairError::InventedObject,
        Topic::Present => PairError::DeniedObject,
        _ => PairError::WrongAttribute,
    };
    let asked = question.wordings[rng.below(question.wordings.len())].clone();
    let wrong = question.wrong[rng.below(question.wrong.len())].clone();
    // A model that sees only sentences here unlearns to answer in a word.
    let (asked, chosen, rejected) = if rng.coin() {
        (asked, question.long.clone(), wrong.long)
    } else {
        (asked + SHORT_ANSWER, question.short.clone(), wrong.short)
    };
    Pair { question: asked, chosen, rejected, error, is_description: false }
}

fn topic_with_wrong_answers(rng: &mut Stream) -> Topic {
    rng.pick(&[
        Topic::Shape,
        Topic::Color,
        Topic::Size,
        Topic::Position,
        Topic::Sideways,
        Topic::Upright,
        Topic::Count,
        Topic::CountNone,
        Topic::Present,
        Topic::Absent,
    ])
}

fn description_pair(rng: &mut Stream, truth: &SceneTruth) -> Pair {
    let question = rng.pick(&REQUESTS).to_owned();
    let objects = &truth.objects;
    let counted = Frame { count: Some(objects.len()), also: None };
    let uncounted = Frame { count: None, also: None };
    // of wrong attributes there are four kinds
    let (error, seen, frame, other_frame, invented);
    match rng.below(6) {
        0 => {
            (error, seen) = (PairError::WrongCount, objects.clone());
            (frame, other_frame) = (counted, Frame { count: Some(near(rng, objects.len())), also: None });
        }
        1 => {
            (error, seen) = (PairError::InventedObject, objects.clone());
            invented = invent(rng, objects, |_| true);
            (frame, other_frame) = (uncounted, Frame { count: None, also: invented.as_ref() });
        }
        _ => {
            (error, seen) = (PairError::WrongAttribute, with_one_wrong(rng, objects));
            let frame_of_both = if rng.coin() { counted } else { uncounted };
            (frame, other_frame) = (frame_of_both, frame_of_both);
        }
    }
    // the same numbers for both: the same words around the error
    let mut again = rng.clone();
    let chosen = describe(rng, objects, frame);
    let rejected = describe(&mut again, &seen, other_frame);
    Pair { question, chosen, rejected, error, is_description: true }
}

/// One more or one fewer, at least one.
fn near(rng: &mut Stream, count: usize) -> usize {
    if count > 1 && (rng.coin() || count >= 9) { count - 1 } else { count + 1 }
}

/// The objects with one attribute of one of them changed, to no combination that is held out.
fn with_one_wrong(rng: &mut Stream, objects: &[ObjectTruth]) -> Vec<ObjectTruth> {
    let mut seen = objects.to_vec();
    let chosen = rng.below(seen.len());
    let object = seen[chosen];
    let free = free_cell(rng, objects);
    loop {
        let changed = match (rng.below(4), free) {
            (0, _) => ObjectTruth { shape: other(rng, Shape::ALL, object.shape), ..object },
            (1, _) => ObjectTruth { color: other(rng, Color::ALL, object.color), ..object },
            (2, Some(position)) => ObjectTruth { position, ..object },
            _ => ObjectTruth { size: other(rng, Size::ALL, object.size), ..object },
        };
        if !changed.is_held_out() || object.is_held_out() {
            seen[chosen] = changed;
            return seen;
        }
    }
}

fn other<T: Copy + PartialEq>(rng: &mut Stream, all: &[T], right: T) -> T {
    let others: Vec<_> = all.iter().copied().filter(|value| *value != right).collect();
    rng.pick(&others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Domain;
    use crate::{SceneKey, Split, Truth};

    fn pairs() -> impl Iterator<Item = (SceneTruth, Pair)> {
        (0..4_000).map(|index| {
            let key = SceneKey { seed: 6, split: Split::Train, index, objects: (1, 5) };
            let truth = SceneTruth::sample(&key, 64);
            let pair = pair(&mut Stream::new(&key, Domain::Talk), &truth);
            (truth, pair)
        })
    }

    #[test]
    fn the_chosen_answer_is_right_and_the_rejected_one_is_not() {
        for (truth, pair) in pairs() {
            let truth = Truth::Scene(truth);
            assert_eq!(truth.judge(&pair.question, &pair.chosen), Some(true), "{pair:?}\n{truth:?}");
            assert_eq!(truth.judge(&pair.question, &pair.rejected), Some(false), "{pair:?}\n{truth:?}");
        }
    }

    /// Who learns that a combination is wrong whenever it is said, and never sees it, learns to deny it.
    #[test]
    fn no_wrong_answer_makes_a_thing_of_training_one_that_is_held_out() {
        let mut asked = 0;
        for (truth, pair) in pairs().filter(|(truth, _)| truth.objects.len() == 1) {
            let object = truth.objects[0];
            for (changed, word) in Shape::ALL
                .iter()
                .map(|&shape| (ObjectTruth { shape, ..object }, shape.name()))
                .chain(Color::ALL.iter().map(|&color| (ObjectTruth { color, ..object }, color.name())))
                .chain(Size::ALL.iter().map(|&size| (ObjectTruth { size, ..object }, size.name())))
                .filter(|(changed, _)| changed.is_held_out())
            {
                asked += 1;
                let is_about = [format!("is a {word}."), format!("is {word}.")];
                let says = pair.rejected == word || is_about.iter().any(|text| pair.rejected.ends_with(text));
                assert!(!says, "{pair:?} {changed:?}");
            }
        }
        assert!(asked > 100, "{asked}");
    }

    /// Who is asked only for what is there learns that something is.
    #[test]
    fn nothing_is_counted_as_often_as_something() {
        let counted: Vec<_> = pairs().filter(|(_, pair)| pair.question.starts_with("How many")).collect();
        let is_none = |pair: &Pair| pair.chosen == "0" || pair.chosen.starts_with("There are no ");
        let none = counted.iter().filter(|(_, pair)| is_none(pair)).count() as f64 / counted.len() as f64;
        assert!(counted.len() > 200 && (0.4..0.6).contains(&none), "{none} of {}", counted.len());
    }

    #[test]
    fn both_answers_are_of_like_length() {
        for (_, pair) in pairs() {
            let words = |text: &str| text.split(' ').count() as f64;
            let (chosen, rejected) = (words(&pair.chosen), words(&pair.rejected));
            let ratio = chosen / rejected;
            assert!((0.6..=1.7).contains(&ratio) || chosen + rejected <= 3.0, "{ratio} {pair:?}");
        }
    }

    #[test]
    fn every_kind_of_error_occurs_and_shows() {
        let mut counts = [0; 4];
        for (truth, pair) in pairs() {
            counts[pair.error as usize] += 1;
            let invented = |text: &str| Truth::Scene(truth.clone()).mentions(text).expect("a scene").invented.len();
            if pair.is_description {
                assert_eq!(invented(&pair.chosen), 0, "{pair:?}");
                assert!(pair.error != PairError::InventedObject || invented(&pair.rejected) == 1, "{pair:?}");
                assert!(pair.error != PairError::WrongCount || invented(&pair.rejected) == 0, "{pair:?}");
            }
        }
        assert!(counts.iter().all(|&count| count > 150), "{counts:?}");
    }
}
