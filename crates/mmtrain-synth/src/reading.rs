//! What is written in a picture: signs, price tags, tickets, lines of code.
//!
//! Every picture of the held-out part has a combination that training never shows: two words of a sign, an item with its
//! price, row and letter of a seat, a variable with a number in a line of code. Each word, price and letter for itself is common
//! in training.

use serde::{Deserialize, Serialize};

use crate::print::Lines;
use crate::rng::{Domain, Stream};
use crate::vocabulary::attribute;
use crate::{SceneKey, Split};

/// First lines of signs.
pub(crate) const FIRST: [&str; 16] = [
    "OPEN", "STOP", "EXIT", "TAXI", "BUS", "PARK", "SHOP", "CAFE", "SALE", "FREE", "SLOW", "WEST", "EAST", "MAIN",
    "GATE", "HOTEL",
];
/// Second lines of signs.
pub(crate) const SECOND: [&str; 16] = [
    "DAILY", "LEFT", "RIGHT", "AHEAD", "ONLY", "ROAD", "ZONE", "TODAY", "HERE", "LANE", "HALL", "DESK", "ROOM", "AREA",
    "SIDE", "NOW",
];
/// What has a price; all have the plural in `s`.
const ITEMS: [&str; 12] =
    ["TEA", "CAKE", "SOUP", "JUICE", "APPLE", "PIZZA", "PIE", "SALAD", "LEMON", "MELON", "TACO", "ROLL"];
/// Prices go from one of these to 9.50.
const PRICE_STEP: u32 = 50;
const PRICES: usize = 18;
const SEAT_ROWS: usize = 30;
const SEAT_LETTERS: [char; 6] = ['A', 'B', 'C', 'D', 'E', 'F'];
const VARIABLES: [&str; 8] = ["a", "b", "c", "k", "n", "x", "y", "z"];

attribute! {
    /// What a ticket is for.
    Vehicle {
        /// A train.
        Train = "train",
        /// A bus.
        Bus = "bus",
    }
}

attribute! {
    /// What is wrong in a line of code.
    Fault {
        /// `)` is missing.
        Parenthesis = "missing parenthesis",
        /// `:` is missing.
        Colon = "missing colon",
        /// `=` stands where two values are compared.
        Equals = "= in place of ==",
        /// `"` is missing.
        Quote = "missing quote",
        /// `]` is missing.
        Bracket = "missing bracket",
    }
}

impl Fault {
    /// Lines with this fault only, in Python; `v` becomes a variable and `0` a digit. Ten characters at most.
    fn lines(self) -> [&'static str; 2] {
        match self {
            Self::Parenthesis => ["print(v+0", "v = f(0"],
            Self::Colon => ["if v == 0", "while v>0"],
            Self::Equals => ["if v = 0:", "while v=0:"],
            Self::Quote => ["v[0] = \"a", "v = \"u0"],
            Self::Bracket => ["v[0 = 1", "v = [0, 1"],
        }
    }
}

/// All that is written in a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReadingTruth {
    /// A sign of two words.
    Sign {
        /// From top to bottom.
        words: [String; 2],
    },
    /// One to three different items with their prices.
    Prices {
        /// From top to bottom.
        tags: Vec<PriceTag>,
    },
    /// A ticket.
    Ticket {
        /// What it is for.
        vehicle: Vehicle,
        /// Of the train or bus.
        number: u32,
        /// Row and letter, `7B`.
        seat: String,
        /// `09:30`.
        time: String,
    },
    /// A line of code with one fault.
    Code {
        /// As it is drawn.
        line: String,
        /// What is wrong.
        fault: Fault,
    },
}

/// An item and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceTag {
    /// Lower case.
    pub item: String,
    /// Hundredths.
    pub cents: u32,
}

/// An amount as it is drawn, `4.50`.
pub(crate) fn amount(cents: u32) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Whether training never shows two things together, by their places in their lists: about a tenth of all pairs. A step of three
/// leaves most partners to each.
fn is_apart(one: usize, other: usize) -> bool {
    (one + 3 * other).is_multiple_of(10)
}

impl ReadingTruth {
    /// What is written in the picture of `key`.
    pub(crate) fn sample(key: &SceneKey) -> Self {
        let mut rng = Stream::new(key, Domain::Reading);
        let kind = rng.below(4);
        // A redraw is of the same kind, so that all kinds are equally common.
        loop {
            let (truth, unseen) = match kind {
                0 => sign(&mut rng),
                1 => prices(&mut rng),
                2 => ticket(&mut rng),
                _ => code(&mut rng),
            };
            if unseen == (key.split == Split::Validation) {
                return truth;
            }
        }
    }

    /// What is drawn.
    pub(crate) fn boards(&self) -> Vec<Lines> {
        match self {
            Self::Sign { words } => vec![words.to_vec()],
            Self::Prices { tags } => {
                let tags = tags.iter().map(|tag| (tag.item.to_uppercase(), amount(tag.cents)));
                let alone = tags.len() == 1;
                tags.map(|(item, price)| if alone { vec![item, price] } else { vec![format!("{item} {price}")] })
                    .collect()
            }
            Self::Ticket { vehicle, number, seat, time } => {
                let vehicle = vehicle.name().to_uppercase();
                vec![vec![format!("{vehicle} {number}"), format!("SEAT {seat}"), time.clone()]]
            }
            Self::Code { line, .. } => vec![vec![line.clone()]],
        }
    }
}

fn sign(rng: &mut Stream) -> (ReadingTruth, bool) {
    let (first, second) = (rng.below(FIRST.len()), rng.below(SECOND.len()));
    (ReadingTruth::Sign { words: [FIRST[first], SECOND[second]].map(str::to_owned) }, is_apart(first, second))
}

fn prices(rng: &mut Stream) -> (ReadingTruth, bool) {
    let mut left: Vec<usize> = (0..ITEMS.len()).collect();
    let mut unseen = false;
    let tags = (0..=rng.below(3)).map(|_| {
        let item = left.remove(rng.below(left.len()));
        let price = rng.below(PRICES);
        unseen |= is_apart(item, price);
        PriceTag { item: ITEMS[item].to_lowercase(), cents: 100 + price as u32 * PRICE_STEP }
    });
    let tags = tags.collect();
    (ReadingTruth::Prices { tags }, unseen)
}

fn ticket(rng: &mut Stream) -> (ReadingTruth, bool) {
    let (row, letter) = (rng.below(SEAT_ROWS), rng.below(SEAT_LETTERS.len()));
    let truth = ReadingTruth::Ticket {
        vehicle: rng.pick(Vehicle::ALL),
        number: 1 + rng.below(99) as u32,
        seat: format!("{}{}", row + 1, SEAT_LETTERS[letter]),
        time: format!("{:02}:{:02}", 5 + rng.below(18), 5 * rng.below(12)),
    };
    (truth, is_apart(row, letter))
}

fn code(rng: &mut Stream) -> (ReadingTruth, bool) {
    let fault = rng.pick(Fault::ALL);
    let (variable, digit) = (rng.below(VARIABLES.len()), rng.below(10));
    let line = rng.pick(&fault.lines());
    let line = line.replace('0', &digit.to_string()).replace('v', VARIABLES[variable]);
    (ReadingTruth::Code { line, fault }, is_apart(variable, digit))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn all(split: Split, count: u64) -> impl Iterator<Item = ReadingTruth> {
        (0..count).map(move |index| ReadingTruth::sample(&SceneKey { seed: 5, split, index, objects: (1, 2) }))
    }

    /// The combinations that a picture has, as text.
    fn combinations(truth: &ReadingTruth) -> Vec<String> {
        match truth {
            ReadingTruth::Sign { words } => vec![words.join(" ")],
            ReadingTruth::Prices { tags } => tags.iter().map(|tag| format!("{} {}", tag.item, tag.cents)).collect(),
            ReadingTruth::Ticket { seat, .. } => vec![seat.clone()],
            ReadingTruth::Code { line, .. } => vec![line.clone()],
        }
    }

    #[test]
    fn what_is_held_out_has_a_combination_that_training_never_shows() {
        let seen: BTreeSet<String> = all(Split::Train, 20_000).flat_map(|truth| combinations(&truth)).collect();
        for truth in all(Split::Validation, 2_000) {
            assert!(combinations(&truth).iter().any(|combination| !seen.contains(combination)), "{truth:?}");
        }
    }

    #[test]
    fn every_word_and_price_and_character_is_seen_in_training() {
        let mut seen = BTreeMap::new();
        let drawn = all(Split::Train, 4_000).flat_map(|truth| truth.boards().concat());
        for word in drawn.flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()) {
            *seen.entry(word).or_insert(0) += 1;
        }
        let prices = (0..PRICES as u32).map(|price| amount(100 + price * PRICE_STEP));
        let words = FIRST.iter().chain(&SECOND).chain(&ITEMS).map(|word| (*word).to_owned());
        for word in words.chain(prices).chain(["TRAIN".to_owned(), "SEAT".to_owned()]) {
            assert!(seen.get(&word).is_some_and(|&count| count >= 30), "{word}: {:?}", seen.get(&word));
        }
    }

    #[test]
    fn all_kinds_are_as_common() {
        for split in Split::ALL {
            let mut kinds = [0; 4];
            for truth in all(split, 2_000) {
                kinds[match truth {
                    ReadingTruth::Sign { .. } => 0,
                    ReadingTruth::Prices { .. } => 1,
                    ReadingTruth::Ticket { .. } => 2,
                    ReadingTruth::Code { .. } => 3,
                }] += 1;
            }
            assert!(kinds.iter().all(|count| (400..600).contains(count)), "{kinds:?}");
        }
    }

    #[test]
    fn a_line_of_code_has_its_fault_and_no_other() {
        for fault in Fault::ALL.iter().copied() {
            for line in fault.lines() {
                let count = |c: char| line.matches(c).count();
                let faults = [
                    (Fault::Parenthesis, count('(') > count(')')),
                    (Fault::Colon, (line.starts_with("if") || line.starts_with("while")) && !line.ends_with(':')),
                    (Fault::Equals, line.ends_with(':') && count('=') == 1),
                    (Fault::Quote, count('"') % 2 == 1),
                    (Fault::Bracket, count('[') > count(']')),
                ];
                let found: Vec<_> = faults.into_iter().filter(|(_, is)| *is).map(|(found, _)| found).collect();
                assert_eq!((found, line.len() <= 10), (vec![fault], true), "{line}");
            }
        }
    }
}
