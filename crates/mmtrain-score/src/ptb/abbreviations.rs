//! Abbreviations, whose periods stay: `mr.`, `u.s.`, `j.`; and `at&t`.

use super::words::{is_word, joined, word};
use super::{Found, goes_on, run_len};

/// Titles, months, days, states, companies, streets.
const ABBREVIATIONS: &[&str] = &[
    "adm", "al", "ala", "apr", "ariz", "assn", "asst", "atty", "aug", "ave", "bldg", "blvd", "brig", "bros", "calif",
    "capt", "cf", "cmdr", "co", "col", "colo", "comdr", "conn", "corp", "cos", "cpl", "ct", "dec", "dept", "det", "dr",
    "drs", "ens", "esq", "est", "etc", "ext", "feb", "fla", "fri", "ft", "ga", "gen", "gov", "govs", "hon", "inc",
    "ind", "insp", "intl", "jan", "jr", "jul", "jun", "kan", "ky", "lieut", "lt", "ltd", "maj", "mar", "md", "messrs",
    "mfg", "mich", "minn", "mlle", "mme", "mo", "mon", "mont", "mr", "mrs", "ms", "mt", "neb", "nev", "nov", "oct",
    "okla", "penn", "pfc", "ph", "plc", "pres", "prof", "profs", "pvt", "rd", "rep", "reps", "rev", "sen", "sens",
    "sep", "sept", "seq", "sgt", "spc", "sq", "sr", "st", "ste", "supt", "sys", "tel", "tenn", "thu", "thurs", "treas",
    "tue", "tues", "univ", "va", "vs", "vt", "wed", "wis", "wyo",
];
/// Words in lower case, abbreviations with a capital.
const WITH_CAPITAL: &[&str] = &["ark", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash"];
/// Abbreviations before a number only.
const BEFORE_NUMBER: &[&str] = &["art", "ca", "fig", "figs", "no", "nos", "op", "p", "pp"];
/// Words that begin a sentence rather than a name: before them the period behind a single letter ends the one before.
const STARTERS: &[&str] = &[
    "A", "About", "After", "An", "As", "At", "But", "He", "Her", "Here", "However", "If", "In", "It", "Last", "Many",
    "More", "Now", "Once", "One", "Other", "Our", "She", "Since", "So", "Some", "Such", "That", "The", "Their", "Then",
    "There", "These", "They", "This", "We", "What", "When", "While", "Yet", "You",
];

/// `U.S.`, `p.m.`, with the period at the end.
pub(super) fn acronym(rest: &[char]) -> Option<Found> {
    let len = dotted_letters(rest, 2);
    Found::itself(if len > 0 && rest[len - 1] == '.' { len } else { 0 })
}

/// Length of at least `least` single letters with periods between and perhaps behind them.
pub(super) fn dotted_letters(rest: &[char], least: usize) -> usize {
    let single = |at: usize| rest.get(at).is_some_and(char::is_ascii_alphabetic) && !goes_on(rest, at + 1);
    let mut letters = 0;
    while single(2 * letters) && (letters == 0 || rest[2 * letters - 1] == '.') {
        letters += 1;
    }
    if letters < least {
        return 0;
    }
    let len = 2 * letters - 1;
    len + usize::from(rest.get(len) == Some(&'.'))
}

/// `Mr.`, `etc.`, `Mass.`, `no. 5`, `Ph.D.`
pub(super) fn abbreviation(rest: &[char]) -> Option<Found> {
    let len = run_len(rest, is_word);
    (len > 0 && rest.get(len) == Some(&'.')).then_some(())?;
    let written: String = rest[..len].iter().collect();
    let lower = written.to_lowercase();
    if lower == "ph" && matches!(rest.get(len + 1..len + 3), Some(['D' | 'd', '.'])) {
        return Found::itself(len + 3);
    }
    let capital = written != lower && WITH_CAPITAL.contains(&lower.as_str());
    let number = BEFORE_NUMBER.contains(&lower.as_str())
        && next_word(&rest[len + 1..]).starts_with(|c: char| c.is_ascii_digit());
    (capital || number || ABBREVIATIONS.binary_search(&lower.as_str()).is_ok()).then_some(())?;
    Found::itself(len + 1)
}

/// Any word with its period before a comma, a colon or a semicolon: `cat.,`.
pub(super) fn within_sentence(rest: &[char]) -> Option<Found> {
    let len = joined(rest).or_else(|| word(rest))?.len;
    let within = rest.get(len) == Some(&'.') && matches!(rest.get(len + 1), Some(',' | ';' | ':'));
    Found::itself(if within { len + 1 } else { 0 })
}

/// `J.` of `J. Smith`.
pub(super) fn initial(rest: &[char]) -> Option<Found> {
    let [letter, '.', after @ ..] = rest else { return None };
    let blank = after.first().is_some_and(|char| char.is_whitespace());
    let ends = blank && STARTERS.contains(&next_word(after).as_str());
    Found::itself(if letter.is_ascii_alphabetic() && !ends { 2 } else { 0 })
}

fn next_word(rest: &[char]) -> String {
    rest.iter().skip_while(|char| char.is_whitespace()).take_while(|char| is_word(**char)).collect()
}

/// `AT&T`, `R&B`.
pub(super) fn ampersand(rest: &[char]) -> Option<Found> {
    let capitals = |rest: &[char]| run_len(rest, |char| char.is_ascii_uppercase());
    let mut len = capitals(rest);
    let mut parts = 1;
    while len > 0 && rest.get(len) == Some(&'&') && capitals(&rest[len + 1..]) > 0 {
        len += 1 + capitals(&rest[len + 1..]);
        parts += 1;
    }
    Found::itself(if parts > 1 { len } else { 0 })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_is_sorted() {
        assert!(super::ABBREVIATIONS.is_sorted());
    }
}
