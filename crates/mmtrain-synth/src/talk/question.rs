//! One question with everything that asking and checking it needs.

use super::expected::Expected;

/// What a question is about; a conversation has each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Shape,
    Color,
    Size,
    Position,
    Box,
    /// Left or right of.
    Sideways,
    /// Above or below.
    Upright,
    Count,
    /// How many of something that is not there.
    CountNone,
    /// Something that is there.
    Present,
    /// Something that is not.
    Absent,
    /// Which way something moves, turns or glides.
    Direction,
    /// Whether something moves or turns.
    Action,
    /// What comes first or last.
    Order,
    /// High or low.
    Pitch,
    /// Smooth or buzzing.
    Timbre,
    /// What is written in one place.
    Reading,
    /// All that is written.
    ReadingAll,
    /// What follows from what is written.
    Arithmetic,
    /// What is wrong in a line of code.
    Fault,
}

/// A question that can be asked about something, with what is right and what is not.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) topic: Topic,
    /// Ways to ask it, all with the same meaning.
    pub(crate) wordings: Vec<String>,
    /// What a right answer says.
    pub(crate) expected: Expected,
    /// The right answer in a word or a short phrase.
    pub(crate) short: String,
    /// The right answer as a sentence.
    pub(crate) long: String,
    /// False answers.
    pub(crate) wrong: Vec<Phrased>,
}

/// One answer in two forms.
#[derive(Debug, Clone)]
pub(crate) struct Phrased {
    /// In a word or a short phrase.
    pub(crate) short: String,
    /// As a sentence.
    pub(crate) long: String,
}

impl Question {
    /// One of `options`; `sentence` says any of them.
    pub(crate) fn choice(
        topic: Topic,
        wordings: [String; 2],
        options: &[&str],
        right: usize,
        sentence: impl Fn(&str) -> String,
    ) -> Self {
        let others = options.iter().enumerate().filter(|&(i, _)| i != right);
        Self {
            topic,
            wordings: wordings.into(),
            expected: Expected::one_of(options.iter().copied(), right),
            short: options[right].to_owned(),
            long: sentence(options[right]),
            wrong: others.map(|(_, &option)| Phrased { short: option.to_owned(), long: sentence(option) }).collect(),
        }
    }

    /// A number up to nine; one more and one fewer are the wrong answers.
    pub(crate) fn count(wordings: [String; 2], number: usize, sentence: impl Fn(usize) -> String) -> Self {
        let near = [number.checked_sub(1), Some(number + 1)].into_iter().flatten().filter(|wrong| *wrong <= 9);
        Self {
            topic: if number == 0 { Topic::CountNone } else { Topic::Count },
            wordings: wordings.into(),
            expected: Expected::Number(number),
            short: number.to_string(),
            long: sentence(number),
            wrong: near.map(|wrong| Phrased { short: wrong.to_string(), long: sentence(wrong) }).collect(),
        }
    }

    /// Whether something is there; `yes` and `no` are the sentences.
    pub(crate) fn existence(wordings: [String; 2], there: bool, yes: String, no: String) -> Self {
        let yes = Phrased { short: "Yes".to_owned(), long: yes };
        let no = Phrased { short: "No".to_owned(), long: no };
        let (right, wrong) = if there { (yes, no) } else { (no, yes) };
        Self {
            topic: if there { Topic::Present } else { Topic::Absent },
            wordings: wordings.into(),
            expected: Expected::yes_or_no(there),
            short: right.short,
            long: right.long,
            wrong: vec![wrong],
        }
    }
}
