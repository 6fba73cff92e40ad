//! Every question that can be asked about what is written in a picture.
//!
//! Some only have to read, some compute with what they read, one looks for a fault.

use super::ask::{Style, Turn, appended};
use super::expected::{Expected, Writing};
use super::question::{Question, Topic};
use crate::reading::{Fault, PriceTag, ReadingTruth, Vehicle, amount};
use crate::rng::Stream;

/// What is paid with where change is asked for, in hundredths.
const PAID: u32 = 1_000;
/// Questions of a conversation that have to read, and that have to compute, at most.
const READ: usize = 2;
const COMPUTED: usize = 2;

/// All questions about `truth`, each with wordings that no other one has.
pub(crate) fn reading_questions(truth: &ReadingTruth) -> Vec<Question> {
    let mut questions = match truth {
        ReadingTruth::Sign { words } => sign(words),
        ReadingTruth::Prices { tags } => prices(tags),
        ReadingTruth::Ticket { vehicle, number, seat, time } => ticket(*vehicle, *number, seat, time),
        ReadingTruth::Code { fault, .. } => vec![code(*fault)],
    };
    questions.push(everything(truth));
    questions
}

/// Up to four turns. No question that only has to read can be answered from the answers before it.
pub(crate) fn reading_turns(rng: &mut Stream, truth: &ReadingTruth) -> Vec<Turn> {
    let (mut parts, mut whole) = (Vec::new(), Vec::new());
    let (mut computed, mut faults) = (Vec::new(), Vec::new());
    for question in reading_questions(truth) {
        let kind = match question.topic {
            Topic::Arithmetic => &mut computed,
            Topic::Fault => &mut faults,
            Topic::ReadingAll => &mut whole,
            _ => &mut parts,
        };
        kind.push(question);
    }
    // One transcript in three, and always behind a fault, which could be seen in it.
    let read =
        if parts.is_empty() || rng.below(3) == 0 { take(rng, &mut whole, 1) } else { take(rng, &mut parts, READ) };
    let questions = take(rng, &mut faults, 1).into_iter().chain(read).chain(take(rng, &mut computed, COMPUTED));
    let mut turns: Vec<Turn> = Vec::new();
    for question in questions {
        let style = if question.topic == Topic::ReadingAll { Style::Long } else { Style::Short };
        let wording = &question.wordings[rng.below(question.wordings.len())];
        let text = format!("{wording}{}", appended(style, turns.is_empty()));
        turns.push(Turn { question: text, answer: question.short });
    }
    turns
}

/// All that is written, asked for.
pub(crate) fn transcript(rng: &mut Stream, truth: &ReadingTruth) -> Turn {
    let mut asked = everything(truth);
    let wording = rng.below(asked.wordings.len());
    Turn { question: asked.wordings.swap_remove(wording), answer: asked.short }
}

/// Some of the questions, in random order.
fn take(rng: &mut Stream, from: &mut Vec<Question>, most: usize) -> Vec<Question> {
    (0..most.min(from.len())).map(|_| from.swap_remove(rng.below(from.len()))).collect()
}

/// All lines, as they are drawn.
fn everything(truth: &ReadingTruth) -> Question {
    let all = truth.boards().concat().join(" ");
    Question {
        topic: Topic::ReadingAll,
        wordings: ["What is written in the image?", "Read all that is written in the image."].map(str::to_owned).into(),
        expected: Expected::Characters(all.clone()),
        short: all.clone(),
        long: all,
        wrong: Vec::new(),
    }
}

fn written(topic: Topic, wordings: [String; 2], writing: Writing, short: &str, long: String) -> Question {
    Question {
        topic,
        wordings: wordings.into(),
        expected: Expected::Written { writing, right: writing.all_in(short) },
        short: short.to_owned(),
        long,
        wrong: Vec::new(),
    }
}

fn sign(words: &[String; 2]) -> Vec<Question> {
    let all = words.join(" ");
    let asked = ["What does the sign say?", "What is written on the sign?"].map(str::to_owned);
    let mut questions = vec![written(Topic::ReadingAll, asked, Writing::Sign, &all, format!("The sign says {all}."))];
    for (place, word) in ["first", "second"].into_iter().zip(words) {
        let asked =
            [format!("What is the {place} word on the sign?"), format!("Which word is the {place} on the sign?")];
        let long = format!("The {place} word is {word}.");
        questions.push(written(Topic::Reading, asked, Writing::Sign, word, long));
    }
    questions
}

fn prices(tags: &[PriceTag]) -> Vec<Question> {
    let mut questions: Vec<_> = tags.iter().flat_map(about_one).collect();
    if tags.len() > 1 {
        let total = amount(tags.iter().map(|tag| tag.cents).sum());
        let asked = ["What is the total?", "How much is everything together?"].map(str::to_owned);
        questions.push(sum(asked, &total, format!("The total is {total}.")));
    }
    questions
}

fn about_one(PriceTag { item, cents }: &PriceTag) -> [Question; 3] {
    let (price, double, change) = (amount(*cents), amount(2 * cents), amount(PAID - cents));
    let asked = [format!("How much is the {item}?"), format!("What does the {item} cost?")];
    let doubled = [format!("How much are two {item}s?"), format!("What do two {item}s cost?")];
    let left =
        [format!("How much change is there from 10 for the {item}?"), format!("What is left of 10 after the {item}?")];
    [
        written(Topic::Reading, asked, Writing::Amount, &price, format!("The {item} costs {price}.")),
        sum(doubled, &double, format!("Two {item}s cost {double}.")),
        sum(left, &change, format!("The change is {change}.")),
    ]
}

fn sum(wordings: [String; 2], short: &str, long: String) -> Question {
    written(Topic::Arithmetic, wordings, Writing::Amount, short, long)
}

fn ticket(vehicle: Vehicle, number: u32, seat: &str, time: &str) -> Vec<Question> {
    let asked = ["Which seat is on the ticket?", "What is the seat?"].map(str::to_owned);
    let seat = written(Topic::Reading, asked, Writing::Seat, seat, format!("The seat is {seat}."));
    let asked = ["What is the number on the ticket?".to_owned(), format!("Which {vehicle} is the ticket for?")];
    let long = format!("It is {vehicle} {number}.");
    let number = written(Topic::Reading, asked, Writing::Number, &number.to_string(), long);
    let asked = ["What time is on the ticket?".to_owned(), format!("When does the {vehicle} leave?")];
    let time = written(Topic::Reading, asked, Writing::Time, time, format!("The {vehicle} leaves at {time}."));
    let asked = ["Is the ticket for a train or a bus?", "Which one is it, train or bus?"].map(str::to_owned);
    let names = [Vehicle::Train.name(), Vehicle::Bus.name()];
    let vehicle =
        Question::choice(Topic::Reading, asked, &names, vehicle as usize, |name| format!("It is for a {name}."));
    vec![seat, number, time, vehicle]
}

fn code(fault: Fault) -> Question {
    let asked = ["What is wrong in this line?", "What is the error in this line of code?"].map(str::to_owned);
    let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    let sentence = |name: &str| match name.strip_prefix("missing ") {
        Some(sign) => format!("A {sign} is missing."),
        None => format!("There is {name}."),
    };
    let ways: [&[&str]; 5] = [
        &["parenthesis", "parentheses"],
        &["colon"],
        &["in place of", "instead of"],
        &["quote", "quotation"],
        &["bracket"],
    ];
    let options = ways.iter().map(|ways| ways.iter().map(|way| (*way).to_owned()).collect()).collect();
    let expected = Expected::Choice { options, right: fault as usize };
    Question { expected, ..Question::choice(Topic::Fault, asked, &names, fault as usize, sentence) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Domain;
    use crate::{SceneKey, Split, Truth};

    fn all() -> impl Iterator<Item = (SceneKey, ReadingTruth)> {
        let keys = Split::ALL
            .into_iter()
            .flat_map(|split| (0..1_500).map(move |index| SceneKey { seed: 6, split, index, objects: (1, 2) }));
        keys.map(|key| (key, ReadingTruth::sample(&key)))
    }

    /// The answer to a question, found from what is drawn and in another way than above: from the text of the boards.
    fn independent(question: &str, lines: &[String]) -> String {
        let last = |line: &str| line.split(' ').next_back().expect("a word").to_owned();
        let price_of = |item: &str| {
            let at = lines.iter().position(|line| line.starts_with(&item.to_uppercase())).expect("the item");
            let price = if lines[at].contains('.') { last(&lines[at]) } else { lines[at + 1].clone() };
            price.parse::<f64>().expect("a price")
        };
        let item = |before: &str, behind: &str| {
            question.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)).map(str::to_owned)
        };
        let money = |value: f64| format!("{value:.2}");
        if let Some(item) = item("How much is the ", "?").or_else(|| item("What does the ", " cost?")) {
            return money(price_of(&item));
        }
        if let Some(item) = item("How much are two ", "s?").or_else(|| item("What do two ", "s cost?")) {
            return money(price_of(&item) * 2.0);
        }
        if let Some(item) = item("How much change is there from 10 for the ", "?")
            .or_else(|| item("What is left of 10 after the ", "?"))
        {
            return money(10.0 - price_of(&item));
        }
        match question {
            "What is the total?" | "How much is everything together?" => {
                money(lines.iter().map(|line| last(line).parse::<f64>().expect("a price")).sum())
            }
            "What does the sign say?"
            | "What is written on the sign?"
            | "What is written in the image?"
            | "Read all that is written in the image." => lines.join(" "),
            "What is the first word on the sign?" | "Which word is the first on the sign?" => lines[0].clone(),
            "What is the second word on the sign?" | "Which word is the second on the sign?" => lines[1].clone(),
            "Which seat is on the ticket?" | "What is the seat?" => last(&lines[1]),
            "What time is on the ticket?" | "When does the train leave?" | "When does the bus leave?" => {
                lines[2].clone()
            }
            "What is the number on the ticket?" | "Which train is the ticket for?" | "Which bus is the ticket for?" => {
                last(&lines[0])
            }
            "Is the ticket for a train or a bus?" | "Which one is it, train or bus?" => {
                lines[0].split(' ').next().expect("a word").to_lowercase()
            }
            "What is wrong in this line?" | "What is the error in this line of code?" => {
                let count = |c: char| lines[0].matches(c).count();
                let name = match () {
                    () if count('"') == 1 => "missing quote",
                    () if count('[') > count(']') => "missing bracket",
                    () if count('(') > count(')') => "missing parenthesis",
                    () if count(':') == 0 => "missing colon",
                    () => "= in place of ==",
                };
                name.to_owned()
            }
            other => panic!("unknown question `{other}`"),
        }
    }

    #[test]
    fn every_answer_is_right_by_another_way_of_finding_it() {
        let mut asked = BTreeSet::new();
        for (key, truth) in all() {
            let lines = truth.boards().concat();
            let known = Truth::Reading(truth.clone());
            for question in reading_questions(&truth) {
                for wording in &question.wordings {
                    assert_eq!(independent(wording, &lines), question.short, "{wording} {lines:?}");
                    for answer in [&question.short, &question.long, &question.short.to_lowercase()] {
                        assert_eq!(known.judge(wording, answer), Some(true), "{wording} {answer}");
                    }
                    assert_eq!(known.judge(wording, ""), Some(false));
                    asked.insert(wording.clone());
                }
            }
            let turns = reading_turns(&mut Stream::new(&key, Domain::Talk), &truth);
            assert!((1..=READ + COMPUTED).contains(&turns.len()));
            let whole = transcript(&mut Stream::new(&key, Domain::Talk), &truth);
            assert_eq!(whole.answer, lines.join(" "));
            assert_eq!(independent(&whole.question, &lines), whole.answer);
            let questions: BTreeSet<_> = turns.iter().map(|turn| turn.question.clone()).collect();
            assert_eq!(questions.len(), turns.len(), "each is asked once");
            assert!(turns.iter().all(|turn| known.judge(&turn.question, &turn.answer) == Some(true)), "{turns:?}");
        }
        assert_eq!(asked.len(), 6 + 12 * 6 + 2 + 10 + 2 + 2, "{asked:?}");
    }

    #[test]
    fn answers_to_other_pictures_are_mostly_wrong() {
        let (mut right, mut total) = (0_u32, 0_u32);
        let truths: Vec<_> = all().map(|(_, truth)| truth).collect();
        for pair in truths.windows(2) {
            let known = Truth::Reading(pair[0].clone());
            for question in reading_questions(&pair[1]) {
                if let Some(met) = known.judge(&question.wordings[0], &question.short) {
                    (right, total) = (right + u32::from(met), total + 1);
                }
            }
        }
        let share = f64::from(right) / f64::from(total);
        assert!(total > 500 && share < 0.25, "{right} of {total}");
    }

    #[test]
    fn naming_everything_earns_nothing() {
        let tags = vec![PriceTag { item: "tea".to_owned(), cents: 450 }];
        let tea = Truth::Reading(ReadingTruth::Prices { tags });
        let judge = |answer| tea.judge("How much is the tea?", answer);
        assert_eq!(["4.50", "4.5", "It is $4.50.", "4.50 euros"].map(judge), [Some(true); 4]);
        assert_eq!(["4.50 or 5.50", "45.0", "4", "four", "-"].map(judge), [Some(false); 5]);
        let words = ["OPEN", "LEFT"].map(str::to_owned);
        let sign = Truth::Reading(ReadingTruth::Sign { words });
        let judge = |answer| sign.judge("What does the sign say?", answer);
        assert_eq!(["open left", "\"OPEN LEFT\"", "The sign says OPEN LEFT."].map(judge), [Some(true); 3]);
        assert_eq!(["LEFT OPEN", "OPEN", "OPEN STOP LEFT"].map(judge), [Some(false); 3]);
    }
}
