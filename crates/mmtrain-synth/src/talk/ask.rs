//! Which questions a conversation asks, and how.

use super::question::{Question, Topic};
use crate::rng::Stream;

/// What `LLaVA`'s mix appends to the first question of those that are answered in a word.
pub(crate) const SHORT_ANSWER: &str = "\nAnswer the question using a single word or phrase.";

/// A question as it is asked, and the right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) question: String,
    pub(crate) answer: String,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A word or a short phrase, as the question asks for.
    Short,
    /// The same, and the question does not ask for it.
    Word,
    /// A sentence.
    Long,
}

/// `count` turns, each of another topic; fewer where there are not as many topics.
///
/// Things that are there and things that are not are asked for equally often.
pub(crate) fn ask(rng: &mut Stream, all: &[Question], count: usize, style: Style) -> Vec<Turn> {
    let mut topics: Vec<Topic> = Vec::new();
    for question in all {
        if !topics.contains(&question.topic) {
            topics.push(question.topic);
        }
    }
    let mut turns = Vec::new();
    while turns.len() < count && !topics.is_empty() {
        let topic = topics.swap_remove(rng.below(topics.len()));
        let question = draw(rng, all, topic);
        turns.push(turn(rng, question, style, turns.is_empty()));
    }
    turns
}

/// `count` turns, fewer where there are not as many questions; topics by their [`weight`], no question twice.
pub(crate) fn ask_weighted(rng: &mut Stream, all: &[Question], count: usize, style: Style) -> Vec<Turn> {
    let mut left: Vec<&Question> = all.iter().collect();
    let mut turns = Vec::new();
    while turns.len() < count && !left.is_empty() {
        let topic = draw_topic(rng, &left);
        let fitting: Vec<_> = (0..left.len()).filter(|&index| left[index].topic == topic).collect();
        let question = left.swap_remove(rng.pick(&fitting));
        turns.push(turn(rng, question, style, turns.is_empty()));
    }
    turns
}

/// One of the topics that are there.
fn draw_topic(rng: &mut Stream, questions: &[&Question]) -> Topic {
    let mut topics: Vec<(Topic, usize)> = Vec::new();
    for question in questions {
        if topics.iter().all(|(topic, _)| *topic != question.topic) {
            topics.push((question.topic, weight(question.topic)));
        }
    }
    let mut place = rng.below(topics.iter().map(|(_, weight)| weight).sum());
    let drawn = topics.iter().find(|(_, weight)| {
        let is_here = place < *weight;
        place = place.saturating_sub(*weight);
        is_here
    });
    drawn.expect("the place lies below the sum").0
}

/// How often a topic is asked about: what takes a model longest, and so needs most examples, most often.
fn weight(topic: Topic) -> usize {
    match topic {
        Topic::Position => 16,
        Topic::Present | Topic::Absent => 11,
        Topic::Box => 10,
        Topic::CountNone => 5,
        _ => 9,
    }
}

/// What stands behind a question.
pub(crate) fn appended(style: Style, first: bool) -> &'static str {
    if style == Style::Short && first { SHORT_ANSWER } else { "" }
}

/// One of the questions on `topic`, of which there is one at least.
pub(crate) fn draw<'a>(rng: &mut Stream, all: &'a [Question], topic: Topic) -> &'a Question {
    let fitting: Vec<_> = all.iter().filter(|question| question.topic == topic).collect();
    rng.pick(&fitting)
}

fn turn(rng: &mut Stream, question: &Question, style: Style, first: bool) -> Turn {
    let wording = &question.wordings[rng.below(question.wordings.len())];
    let answer = match style {
        Style::Short | Style::Word => &question.short,
        Style::Long => &question.long,
    };
    Turn { question: format!("{wording}{}", appended(style, first)), answer: answer.clone() }
}
