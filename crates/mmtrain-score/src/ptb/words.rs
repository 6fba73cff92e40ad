//! Words, compounds, numbers, addresses.

use super::abbreviations::dotted_letters;
use super::{Becomes, Found, begins_with, goes_on, is_apostrophe, run_len};

/// Words that are two, with the length of the first.
const FUSED: &[(&str, usize)] = &[("cannot", 3), ("gonna", 3), ("gotta", 3), ("lemme", 3), ("gimme", 3), ("wanna", 3)];
const DOMAINS: &[&str] = &[".com", ".net", ".org", ".edu"];

/// Letters and digits, with the marks that are set over letters. The lexer knows the basic plane only.
pub(super) fn is_word(char: char) -> bool {
    is_letter(char) || is_digit(char)
}

/// Signs that count as letters with Unicode, and as signs with the lexer.
fn is_letter(char: char) -> bool {
    let mark = matches!(char, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5bd}');
    let sign = matches!(char, '\u{2150}'..='\u{2182}' | '\u{2185}'..='\u{2bff}' | '\u{3007}' | '\u{3021}'..='\u{3029}');
    char <= '\u{ffff}' && (char.is_alphabetic() || mark) && !sign
}

/// Decimal digits of all scripts, but not `²`, `½`, `①`.
fn is_digit(char: char) -> bool {
    char.is_ascii_digit() || ('\u{660}'..='\u{ffff}').contains(&char) && char.is_numeric() && !is_numeral_sign(char)
}

fn is_numeral_sign(char: char) -> bool {
    matches!(char, '\u{2070}'..='\u{2bff}' | '\u{3000}'..='\u{33ff}')
}

/// `cannot`, which becomes `can not`.
pub(super) fn fused(rest: &[char]) -> Option<Found> {
    let (word, first) = FUSED.iter().find(|(word, _)| begins_with(rest, word) && !goes_on(rest, word.len()))?;
    Some(Found { len: word.len(), becomes: Becomes::Two(*first) })
}

/// `dog`, `mp3`, and `one.Two` where a blank was forgotten.
pub(super) fn word(rest: &[char]) -> Option<Found> {
    let mut len = word_len(rest);
    while len > 0 && matches!(rest.get(len), Some('.' | '!' | '?')) {
        match word_len(&rest[len + 1..]) {
            0 => break,
            more => len += 1 + more,
        }
    }
    Found::itself(len)
}

/// A letter, then letters and digits.
fn word_len(rest: &[char]) -> usize {
    if rest.first().copied().is_some_and(is_letter) { run_len(rest, is_word) } else { 0 }
}

/// `black-and-white`, `10-year-old`, `1,000-pound`, `U.S.-based`, `non-U.S.`, `five-o'clock`, `a_b`, `10x10`.
pub(super) fn joined(rest: &[char]) -> Option<Found> {
    let mut len = first_part(rest);
    while len > 0 && matches!(rest.get(len), Some('-' | '_')) {
        match part(&rest[len + 1..]) {
            0 => break,
            more => len += 1 + more,
        }
    }
    Found::itself(len)
}

fn first_part(rest: &[char]) -> usize {
    let grouped = grouped_digits(rest, &['.', ',']);
    let before_hyphen = |len: usize| if rest.get(len) == Some(&'-') { len } else { 0 };
    part(rest).max(before_hyphen(grouped)).max(before_hyphen(dotted_letters(rest, 2)))
}

fn part(rest: &[char]) -> usize {
    let elided = match rest {
        [first, mark, ..] if "dolDOL".contains(*first) && is_apostrophe(*mark) => run_len(&rest[2..], is_word),
        _ => 0,
    };
    // A single letter behind it is an ending: `D's`.
    let elided = if elided > 1 { elided + 2 } else { 0 };
    let dotted = dotted_letters(rest, 2);
    let closed = if dotted > 0 && rest[dotted - 1] == '.' { dotted } else { 0 };
    run_len(rest, is_word).max(elided).max(closed)
}

/// `and/or`, `w/o`, `10/12/2010`, `black/dark-brown`: two or three parts of at most two hyphens.
pub(super) fn slashed(rest: &[char]) -> Option<Found> {
    let mut len = slash_part(rest);
    let mut slashes = 0;
    while len > 0 && slashes < 2 && rest.get(len) == Some(&'/') {
        match slash_part(&rest[len + 1..]) {
            0 => break,
            more => len += 1 + more,
        }
        slashes += 1;
    }
    Found::itself(if slashes > 0 { len } else { 0 })
}

fn slash_part(rest: &[char]) -> usize {
    let mut len = run_len(rest, |char| char.is_ascii_alphanumeric());
    for _ in 0..2 {
        if len > 0 && rest.get(len) == Some(&'-') {
            let more = run_len(&rest[len + 1..], |char| char.is_ascii_alphabetic());
            len += if more > 0 { 1 + more } else { 0 };
        }
    }
    len
}

/// `5`, `-5`, `1,000.5`, `12:30`, `.5`.
pub(super) fn number(rest: &[char]) -> Option<Found> {
    let sign = usize::from(matches!(rest.first(), Some('-' | '+')));
    let digits = grouped_digits(&rest[sign..], &['.', ',', ':']);
    Found::itself(if digits > 0 { sign + digits } else { 0 })
}

/// Digits in groups behind single separators; the first group may be empty.
fn grouped_digits(rest: &[char], separators: &[char]) -> usize {
    let mut len = run_len(rest, is_digit);
    while rest.get(len).is_some_and(|char| separators.contains(char)) {
        match run_len(&rest[len + 1..], is_digit) {
            0 => break,
            more => len += 1 + more,
        }
    }
    len
}

/// `1/2`, `1-1/2`, `1 1/2`.
pub(super) fn fraction(rest: &[char]) -> Option<Found> {
    let whole = short_digits(rest);
    let separated = whole > 0 && matches!(rest.get(whole), Some('-' | ' ' | '\u{a0}'));
    let mixed = if separated { whole + 1 + plain_fraction(&rest[whole + 1..])? } else { 0 };
    Found::itself(mixed.max(plain_fraction(rest).unwrap_or(0)))
}

fn plain_fraction(rest: &[char]) -> Option<usize> {
    let above = short_digits(rest);
    let below = rest
        .get(above..)
        .filter(|rest| above > 0 && rest.first() == Some(&'/'))
        .map(|rest| short_digits(&rest[1..]))?;
    (below > 0).then_some(above + 1 + below)
}

/// One to four digits; more are no part of a fraction.
fn short_digits(rest: &[char]) -> usize {
    Some(run_len(rest, |char| char.is_ascii_digit())).filter(|len| *len <= 4).unwrap_or(0)
}

/// `http://a.b/c`, `www.a.b`, `a.com/b`; without the punctuation at the end.
pub(super) fn link(rest: &[char]) -> Option<Found> {
    let begins = ["http://", "https://", "www."].iter().any(|start| begins_with(rest, start));
    let domain = word(rest)?.len;
    let known = DOMAINS.iter().any(|end| domain > end.len() && begins_with(&rest[domain - end.len()..domain], end));
    if !(begins || known && rest.get(domain) == Some(&'/')) {
        return None;
    }
    let stretch = run_len(rest, |char| !char.is_whitespace() && !"<>|\"()".contains(char));
    let end = rest[..stretch].iter().rposition(|char| !".,!?;:'".contains(*char));
    Found::itself(end.map_or(0, |last| last + 1))
}

/// `@name`, `#tag`, `who@where`.
pub(super) fn named(rest: &[char]) -> Option<Found> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    match rest {
        ['@', first, ..] if *first == '_' || first.is_ascii_alphabetic() => {
            Found::itself(1 + run_len(&rest[1..], is_name))
        }
        ['#', first, ..] if is_letter(*first) => Found::itself(1 + run_len(&rest[1..], is_letter)),
        [first, ..] if is_name(*first) => {
            let who = run_len(rest, |char| is_name(char) || ".-".contains(char));
            let place = run_len(rest.get(who + 1..)?, |char| char.is_ascii_alphanumeric() || ".-".contains(char));
            let place = place - rest[who + 1..who + 1 + place].iter().rev().take_while(|char| **char == '.').count();
            Found::itself(if rest[who] == '@' && place > 0 { who + 1 + place } else { 0 })
        }
        _ => None,
    }
}

/// `<b>`, `</s>`, `<unk>`, `<br/>`.
pub(super) fn tag(rest: &[char]) -> Option<Found> {
    let start = if begins_with(rest, "</") { 2 } else { usize::from(begins_with(rest, "<")) };
    (start > 0 && rest.get(start)?.is_ascii_alphabetic()).then_some(())?;
    let name = start + run_len(&rest[start..], |char| char.is_ascii_alphanumeric() || "_:.-".contains(char));
    let end = name + usize::from(rest.get(name) == Some(&'/'));
    Found::itself(if rest.get(end) == Some(&'>') { end + 1 } else { 0 })
}
