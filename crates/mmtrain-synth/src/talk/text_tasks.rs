//! Questions without any picture: arithmetic, copying, words.

use serde::{Deserialize, Serialize};

use super::ask::{Style, Turn, appended};
use crate::rng::Stream;

/// Short common words.
const WORDS: [&str; 16] = [
    "apple", "river", "table", "cloud", "green", "music", "stone", "lemon", "tiger", "paper", "winter", "garden",
    "silver", "button", "window", "yellow",
];

/// What is added and subtracted is below this.
const NUMBERS: usize = 10;

/// Pairs of opposites, asked both ways.
const OPPOSITES: [(&str, &str); 8] = [
    ("hot", "cold"),
    ("up", "down"),
    ("day", "night"),
    ("open", "closed"),
    ("wet", "dry"),
    ("old", "new"),
    ("full", "empty"),
    ("fast", "slow"),
];

/// A question and the words that answer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextTruth {
    /// As it is asked, without anything appended.
    pub question: String,
    /// A word, a number or a few words.
    pub answer: String,
}

/// One to three text-only turns, and what is true of them.
pub(crate) fn text_turns(rng: &mut Stream) -> (Vec<Turn>, Vec<TextTruth>) {
    let style = if rng.coin() { Style::Short } else { Style::Long };
    let tasks: Vec<_> = (0..=rng.below(3)).map(|_| task(rng)).collect();
    let turn = |(index, task): (usize, &TextTruth)| Turn {
        question: format!("{}{}", task.question, appended(style, index == 0)),
        answer: task.answer.clone(),
    };
    (tasks.iter().enumerate().map(turn).collect(), tasks)
}

fn task(rng: &mut Stream) -> TextTruth {
    let (question, answer) = match rng.below(6) {
        0 => sum(rng),
        1 => difference(rng),
        2 => {
            let words = some_words(rng).join(" ");
            (format!("Repeat these words: {words}"), words)
        }
        3 => {
            let words = some_words(rng);
            (format!("How many words are in this list? {}", words.join(", ")), words.len().to_string())
        }
        4 => word_at_an_end(rng),
        _ => {
            let (one, other) = rng.pick(&OPPOSITES);
            let (asked, answer) = if rng.coin() { (one, other) } else { (other, one) };
            (format!("What is the opposite of {asked}?"), answer.to_owned())
        }
    };
    TextTruth { question, answer }
}

fn sum(rng: &mut Stream) -> (String, String) {
    let (a, b) = (rng.below(NUMBERS), rng.below(NUMBERS));
    let question = if rng.coin() { format!("What is {a} plus {b}?") } else { format!("{a} + {b} = ?") };
    (question, (a + b).to_string())
}

fn difference(rng: &mut Stream) -> (String, String) {
    let (a, b) = (rng.below(NUMBERS), rng.below(NUMBERS));
    (format!("What is {} minus {}?", a.max(b), a.min(b)), a.abs_diff(b).to_string())
}

fn word_at_an_end(rng: &mut Stream) -> (String, String) {
    let words = some_words(rng);
    let (end, answer) = if rng.coin() { ("first", words[0]) } else { ("last", words[words.len() - 1]) };
    (format!("What is the {end} word of this list? {}", words.join(", ")), answer.to_owned())
}

/// Two to five words.
fn some_words(rng: &mut Stream) -> Vec<&'static str> {
    (0..2 + rng.below(4)).map(|_| rng.pick(&WORDS)).collect()
}
